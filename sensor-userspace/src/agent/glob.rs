//! Globs over cgroup paths: `*` and `?` within a name, `**` over any number of names.

pub fn matches(glob: &str, path: &str) -> bool {
    let names = |text: &str| -> Vec<Vec<u8>> {
        text.split('/').filter(|name| !name.is_empty()).map(|name| name.as_bytes().to_vec()).collect()
    };
    names_match(&names(glob), &names(path))
}

fn names_match(glob: &[Vec<u8>], path: &[Vec<u8>]) -> bool {
    match glob.split_first() {
        None => path.is_empty(),
        Some((first, rest)) if first == b"**" => (0..=path.len()).any(|skipped| names_match(rest, &path[skipped..])),
        Some((first, rest)) => {
            path.split_first().is_some_and(|(name, below)| name_matches(first, name) && names_match(rest, below))
        }
    }
}

/// Linear but for the last `*`, to which it goes back.
fn name_matches(glob: &[u8], name: &[u8]) -> bool {
    let (mut g, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if g < glob.len() && glob[g] == b'*' {
            star = Some((g, n));
            g += 1;
        } else if g < glob.len() && (glob[g] == b'?' || glob[g] == name[n]) {
            g += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            g = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names_and_stars() {
        for (glob, path, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/b/c", false),
            ("a/*", "a/b", true),
            ("a/*", "a", false),
            ("a/**", "a/b/c", true),
            ("**/c", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("x/agent-*.scope", "x/agent-1.scope", true),
            ("x/agent-*.scope", "x/agent-1.slice", false),
            ("x/?", "x/ab", false),
            ("x/*a*b*", "x/zazbz", true),
        ] {
            assert_eq!(matches(glob, path), expected, "{glob} {path}");
        }
    }
}
