//! From YAML to what a rule, or a case, says of signals and capabilities.

use super::language::{CaseObject, NumberTest};
use super::lists::reference;
use super::numbers::Numbered;
use super::problem::Report;
use super::read_object::{not_empty, only_not};
use super::yaml::{Kind, Node};
use crate::near::suggestion;

/// Reads `signal:` or `capability:` of a rule; `None` with the reason told.
pub(super) fn numbers(node: &Node, kind: Numbered, report: &mut Report) -> Option<NumberTest> {
    let Kind::Map(entries) = &node.kind else {
        return bits(node, kind, report).map(NumberTest::In);
    };
    let example = match kind {
        Numbered::Signal => "signal: { not: SIGTERM }",
        Numbered::Capability => "capability: { not: CAP_NET_RAW }",
    };
    let not = only_not(node, entries, example, report)?;
    bits(not, kind, report).map(NumberTest::NotIn)
}

/// Reads the one of a case. Signal 0 is no signal, and may be attempted all the same.
pub(super) fn one(node: &Node, kind: Numbered, report: &mut Report) -> Option<CaseObject> {
    if kind == Numbered::Signal && node.text() == Some("0") {
        return Some(CaseObject::None);
    }
    which(node, kind, report).map(CaseObject::Number)
}

fn bits(node: &Node, kind: Numbered, report: &mut Report) -> Option<u64> {
    let mut sound = not_empty(node, kind.key(), report);
    let mut bits = 0;
    for item in node.items() {
        let read = which(item, kind, report);
        sound = sound.and(read.map(|which| bits |= 1 << (which - 1)));
    }
    sound.map(|()| bits)
}

/// The bit plus one of a name or a number.
fn which(node: &Node, kind: Numbered, report: &mut Report) -> Option<u8> {
    let key = kind.key();
    let Some(text) = node.text() else {
        let text = format!("{} stands where a {key} was expected", node.describe());
        report.error(node.at, text, way_out(kind));
        return None;
    };
    let found = kind.parse(text);
    if found.is_none() {
        let (cause, hint) = trouble(text, kind);
        report.error(node.at, format!("{key} `{text}`: {cause}"), hint);
    }
    found
}

fn trouble(text: &str, kind: Numbered) -> (&'static str, String) {
    let capitals = text.to_uppercase();
    match kind {
        _ if reference(text).is_some() => {
            ("lists hold paths and destinations", format!("write the names here: {}", way_out(kind)))
        }
        Numbered::Signal if text == "0" => (
            "it sends nothing, and no `signal:` speaks of it",
            "a rule without `signal:` speaks of it as well".to_owned(),
        ),
        Numbered::Signal if capitals.trim_start_matches("SIG").starts_with("RT") => {
            ("real-time signals have no names here", "write its number, from 32 to 64: `kill -l` tells it".to_owned())
        }
        _ => {
            let near = suggestion(&capitals, kind.words());
            ("there is none of that name or number", near.unwrap_or_else(|| way_out(kind).to_owned()))
        }
    }
}

fn way_out(kind: Numbered) -> &'static str {
    match kind {
        Numbered::Signal => "write a name such as `SIGKILL`, or a number from 1 to 64",
        Numbered::Capability => "write a name such as `CAP_NET_RAW`, or a number from 0 to 63",
    }
}
