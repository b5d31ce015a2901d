//! Which fault it is, where only the lines that follow can tell.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::facts::Facts;
use super::head::Head;
use super::hex64;
use super::input::Lines;
use super::report::Fault;
use super::tree::Root;
use crate::record::envelope::Parts;

struct Seen {
    seq: u64,
    prev: Vec<u8>,
    digest: Root,
}

/// The records that follow, unchecked.
#[derive(Default)]
pub struct Rest {
    seen: Vec<Seen>,
}

impl Rest {
    pub fn read(lines: &mut Lines, files: &[PathBuf]) -> Rest {
        let mut rest = Rest::default();
        rest.take(lines);
        for file in files {
            if let Ok(mut lines) = Lines::open(file) {
                rest.take(&mut lines);
            }
        }
        rest
    }

    fn take(&mut self, lines: &mut Lines) {
        let mut line = Vec::new();
        while let Ok(true) = lines.next(&mut line) {
            self.seen.extend(look(line.strip_suffix(b"\n").unwrap_or(&line)));
        }
    }
}

fn look(line: &[u8]) -> Option<Seen> {
    let facts = Facts::of(Parts::of(line)?.data).ok()?;
    Some(Seen { seq: facts.seq, prev: facts.prev.to_vec(), digest: Sha256::digest(line).into() })
}

/// A line came too early: is what should be here gone, or only elsewhere?
pub fn gap(expected: u64, line: &[u8], rest: &Rest, message: String) -> (Fault, String) {
    let again = look(line).is_some_and(|this| rest.seen.iter().any(|other| other.digest == this.digest));
    let later = rest.seen.iter().any(|other| other.seq == expected);
    match (later, again) {
        (true, true) => (Fault::Duplicated, format!("{message}; it is here twice")),
        (true, false) => (Fault::Reordered, format!("{message}; record {expected} comes later")),
        (false, _) => (Fault::Missing, message),
    }
}

/// Sealed with a key that is not here, or was its key id changed? The line after it knows.
pub fn unknown_key(line: &[u8], rest: &Rest, head: Option<&Head>, verified: bool, message: String) -> (Fault, String) {
    let digest = hex64(&Sha256::digest(line).into());
    let genuine = match rest.seen.first() {
        Some(next) => next.prev == digest,
        None if verified => head.is_some_and(|head| head.last.as_bytes() == digest),
        None => true,
    };
    match genuine {
        true => (Fault::UnknownKey, message),
        false => (Fault::Modified, "its key id is none of this ledger's, and the next line knows another".to_string()),
    }
}

/// The first line is no record: is anything here one?
pub fn not_a_record(line: &[u8], rest: &Rest, message: String) -> (Fault, String) {
    let has = |part: &[u8]| line.windows(part.len()).any(|window| window == part);
    if rest.seen.is_empty() && !has(br#""specversion""#) && !has(br#""signature":""#) {
        return (Fault::Malformed, "no record is in it; name a segment or a ledger directory".to_string());
    }
    (Fault::Modified, message)
}
