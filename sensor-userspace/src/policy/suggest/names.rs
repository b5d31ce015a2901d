//! How one name is written in a pattern, and which names will be others next time.

/// What this version's compiler can put into force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// `*` and `?` within a path.
    pub wildcards: bool,
    /// `{a,b}` within a path.
    pub braces: bool,
    /// `to:` of a rule.
    pub destinations: bool,
}

const MAX_NAME: usize = 255;
/// Parents of names that programs make up.
const TEMPORARY: [&[u8]; 4] = [b"/tmp", b"/var/tmp", b"/dev/shm", b"/run"];

/// The name literally, escaped where it must be; none if the language cannot say it.
pub fn literal(name: &[u8], dialect: Dialect) -> Option<String> {
    if name.len() > MAX_NAME {
        return None;
    }
    // Who knows braces knows the escapes as well.
    if !dialect.wildcards && !dialect.braces {
        let text = std::str::from_utf8(name).ok()?;
        let special = |c: char| matches!(c, '*' | '?' | '[' | '{' | '}' | '\\');
        return (!text.contains(special) && !text.contains("${")).then(|| text.to_owned());
    }
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\') {
                text.push('\\');
            }
            text.push(c);
        }
        if !chunk.invalid().is_empty() && !dialect.wildcards {
            return None;
        }
        // A policy is text: a byte that is none is any one byte.
        chunk.invalid().iter().for_each(|_| text.push('?'));
    }
    Some(text)
}

/// What the usual makers of temporary files put before so many random characters.
const MADE: [(&str, usize); 2] = [("cc", 6), ("tmp", 8)];

const TRIED: &str = "????????";

/// A glob for a name that will not be met again: a process's number, a hash, a temporary file.
pub fn volatile(parent: &[u8], name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok().filter(|name| name.is_ascii())?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let in_proc = parent == b"/proc" || parent.starts_with(b"/proc/");
    if digits(name) && (in_proc || parent == b"/dev/pts") {
        return Some("*".to_owned());
    }
    let (stem, ending) = match name.find('.') {
        Some(at) if at > 0 => name.split_at(at),
        _ => (name, ""),
    };
    if is_hash(stem) {
        return escaped("", ending);
    }
    let temporary = TEMPORARY.contains(&parent);
    if temporary {
        let made = MADE.iter().find(|(head, tail)| stem.strip_prefix(head).is_some_and(|rest| rest.len() == *tail));
        if let Some((head, _)) = made {
            return escaped(head, ending);
        }
        if is_random(stem, 1) {
            return escaped("", ending);
        }
        // Python tries a directory by such names, some of which are letters alone.
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if name.len() == TRIED.len() && name.bytes().all(plain) {
            return Some(TRIED.to_owned());
        }
    }
    let at = name.rfind(['-', '_', '.'])? + 1;
    let (head, tail) = name.split_at(at);
    let number = digits(tail) && tail.len() >= if temporary { 3 } else { 5 };
    if head.len() > 1 && (number || is_random(tail, if temporary { 1 } else { 3 })) {
        return escaped(head, "");
    }
    None
}

fn escaped(head: &str, ending: &str) -> Option<String> {
    let every = Dialect { wildcards: true, braces: true, destinations: false };
    let (head, ending) = (literal(head.as_bytes(), every)?, literal(ending.as_bytes(), every)?);
    Some(format!("{head}*{ending}"))
}

/// Hex of 16 digits and more, with or without hyphens: a digest, a UUID.
fn is_hash(text: &str) -> bool {
    let hex = text.bytes().filter(|byte| byte.is_ascii_hexdigit()).count();
    let number = text.bytes().any(|byte| byte.is_ascii_digit());
    hex >= 16 && number && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Six to sixteen letters and digits that change their kind so often as no word does.
fn is_random(text: &str, changes: usize) -> bool {
    let kind = |byte: u8| match byte {
        b'0'..=b'9' => Some(0),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        _ => None,
    };
    let kinds: Vec<u8> = text.bytes().filter_map(kind).collect();
    (6..=16).contains(&text.len())
        && kinds.len() == text.len()
        && kinds.windows(2).filter(|pair| pair[0] != pair[1]).count() >= changes
        // `Makefile`, `release`, `20261121`.
        && kinds.windows(2).any(|pair| pair[0] != pair[1] && pair != [2, 1])
}
