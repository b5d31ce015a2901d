//! The words of the language: what each key is, and the nearest one to a misspelt word.

use sensor_common::action::{Action, Class};

use super::problem::{At, Report};
use super::yaml::Entry;
use crate::near::suggestion;

pub(super) const TOP_KEYS: &[&str] = &[
    "version", "name", "description", "include", "mode", "default", "on_unknown", "unresolved", "lists", "sensitivity",
    "rules", "hosts", "tests",
];
/// Of a file that another includes.
pub(super) const INCLUDED_KEYS: &[&str] = &["version", "name", "description", "include", "lists", "rules", "tests"];
/// Part of the language, not of this version.
const TOP_LATER: &[(&str, &str)] = &[
    ("on_stale", "leave it out: what is in force stays in force while no daemon lives"),
    ("exceptions", "write an `allow:` rule with `owner:`, `reason:` and `expires:` before the rule it excepts from"),
];

pub(super) const RULE_KEYS: &[&str] = &[
    "id", "description", "allow", "deny", "challenge", "watch", "path", "to", "unix", "signal", "capability", "exe",
    "when", "mode", "severity", "tags", "label", "risk", "errno", "timeout", "otherwise", "owner", "reason", "expires",
    "scope",
];
pub(super) const WHEN_KEYS: &[&str] =
    &["label", "risk", "principal", "role", "env", "task", "time", "approval", "limit", "sensitivity"];
const EVERY_TIME: &str = "leave the rule out, or write it without this condition if it shall hold always";
const NO_CONSEQUENCE: &str = "leave it out: the effect alone is enforced and recorded";
const RULE_LATER: &[(&str, &str)] = &[
    ("tool", "leave the rule out"),
    ("incomplete", EVERY_TIME),
    ("alert", NO_CONSEQUENCE),
    ("contain", NO_CONSEQUENCE),
    ("snapshot", NO_CONSEQUENCE),
];
/// Words of the language that stand elsewhere, and where.
const ELSEWHERE: &[(&str, &str)] = &[
    ("principal", "write `when: { principal: … }`"),
    ("role", "write `when: { role: … }`"),
    ("env", "write `when: { env: … }`"),
    ("task", "write `when: { task: … }`"),
    ("time", "write `when: { time: … }`"),
    ("approval", "write `when: { approval: … }`"),
    ("sensitivity", "write `when: { sensitivity: \">=confidential\" }`"),
    ("limit", "write `when: { limit: { within: 100, per: 1h } }`"),
    ("unresolved", "write `unresolved: deny` at the top of the policy: it stands behind all rules"),
    ("protocol", "write it before the address: `to: \"udp/*:53\"`"),
    ("port", "write it behind the address: `to: \"10.0.0.0/8:443\"`"),
];

/// Bytes of a label's or an approval's name.
pub const MAX_NAME: usize = 64;

/// Whether a label or an approval may be called so.
pub fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !name.is_empty() && name.len() <= MAX_NAME && name.chars().all(plain)
}

/// Tells of a key that is not among `known`: not supported yet, or not a key at all.
pub(super) fn unknown_key(entry: &Entry, known: &[&str], in_rule: bool, report: &mut Report) {
    let later = if in_rule { RULE_LATER } else { TOP_LATER };
    let key = &entry.key;
    if let Some((_, way_out)) = later.iter().find(|(name, _)| name == key) {
        report.error(entry.at, format!("`{key}:` is not supported yet"), *way_out);
        return;
    }
    if let Some((_, place)) = ELSEWHERE.iter().find(|(name, _)| in_rule && name == key) {
        report.error(entry.at, format!("`{key}:` does not stand here"), *place);
        return;
    }
    let words = known.iter().copied().chain(later.iter().map(|(name, _)| *name));
    let hint = suggestion(key, words).unwrap_or_else(|| format!("the keys here are: {}", known.join(", ")));
    report.error(entry.at, format!("unknown key `{key}`"), hint);
}

/// The bits of the actions that `word` speaks of.
pub(super) fn actions(word: &str, at: At, report: &mut Report) -> Option<u32> {
    let bits = |wanted: &dyn Fn(Action) -> bool| {
        Action::ALL
            .iter()
            .filter(|action| wanted(**action) && !action.is_named_alone())
            .fold(0, |bits, action| bits | action.bit())
    };
    if word == "*" {
        return Some(bits(&|_| true));
    }
    if let Some(family) = word.strip_suffix(".*") {
        let found = bits(&|action| action.verb().split('.').next() == Some(family));
        if found != 0 {
            return Some(found);
        }
    }
    if let Some(class) = Class::ALL.iter().find(|class| class.name() == word) {
        return Some(bits(&|action| action.class() == *class));
    }
    if let Some(action) = Action::from_verb(word) {
        return Some(action.bit());
    }
    if word.starts_with("tool:") {
        report.error(at, format!("`{word}`: tool actions are not supported yet"), "leave the rule out");
        return None;
    }
    let classes = Class::ALL.iter().map(|class| class.name());
    let families = ["file.*", "dir.*", "net.*", "proc.*", "sys.*"];
    let words = Action::ALL.iter().map(|action| action.verb()).chain(classes).chain(families);
    let hint = suggestion(word, words).unwrap_or_else(|| {
        "an action is a verb such as `file.delete`, a family such as `file.*`, a class such as `read_only`, or \"*\""
            .to_owned()
    });
    report.error(at, format!("unknown action `{word}`"), hint);
    None
}

/// The verbs of an action mask.
pub fn verbs(actions: u32) -> impl Iterator<Item = Action> {
    Action::ALL.iter().copied().filter(move |action| actions & action.bit() != 0)
}
