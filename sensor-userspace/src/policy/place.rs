//! Paths as bytes: their components, and arguments resolved without asking the filesystem.

/// The names a path consists of; `//`, `.` and a trailing `/` add none.
pub fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".")
}

/// Resolves an argument as written against the directory it is relative to.
///
/// Lexically: `..` takes the last name away, symbolic links are not followed. `None` if it cannot be
/// known: a relative argument without an absolute base, an empty argument, a NUL within.
pub fn normalise(base: &[u8], argument: &[u8]) -> Option<Vec<u8>> {
    if argument.is_empty() || argument.contains(&0) {
        return None;
    }
    let absolute = argument.starts_with(b"/");
    if !absolute && !base.starts_with(b"/") {
        return None;
    }
    let mut names: Vec<&[u8]> = Vec::new();
    let start: &[u8] = if absolute { b"" } else { base };
    for part in components(start).chain(components(argument)) {
        if part == b".." {
            // The root's parent is the root.
            names.pop();
        } else {
            names.push(part);
        }
    }
    if names.is_empty() {
        return Some(b"/".to_vec());
    }
    let mut path = Vec::with_capacity(base.len() + argument.len() + 1);
    for name in names {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    Some(path)
}

/// An argument against what the kernel says it starts from: the directory of a relative one, the process's
/// root of an absolute one.
pub fn resolve(base: &[u8], argument: &[u8]) -> Option<Vec<u8>> {
    match argument {
        // In a chroot an absolute name begins at the process's root, and `..` does not leave it.
        [b'/', ..] if base.len() > 1 => {
            let below = normalise(b"/", argument)?;
            Some(if below == b"/" { base.to_vec() } else { [base, &below].concat() })
        }
        _ => normalise(base, argument),
    }
}
