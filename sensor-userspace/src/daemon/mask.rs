//! Takes secrets out of argument strings before anything is recorded.
//!
//! A rule that masks too much costs a reader a word; one that masks too little puts a password into evidence
//! that is kept for years. Where the two meet, it masks.

mod tables;
#[cfg(test)]
mod tests;

use tables::{OPEN_KEYS, SECRET_ENDINGS, SECRET_HEADERS, SECRET_WORDS, TOKENS, TOOLS};

const MASK: &[u8] = b"***";
const PRIVATE_KEY: &[u8] = b"PRIVATE KEY-----";

/// Masks the secrets of a program's argument strings, in place.
pub fn argv(args: &mut [Vec<u8>]) {
    by_tool(args);
    let mut next_is_secret = false;
    let mut after_dash_c = false;
    for arg in args.iter_mut() {
        if std::mem::take(&mut next_is_secret) && !arg.starts_with(b"-") && !arg.is_empty() {
            *arg = MASK.to_vec();
            continue;
        }
        // Inside a script each word is a matter of its own.
        let script = std::mem::take(&mut after_dash_c);
        if arg.iter().any(u8::is_ascii_whitespace) {
            words_by_tool(arg);
        }
        *arg = text(arg, !script);
        // A private key as such: nothing behind its first line is shown.
        if let Some(at) = arg.windows(PRIVATE_KEY.len()).position(|window| window == PRIVATE_KEY) {
            arg.truncate(at + PRIVATE_KEY.len());
            arg.extend_from_slice(MASK);
        }
        next_is_secret = arg.starts_with(b"-") && arg.iter().all(|byte| in_name(*byte)) && is_secret(arg);
        after_dash_c = arg.starts_with(b"-") && !arg.starts_with(b"--") && arg.ends_with(b"c");
    }
}

fn by_tool(args: &mut [Vec<u8>]) {
    // A tool may stand behind sudo or env.
    let words: Vec<Vec<u8>> = args.iter().map(|arg| basename(arg).to_vec()).collect();
    for tool in TOOLS {
        let named = |word: &Vec<u8>| tool.names.iter().any(|name| name.as_bytes() == word.as_slice());
        let Some(at) = words.iter().position(named) else {
            continue;
        };
        if tool.with.is_some_and(|sub| !words[at..].iter().any(|word| word == sub.as_bytes())) {
            continue;
        }
        let option = tool.option.as_bytes();
        let mut after_option = false;
        for arg in &mut args[at + 1..] {
            if std::mem::take(&mut after_option) {
                *arg = MASK.to_vec();
            } else if tool.separate && (arg.as_slice() == option || clusters(arg, option, tool)) {
                after_option = true;
            } else if tool.attached && arg.len() > option.len() && arg.starts_with(option) {
                arg.truncate(option.len());
                arg.extend_from_slice(MASK);
            }
        }
    }
}

/// `-sSu` is `-s -S -u` to a tool whose options are letters.
fn clusters(arg: &[u8], option: &[u8], tool: &tables::Tool) -> bool {
    let (&[b'-', letter], Some((last, flags))) = (option, arg.split_last()) else {
        return false;
    };
    // openssl's are words.
    !tool.names.contains(&"openssl")
        && *last == letter
        && flags.len() > 1
        && flags[0] == b'-'
        && flags[1..].iter().all(u8::is_ascii_alphanumeric)
}

/// The same for a script given as one string; a command ends at `;`, `|`, `&` or a line's end.
fn words_by_tool(script: &mut Vec<u8>) {
    let mut out = Vec::with_capacity(script.len());
    for command in script.split_inclusive(|byte| matches!(byte, b';' | b'|' | b'&' | b'\n')) {
        let pieces: Vec<&[u8]> = command.split_inclusive(|byte| byte.is_ascii_whitespace()).collect();
        let mut words: Vec<Vec<u8>> = pieces.iter().map(|piece| piece.trim_ascii().to_vec()).collect();
        by_tool(&mut words);
        for (word, piece) in words.iter().zip(pieces) {
            let lead = piece.len() - piece.trim_ascii_start().len();
            let tail = piece.trim_ascii_end().len().max(lead);
            out.extend_from_slice(&piece[..lead]);
            out.extend_from_slice(word);
            out.extend_from_slice(&piece[tail..]);
        }
    }
    *script = out;
}

fn basename(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// Masks what a text shows of secrets. `whole`: `NAME=value` at the start takes all that follows for the value.
fn text(input: &[u8], whole: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(input.len());
    let mut at = 0;
    while at < input.len() {
        if !in_name(input[at]) {
            out.push(input[at]);
            at += 1;
            continue;
        }
        let length = input[at..].iter().position(|byte| !in_name(*byte)).unwrap_or(input.len() - at);
        let (name, rest) = (&input[at..at + length], &input[at + length..]);
        if is_token(name) {
            out.extend_from_slice(MASK);
            at += length;
            continue;
        }
        out.extend_from_slice(name);
        let start = at;
        at += length;
        if rest.starts_with(b"://") {
            at += address(rest, &mut out);
        } else if let Some(value) = rest.strip_prefix(b"=") {
            if is_secret(name) {
                out.push(b'=');
                at += 1 + if whole && start == 0 { all(value, &mut out) } else { word(value, &mut out) };
            }
        } else if let Some(lead) = after_colon(rest).filter(|_| is_secret(name) || is_header(name)) {
            out.extend_from_slice(&rest[..lead]);
            let quoted = start > 0 && matches!(input[start - 1], b'"' | b'\'');
            let value = &rest[lead..];
            // A header's value has blanks in it: it ends with its line or with the quote around it.
            at += lead
                + if quoted && rest.starts_with(b":") || is_header(name) || start == 0 {
                    line(value, &mut out)
                } else {
                    word(value, &mut out)
                };
        } else if rest.first().is_some_and(u8::is_ascii_whitespace)
            && (name.eq_ignore_ascii_case(b"bearer") || name.starts_with(b"-") && is_secret(name))
        {
            let blanks = rest.len() - rest.trim_ascii_start().len();
            if !rest[blanks..].starts_with(b"-") {
                out.extend_from_slice(&rest[..blanks]);
                at += blanks + word(&rest[blanks..], &mut out);
            }
        }
    }
    out
}

/// `name: value`, `"name": "value"`: where the value begins behind the name.
fn after_colon(rest: &[u8]) -> Option<usize> {
    let quote = usize::from(rest.first().is_some_and(|byte| matches!(byte, b'"' | b'\'')));
    if rest.get(quote) != Some(&b':') {
        return None;
    }
    let value = &rest[quote + 1..];
    let blanks = value.len() - value.trim_ascii_start().len();
    let quoted = value.get(blanks).is_some_and(|byte| matches!(byte, b'"' | b'\''));
    (quote > 0 || blanks > 0 || quoted).then_some(quote + 1 + blanks)
}

/// Each of these writes the mask for the value at the front and says how long the value was.
fn all(value: &[u8], out: &mut Vec<u8>) -> usize {
    if !value.is_empty() {
        out.extend_from_slice(MASK);
    }
    value.len()
}

fn until(value: &[u8], out: &mut Vec<u8>, ends: fn(u8) -> bool) -> usize {
    if let Some(&quote @ (b'"' | b'\'')) = value.first() {
        let inner = value[1..].iter().position(|byte| *byte == quote).unwrap_or(value.len() - 1);
        out.push(quote);
        out.extend_from_slice(MASK);
        return 1 + inner;
    }
    let length = value.iter().position(|byte| ends(*byte)).unwrap_or(value.len());
    all(&value[..length], out)
}

fn word(value: &[u8], out: &mut Vec<u8>) -> usize {
    until(value, out, |byte| {
        byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b'`' | b'&' | b';' | b'|' | b')')
    })
}

fn line(value: &[u8], out: &mut Vec<u8>) -> usize {
    until(value, out, |byte| matches!(byte, b'"' | b'\'' | b'\n' | b'\r'))
}

/// `://user:secret@host`: keeps the user.
fn address(rest: &[u8], out: &mut Vec<u8>) -> usize {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'?' | b'#' | b'"' | b'\'' | b'`');
    let authority = &rest[3..];
    let length = authority.iter().position(ends).unwrap_or(authority.len());
    let authority = &authority[..length];
    out.extend_from_slice(b"://");
    let Some(host) = authority.iter().rposition(|byte| *byte == b'@') else {
        return 3;
    };
    let user = &authority[..host];
    match user.iter().position(|byte| *byte == b':') {
        Some(colon) => {
            out.extend_from_slice(&user[..=colon]);
            out.extend_from_slice(MASK);
        }
        None if is_token(user) => out.extend_from_slice(MASK),
        None => out.extend_from_slice(user),
    }
    3 + host
}

fn is_token(word: &[u8]) -> bool {
    TOKENS.iter().any(|(start, more)| word.len() >= start.len() + more && word.starts_with(start.as_bytes()))
}

fn is_header(name: &[u8]) -> bool {
    SECRET_HEADERS.iter().any(|header| name.eq_ignore_ascii_case(header.as_bytes()))
        || [&b"authorization"[..], b"proxy-authorization", b"cookie", b"set-cookie"]
            .iter()
            .any(|header| name.eq_ignore_ascii_case(header))
}

/// Whether what is called so is a secret: by the last words of the name.
fn is_secret(name: &[u8]) -> bool {
    if name.len() > 128 {
        return false;
    }
    let words = words(name);
    let Some((last, before)) = words.split_last() else {
        return false;
    };
    if SECRET_WORDS.contains(&last.as_str()) || SECRET_ENDINGS.iter().any(|ending| last.ends_with(ending)) {
        // `PASS`: one word alone is a secret in any spelling; `--auth` alone is usually a method.
        return last != "auth" || !before.is_empty() || name.starts_with(b"_");
    }
    match last.as_str() {
        // PWD is where one stands; `Pwd=` in a connection's string is no place.
        "pwd" => match before.last() {
            Some(word) => word != "old",
            None => name != b"PWD",
        },
        "key" => match before.last() {
            Some(word) => !OPEN_KEYS.contains(&word.as_str()),
            None => name == b"KEY",
        },
        _ => false,
    }
}

/// Words of `DB_PASSWORD2`, `--auth-token`, `apiToken`, in small letters, trailing digits left out.
fn words(name: &[u8]) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut small = false;
    for &byte in name {
        if !byte.is_ascii_alphanumeric() {
            words.push(String::new());
        } else {
            if byte.is_ascii_uppercase() && small {
                words.push(String::new());
            }
            if let Some(word) = words.last_mut() {
                word.push(char::from(byte.to_ascii_lowercase()));
            }
        }
        small = byte.is_ascii_lowercase();
    }
    words
        .iter()
        .map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned())
        .filter(|word| !word.is_empty())
        .collect()
}
