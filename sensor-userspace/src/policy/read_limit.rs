//! From YAML to a rule's limit.

use std::time::Duration;

use sensor_common::table::MAX_OBJECTS;

use super::limit::{Counted, Limit};
use super::problem::Report;
use super::read::choice;
use super::read_consequence::duration;
use super::words::unknown_key;
use super::yaml::{Entry, Kind, Node};

pub(super) const KEYS: &[&str] = &["within", "beyond", "of", "per"];
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);
const EXAMPLE: &str = "write `limit: { within: 100, per: 1h }`, or `{ beyond: 20, per: 1m }`";
const UNITS: [(&str, u64); 4] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("", 1)];

/// Reads `limit:`; `None` with the reason told.
pub(super) fn limit(entry: &Entry, report: &mut Report) -> Option<Limit> {
    let Kind::Map(entries) = &entry.value.kind else {
        let text = format!("`limit` cannot be {}", entry.value.describe());
        report.error(entry.value.at, text, EXAMPLE);
        return None;
    };
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    let mut known = true;
    for odd in entries.iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        unknown_key(odd, KEYS, true, report);
        known = false;
    }
    if !known {
        return None;
    }
    let (side, beyond) = match (get("within"), get("beyond")) {
        (Some(side), None) => (side, false),
        (None, Some(side)) => (side, true),
        (Some(_), Some(other)) => {
            report.error(
                other.at,
                "`limit` says both `within` and `beyond`",
                "a rule holds on one side: make two rules",
            );
            return None;
        }
        (None, None) => {
            report.error(entry.value.at, "`limit` says neither `within` nor `beyond`", EXAMPLE);
            return None;
        }
    };
    let of = choice(get("of"), &Counted::ALL, Counted::Attempts, report);
    let most = amount(&side.value, of, report)?;
    let per = match get("per") {
        None => None,
        Some(entry) if entry.value.text() == Some("run") => None,
        Some(entry) => {
            let per = duration(entry, LONGEST, report)?;
            if per.subsec_nanos() != 0 {
                report.error(entry.value.at, "a window has whole seconds", "write `per: 1s`, or longer");
                return None;
            }
            Some(per)
        }
    };
    Some(Limit { most, of, beyond, per })
}

fn amount(node: &Node, of: Counted, report: &mut Report) -> Option<u64> {
    let text = node.text().unwrap_or_default();
    let known = UNITS.into_iter().filter(|(unit, _)| unit.is_empty() || of == Counted::Bytes);
    let parsed = known.into_iter().find_map(|(unit, size)| {
        let digits = text.strip_suffix(unit)?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()?.checked_mul(size))?
    });
    let largest = match of {
        Counted::Objects => MAX_OBJECTS,
        // All that is counted stays far from the end of 64 bits.
        Counted::Attempts | Counted::Bytes => 1 << 60,
    };
    match parsed {
        Some(0) => {
            let text = "a limit of 0 is no limit: what is within never holds, and what is beyond always does";
            report.error(node.at, text, "leave the rule out, or its `limit`");
            None
        }
        Some(most) if most <= largest => Some(most),
        _ => {
            let text = format!("a limit cannot be {}", node.describe());
            let hint = match of {
                Counted::Attempts => "write a number of attempts".to_owned(),
                Counted::Bytes => "write a number of bytes, `4096`, `64KiB`, `10MiB`".to_owned(),
                Counted::Objects => format!("write a number of objects, up to {MAX_OBJECTS}"),
            };
            report.error(node.at, text, hint);
            None
        }
    }
}
