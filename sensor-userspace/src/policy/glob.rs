//! From a path as written to patterns: variables, braces, wildcards, classes, escapes.

use std::iter::Peekable;
use std::str::Chars;

use super::contents;
use super::pattern::{Part, Pattern, Piece, Variable};
use super::problem::{At, Report};
use crate::near::suggestion;

const MAX_COMPONENT: usize = 255;
const MAX_ABSTRACT: usize = 107;
/// One written path may stand for so many.
const MAX_ALTERNATIVES: usize = 1024;
/// Bounds what braces can multiply; twice what the kernel knows, for the escapes.
const MAX_WRITTEN: usize = 8192;
const MAX_DEPTH: usize = 16;

/// What is wrong, and the way out.
type Trouble = (String, String);

fn fail<T>(cause: &str, hint: &str) -> Result<T, Trouble> {
    Err((cause.to_owned(), hint.to_owned()))
}

/// Reads one path as written in a policy; braces make several of it.
pub(super) fn read(text: &str, at: At, report: &mut Report) -> Option<Vec<Pattern>> {
    match patterns(text, at) {
        Ok(patterns) => Some(patterns),
        Err((cause, hint)) => {
            let shown: String = text.chars().take(200).collect();
            let more = if shown.len() < text.len() { "..." } else { "" };
            report.error(at, format!("path `{shown}{more}`: {cause}"), hint);
            None
        }
    }
}

fn patterns(text: &str, at: At) -> Result<Vec<Pattern>, Trouble> {
    if text.len() > MAX_WRITTEN {
        let cause = format!("it has {} bytes, more than the limit of {MAX_WRITTEN}", text.len());
        return Err((cause, "shorten it".to_owned()));
    }
    if text.contains('\0') {
        return fail("it holds a NUL byte, which no path does", "remove it");
    }
    let (place, digest) = contents::split(text)?;
    let (variable, rest) = variable(place)?;
    if variable.is_some() && digest.is_some() {
        return fail("a digest stands behind a whole path", "write the place without a variable");
    }
    if rest.contains("${") {
        return fail("a variable stands only at the start", "write `${workspace}/…` or `${home}/…`");
    }
    let mut chars = rest.chars().peekable();
    let alternatives = sequence(&mut chars, 0)?;
    let pattern = |alternative: String| {
        let parts = parts(&alternative, variable.is_some())?;
        let text = match (variable, &digest) {
            (Some(variable), _) => format!("${{{}}}{alternative}", variable.name()),
            (None, Some(digest)) => contents::joined(&alternative, digest),
            (None, None) => alternative,
        };
        let one = !parts.is_empty() && parts.iter().all(|part| matches!(part, Part::Name(_)));
        if digest.is_some() && !one {
            return fail("a digest is one file's", "name the file without wildcards");
        }
        Ok(Pattern { at, text, variable, parts, digest })
    };
    alternatives.into_iter().map(pattern).collect()
}

fn variable(text: &str) -> Result<(Option<Variable>, &str), Trouble> {
    let Some(rest) = text.strip_prefix("${") else { return Ok((None, text)) };
    let Some((name, rest)) = rest.split_once('}') else {
        return fail("the variable is not closed", "write `${workspace}` or `${home}`");
    };
    let Some(variable) = Variable::ALL.into_iter().find(|variable| variable.name() == name) else {
        let hint = suggestion(name, Variable::ALL.iter().map(|variable| variable.name()))
            .unwrap_or_else(|| "the variables are `${workspace}` and `${home}`".to_owned());
        return Err((format!("unknown variable `${{{name}}}`"), hint));
    };
    Ok((Some(variable), rest))
}

/// All that the text stands for once its braces are written out, up to the end of the group it is in.
fn sequence(chars: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Vec<String>, Trouble> {
    let mut all = vec![String::new()];
    let push = |all: &mut Vec<String>, c: char| all.iter_mut().for_each(|text| text.push(c));
    while let Some(c) = chars.peek().copied() {
        if depth > 0 && matches!(c, ',' | '}') {
            break;
        }
        chars.next();
        match c {
            '\\' => {
                push(&mut all, c);
                if let Some(escaped) = chars.next() {
                    push(&mut all, escaped);
                }
            }
            // In a class braces and commas stand for themselves.
            '[' => copy_class(chars, &mut |c| push(&mut all, c)),
            '{' => {
                let group = group(chars, depth + 1)?;
                if all.len() * group.len() > MAX_ALTERNATIVES {
                    let cause = format!("its braces stand for more than {MAX_ALTERNATIVES} paths");
                    return Err((cause, "use `*`, or write several paths".to_owned()));
                }
                let joined = |text: &String| group.iter().map(|end| format!("{text}{end}")).collect();
                all = all.iter().flat_map(|text| -> Vec<String> { joined(text) }).collect();
            }
            '}' => return fail("a `}` closes nothing", "write `\\}` for the character itself"),
            c => push(&mut all, c),
        }
    }
    Ok(all)
}

fn group(chars: &mut Peekable<Chars<'_>>, depth: usize) -> Result<Vec<String>, Trouble> {
    if depth > MAX_DEPTH {
        return fail("its braces are nested more than 16 deep", "write several paths");
    }
    let mut all = Vec::new();
    loop {
        all.extend(sequence(chars, depth)?);
        if all.len() > MAX_ALTERNATIVES {
            let cause = format!("its braces stand for more than {MAX_ALTERNATIVES} paths");
            return Err((cause, "use `*`, or write several paths".to_owned()));
        }
        match chars.next() {
            Some(',') => {}
            Some(_) => return Ok(all),
            None => {
                return fail("a `{` is not closed", "close it, or write `\\{` for the character");
            }
        }
    }
}

/// Copies what stands between `[` and its `]`, both included. One that is not closed is told later.
fn copy_class(chars: &mut Peekable<Chars<'_>>, push: &mut dyn FnMut(char)) {
    push('[');
    if let Some(negation) = chars.next_if_eq(&'!') {
        push(negation);
    }
    let mut first = true;
    while let Some(c) = chars.next() {
        push(c);
        match c {
            ']' if !first => return,
            '\\' => chars.next().into_iter().for_each(&mut *push),
            _ => {}
        }
        first = false;
    }
}

/// The components of a path without variable and braces.
fn parts(text: &str, after_variable: bool) -> Result<Vec<Part>, Trouble> {
    if let (Some(name), false) = (text.strip_prefix('@'), after_variable) {
        return Ok(vec![Part::Abstract, abstract_name(name)?]);
    }
    let inner = match text.strip_prefix('/') {
        Some("") if !after_variable => return Ok(Vec::new()),
        Some(inner) => inner,
        None if after_variable && text.is_empty() => return Ok(Vec::new()),
        None if after_variable => {
            return fail("a `/` must follow the variable", "write `${workspace}/name`");
        }
        None if text == "**" || text.starts_with("**/") => text,
        None => {
            let hint = "begin it with `/`, `${workspace}`, `${home}` or `**/`";
            return fail("it is relative", hint);
        }
    };
    let mut parts = Vec::new();
    let mut chars = inner.chars().peekable();
    loop {
        let part = component(&mut chars)?;
        // Two of them are as good as one.
        if part != Part::Deep || parts.last() != Some(&Part::Deep) {
            parts.push(part);
        }
        if chars.next().is_none() {
            return Ok(parts);
        }
    }
}

/// Reads up to the next `/` or the end.
fn component(chars: &mut Peekable<Chars<'_>>) -> Result<Part, Trouble> {
    let pieces = pieces(chars, false)?;
    if pieces == [Piece::Many, Piece::Many] {
        return Ok(Part::Deep);
    }
    if has_two_stars(&pieces) {
        let hint = "write `*` within a name, and `/**/` for any number of directories";
        return fail("`**` stands alone between two slashes", hint);
    }
    if too_long(&pieces, MAX_COMPONENT) {
        return fail("a component has more than 255 bytes: no file has such a name", "shorten it");
    }
    match part(pieces) {
        Part::Name(name) if name.is_empty() => {
            fail("it has an empty component (`//`, or `/` at the end)", "write `/dir` or `/dir/**`")
        }
        Part::Name(name) if name == b"." || name == b".." => {
            fail("`.` and `..` name nothing in a policy", "write the path that is meant")
        }
        part => Ok(part),
    }
}

/// An abstract socket's name, behind its `@`: a `/` is a byte like any other.
fn abstract_name(text: &str) -> Result<Part, Trouble> {
    let pieces = pieces(&mut text.chars().peekable(), true)?;
    if has_two_stars(&pieces) {
        return fail("`**` stands for directories, and an abstract name has none", "write `*`");
    }
    if too_long(&pieces, MAX_ABSTRACT) {
        return fail("an abstract socket's name has at most 107 bytes", "shorten it");
    }
    Ok(part(pieces))
}

fn has_two_stars(pieces: &[Piece]) -> bool {
    pieces.windows(2).any(|two| two == [Piece::Many, Piece::Many])
}

fn too_long(pieces: &[Piece], limit: usize) -> bool {
    pieces.iter().filter(|piece| **piece != Piece::Many).count() > limit
}

fn part(pieces: Vec<Piece>) -> Part {
    let plain: Option<Vec<u8>> =
        pieces.iter().map(|piece| if let Piece::Byte(byte) = piece { Some(*byte) } else { None }).collect();
    match plain {
        Some(name) => Part::Name(name),
        None if pieces == [Piece::Many] => Part::Any,
        None => Part::Glob(pieces),
    }
}

/// What a name consists of, up to the end or, where slashes end it, to the next.
fn pieces(chars: &mut Peekable<Chars<'_>>, takes_slashes: bool) -> Result<Vec<Piece>, Trouble> {
    let mut pieces = Vec::new();
    while let Some(c) = chars.next_if(|c| takes_slashes || *c != '/') {
        match c {
            '*' => pieces.push(Piece::Many),
            '?' => pieces.push(Piece::One),
            '[' => pieces.push(class(chars)?),
            '\\' => match chars.next() {
                None => return fail("it ends with a lone `\\`", "write `\\\\` for the character"),
                Some('/') if !takes_slashes => {
                    return fail("no name holds a `/`", "remove the `\\` before it");
                }
                Some(c) => literal(c, &mut pieces),
            },
            c => literal(c, &mut pieces),
        }
    }
    Ok(pieces)
}

fn literal(c: char, pieces: &mut Vec<Piece>) {
    let mut room = [0; 4];
    pieces.extend(c.encode_utf8(&mut room).bytes().map(Piece::Byte));
}

/// Reads a class after its `[`: one byte of those named, or of all others after a `!`.
fn class(chars: &mut Peekable<Chars<'_>>) -> Result<Piece, Trouble> {
    let open = "close it, or write `\\[` for the character";
    let not = chars.next_if_eq(&'!').is_some();
    if !not && chars.peek() == Some(&'^') {
        return fail("`[^` is ambiguous", "write `[!…]` for all others, `[\\^…]` for the character");
    }
    let mut bits = [0_u64; 4];
    let mut first = true;
    loop {
        let Some(c) = chars.next() else { return fail("a `[` is not closed", open) };
        let low = match c {
            ']' if !first => break,
            '[' if chars.peek() == Some(&':') => {
                let hint = "name the characters: `[a-zA-Z]` for `[[:alpha:]]`";
                return fail("named classes are no part of the language", hint);
            }
            c => member(c, chars)?,
        };
        first = false;
        let mut high = low;
        if chars.peek() == Some(&'-') {
            let mut ahead = chars.clone();
            ahead.next();
            // A `-` before the end stands for itself.
            if ahead.peek() != Some(&']') {
                chars.next();
                let Some(c) = chars.next() else { return fail("a `[` is not closed", open) };
                high = member(c, chars)?;
            }
        }
        if low > high {
            let (low, high) = (char::from(low), char::from(high));
            let cause = format!("the range `{low}-{high}` is empty");
            return Err((cause, format!("write `{high}-{low}`")));
        }
        (low..=high).for_each(|byte| bits[usize::from(byte >> 6)] |= 1 << (byte & 63));
    }
    if not {
        bits.iter_mut().for_each(|word| *word = !*word);
    }
    let mut members = (0..=u8::MAX).filter(|byte| bits[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1);
    // `[*]` is a way to write the character itself.
    Ok(match (members.next(), members.next()) {
        (Some(byte), None) => Piece::Byte(byte),
        _ => Piece::Class(bits),
    })
}

fn member(c: char, chars: &mut Peekable<Chars<'_>>) -> Result<u8, Trouble> {
    let c = match c {
        '\\' => chars.next().unwrap_or('\\'),
        c => c,
    };
    match u8::try_from(c) {
        Ok(b'/') => fail("no name holds a `/`, and no class does", "remove it from the brackets"),
        Ok(byte) if byte.is_ascii() => Ok(byte),
        _ => {
            let cause = format!("`{c}` has several bytes, and a class stands for one");
            Err((cause, format!("write `{{{c},…}}`")))
        }
    }
}
