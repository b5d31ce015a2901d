//! What an agent may be called.

/// Longest name that somebody gives, in bytes.
const MAX_NAME: usize = 200;

/// Whether an agent may be called so, and if not, why.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(format!("a name takes 1 to {MAX_NAME} bytes"));
    }
    stays_in_uri(name)
}

/// Records bear the name in a URI (`source`). Whoever brings that into its normal form resolves `.` and `..` as a path
/// does, encoded or not, and has another agent's name, or none.
pub fn stays_in_uri(name: &str) -> Result<(), String> {
    match name.split('/').find(|part| matches!(*part, "." | "..")) {
        None => Ok(()),
        Some(part) => Err(format!("a part of the name is `{part}`, which a URI cannot hold; leave it out")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_climbs() {
        for fine in ["a", "a/b", ".a", "..a/b..", "a.b", "...", "a//b", "%2e%2e"] {
            assert_eq!(check_name(fine), Ok(()), "{fine}");
        }
        for wrong in ["..", ".", "../../x", "a/../b", "a/.", "/.."] {
            assert!(check_name(wrong).unwrap_err().contains("`."), "{wrong}");
        }
        assert!(check_name("").is_err());
        assert!(check_name(&"x".repeat(200)).is_ok() && check_name(&"x".repeat(201)).is_err());
    }
}
