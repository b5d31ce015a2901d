//! What checking a line needs to know of it.

use crate::record::envelope::{Category, Parts};
use crate::record::scan::{NotCanonical, Scanner};
use crate::record::time::is_time;

/// The parts of `data` that chain and envelope depend on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    pub boot: &'a [u8],
    pub chain: &'a [u8],
    pub key_id: &'a [u8],
    pub node: &'a [u8],
    pub prev: &'a [u8],
    pub seq: u64,
    pub verb: Option<&'a [u8]>,
    pub kind: Option<&'a [u8]>,
    pub previous_boot: Option<&'a [u8]>,
    pub tree_size: Option<u64>,
    pub root: Option<&'a [u8]>,
    pub public_key: Option<&'a [u8]>,
    pub tree_signature: Option<&'a [u8]>,
    /// Of the record of an opening: there were records, and no head.
    pub head_missing: bool,
}

impl<'a> Facts<'a> {
    /// Reads them, and insists on every byte being canonical.
    pub fn of(data: &'a [u8]) -> Result<Facts<'a>, NotCanonical> {
        let mut facts = Facts::default();
        let mut chained = false;
        let mut scanner = Scanner::new(data);
        scanner.object(|key, scanner| {
            match key {
                b"action_attempted" => scanner.object(|key, scanner| {
                    match key {
                        b"verb" => facts.verb = Some(scanner.string()?),
                        _ => drop(scanner.value()?),
                    }
                    Ok(())
                })?,
                b"chain" => {
                    chained = true;
                    scanner.object(|key, scanner| {
                        match key {
                            b"boot" => facts.boot = scanner.string()?,
                            b"id" => facts.chain = scanner.string()?,
                            b"key_id" => facts.key_id = scanner.string()?,
                            b"node" => facts.node = scanner.string()?,
                            b"prev" => facts.prev = scanner.string()?,
                            b"seq" => facts.seq = scanner.uint()?,
                            _ => drop(scanner.value()?),
                        }
                        Ok(())
                    })?;
                }
                b"head_missing" => {
                    facts.head_missing = true;
                    let _ = scanner.value()?;
                }
                b"kind" => facts.kind = Some(scanner.string()?),
                b"previous_boot" => facts.previous_boot = Some(scanner.string()?),
                b"public_key" => facts.public_key = Some(scanner.string()?),
                b"root" => facts.root = Some(scanner.string()?),
                b"tree_signature" => facts.tree_signature = Some(scanner.string()?),
                b"tree_size" => facts.tree_size = Some(scanner.uint()?),
                _ => drop(scanner.value()?),
            }
            Ok(())
        })?;
        scanner.end()?;
        let whole = chained && facts.prev.len() == 64 && facts.chain.len() == 16;
        if whole { Ok(facts) } else { Err(NotCanonical { at: 0, what: "no whole chain object" }) }
    }

    /// What `subject` must be.
    pub fn subject(&self) -> Option<&'a [u8]> {
        self.verb.or(self.kind)
    }
}

/// Whether the line's unsigned parts are what the signed ones make them; else the one that is not.
pub fn rebuild(parts: &Parts<'_>, facts: &Facts<'_>) -> Result<Category, &'static str> {
    let category = Category::of_type(parts.kind).ok_or("type")?;
    let mut id = facts.chain.to_vec();
    id.push(b'-');
    crate::record::canonical::digits(facts.seq, &mut id);
    for (same, what) in [
        (parts.id == id, "id"),
        (is_time(parts.time), "time"),
        (Some(parts.subject) == facts.subject(), "subject"),
        (parts.dataschema == category.urn().as_bytes(), "dataschema"),
        (parts.source.starts_with(b"rgt://"), "source"),
    ] {
        if !same {
            return Err(what);
        }
    }
    Ok(category)
}
