//! From YAML to what follows from a rule beside its verdict.

use std::time::Duration;

use super::language::{Effect, SetLabel};
use super::problem::Report;
use super::read::{Reading, choice, words};
use super::window::end_of;
use super::yaml::{Entry, Kind, Node};
use crate::near::suggestion;

const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);
const MAX_LASTING: Duration = Duration::from_secs(365 * 24 * 3600);

/// What a refused call may return; each is one that such a call can return anyway.
pub(super) const ERRNOS: [(&str, u8); 12] = [
    ("EPERM", 1),
    ("ENOENT", 2),
    ("EIO", 5),
    ("EAGAIN", 11),
    ("EACCES", 13),
    ("EBUSY", 16),
    ("EINVAL", 22),
    ("ENOSPC", 28),
    ("EROFS", 30),
    ("ECONNREFUSED", 111),
    ("EHOSTUNREACH", 113),
    ("ENETUNREACH", 101),
];

/// `label: name`, a list, or `{ set: name, for: 30m }`.
pub(super) fn labels(entry: &Entry, reading: &mut Reading, report: &mut Report) -> Vec<SetLabel> {
    if matches!(&entry.value.kind, Kind::List(items) if items.is_empty()) {
        report.error(entry.value.at, "`label` is an empty list", "name a label, or remove it");
    }
    let nodes = entry.value.items();
    let mut labels: Vec<SetLabel> = Vec::new();
    for node in nodes {
        let Some(label) = label(node, reading, report) else { continue };
        if labels.iter().any(|known| known.label == label.label) {
            report.error(node.at, "the label stands here a second time", "keep one of the two");
            continue;
        }
        labels.push(label);
    }
    labels
}

fn label(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<SetLabel> {
    if let Some(name) = node.text() {
        let label = reading.vocabulary.set(name, node.at, report)?;
        return Some(SetLabel { label, lasts: None });
    }
    let entries = match &node.kind {
        Kind::Map(entries) => entries.as_slice(),
        _ => &[],
    };
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    let odd = entries.iter().find(|entry| !["set", "for"].contains(&entry.key.as_str()));
    let (None, Some(set)) = (odd, get("set")) else {
        let at = odd.map_or(node.at, |entry| entry.at);
        let text = "`label` is a name, a list of names, or `{ set: name, for: 30m }`";
        report.error(at, text, "write `label: secret`");
        return None;
    };
    let Some(name) = set.value.text() else {
        let text = format!("`set` must name a label, this is {}", set.value.describe());
        report.error(set.value.at, text, "write `{ set: secret, for: 30m }`");
        return None;
    };
    let label = reading.vocabulary.set(name, set.value.at, report)?;
    let lasts = match get("for") {
        None => None,
        Some(entry) => Some(duration(entry, MAX_LASTING, report)?),
    };
    Some(SetLabel { label, lasts })
}

/// `risk: +20`, `risk: -5`.
pub(super) fn risk(entry: &Entry, report: &mut Report) -> i8 {
    let parsed = entry.value.text().and_then(|text| {
        let digits = text.strip_prefix(['+', '-'])?;
        let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<i8>().ok())?
    });
    match parsed {
        Some(risk) if risk != 0 && (-100..=100).contains(&risk) => risk,
        _ => {
            let text = format!("`risk` cannot be {}", entry.value.describe());
            let hint =
                "write what is added, `+20` or `-5`, up to 100; a condition goes into `when: { risk: \">=85\" }`";
            report.error(entry.value.at, text, hint);
            0
        }
    }
}

pub(super) fn errno(entry: &Entry, effect: Option<Effect>, report: &mut Report) -> Option<u8> {
    if matches!(effect, Some(Effect::Allow | Effect::Watch)) {
        let text = "`errno:` speaks of a refusal only";
        report.error(entry.at, text, "remove it, or let the rule `deny:` or `challenge:`");
        return None;
    }
    let given = entry.value.text().unwrap_or_default();
    if let Some((_, number)) = ERRNOS.iter().find(|(name, _)| *name == given) {
        return Some(*number);
    }
    let names = ERRNOS.map(|(name, _)| name);
    let hint = suggestion(given, names.into_iter()).unwrap_or_else(|| format!("it is one of: {}", names.join(", ")));
    report.error(entry.value.at, format!("`errno` cannot be {}", entry.value.describe()), hint);
    None
}

/// A number and a unit.
pub(super) fn duration(entry: &Entry, longest: Duration, report: &mut Report) -> Option<Duration> {
    let parsed = entry.value.text().and_then(|text| {
        let split = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(split);
        let number: u64 = number.parse().ok()?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        Some(Duration::from_millis(number.checked_mul(millis)?))
    });
    match parsed {
        Some(duration) if !duration.is_zero() && duration <= longest => Some(duration),
        _ => {
            let text = format!("`{}` cannot be {}", entry.key, entry.value.describe());
            let hours = longest.as_secs() / 3600;
            let hint = format!("write a number and a unit, `500ms`, `60s`, `5m`, up to `{hours}h`");
            report.error(entry.value.at, text, hint);
            None
        }
    }
}

pub(super) fn timeout(entry: &Entry, report: &mut Report) -> Option<Duration> {
    duration(entry, MAX_TIMEOUT, report)
}

pub(super) fn tags(entry: &Entry, report: &mut Report) -> Vec<String> {
    words(entry, report).unwrap_or_default()
}

/// The second from which a rule no longer holds; one that is past is told.
pub(super) fn expires(entry: &Entry, report: &mut Report) -> Option<i64> {
    let end = entry.value.text().and_then(end_of);
    let Some(end) = end else {
        let text = format!("`expires` cannot be {}", entry.value.describe());
        let hint = "write a day, `2026-12-31` (its end in UTC), or a moment, `2026-12-31T18:00:00Z`";
        report.error(entry.value.at, text, hint);
        return None;
    };
    if end <= jiff::Timestamp::now().as_second() {
        let text = format!("the rule has expired ({}): it holds no longer", entry.value.describe());
        report.warning(entry.value.at, text, "remove the rule, or set another day");
    }
    Some(end)
}

/// `mode:` of a rule.
pub(super) fn mode(entry: Option<&Entry>, policy_observes: bool, report: &mut Report) -> bool {
    let observe = choice(entry, &[("observe", true), ("enforce", false)], false, report);
    if let Some(entry) = entry.filter(|entry| policy_observes && entry.value.text() == Some("enforce")) {
        let text = "`mode: enforce` of one rule in a policy with `mode: observe` is not supported yet";
        report.error(entry.value.at, text, "set the policy to `mode: enforce` and the other rules to `mode: observe`");
    }
    observe
}
