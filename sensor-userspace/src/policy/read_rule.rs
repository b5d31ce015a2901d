//! From YAML to a `Rule`.

use std::time::Duration;

use sensor_common::action::Action;

use super::language::{Fallback, ObjectTest, Rule};
use super::pattern;
use super::problem::{At, Report};
use super::read::{Lists, choice, word};
use super::words::{self, RULE_KEYS, unknown_key};
use super::yaml::{Entry, Kind, Node};
use super::{RULE_DEFAULT, RULE_UNKNOWN};
use crate::attempt::{Severity, Verdict};

const EFFECTS: [(&str, Verdict); 3] =
    [("allow", Verdict::Allow), ("deny", Verdict::Deny), ("challenge", Verdict::Challenge)];
const SEVERITIES: [(&str, Severity); 5] = [
    ("info", Severity::Info),
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];
const MAX_ID: usize = 64;
const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// Actions whose object is a place.
pub fn has_place(action: Action) -> bool {
    action.verb().starts_with("file.") || matches!(action, Action::DirList | Action::ProcExec)
}

pub(super) fn rule(
    node: &Node,
    policy_observes: bool,
    lists: &mut Lists,
    report: &mut Report,
) -> Option<Rule> {
    let Kind::Map(entries) = &node.kind else {
        let text = format!("a rule is a map of keys, this is {}", node.describe());
        report.error(node.at, text, "write `- id: NAME`, and its other keys below");
        return None;
    };
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    // Before anything else: every problem of the rule then names it.
    let written = get("id").and_then(|entry| entry.value.text());
    report.enter_rule(written.map(str::to_owned));
    let rule = body(node.at, entries, policy_observes, lists, report);
    report.enter_rule(None);
    rule
}

fn body(
    at: At,
    entries: &[Entry],
    policy_observes: bool,
    lists: &mut Lists,
    report: &mut Report,
) -> Option<Rule> {
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    for entry in entries.iter().filter(|entry| !RULE_KEYS.contains(&entry.key.as_str())) {
        unknown_key(entry, RULE_KEYS, true, report);
    }
    let id = match get("id") {
        Some(entry) => word(entry, report).inspect(|id| check_id(id, entry.value.at, report)),
        None => {
            report.error(at, "the rule has no `id`", "give it one: records name the rule by it");
            None
        }
    };
    let effect = effect(at, entries, report);
    let mut actions = effect.and_then(|(_, entry)| actions(entry, report));
    let object = match get("path") {
        None => Some(ObjectTest::Any),
        Some(entry) => {
            if let (Some(mask), Some((_, effect))) = (&mut actions, effect) {
                narrow(mask, effect, report);
            }
            object(&entry.value, lists, report)
        }
    };
    let observe = mode(get("mode"), policy_observes, report);
    let verdict = effect.map(|(verdict, _)| verdict);
    let usual = if verdict == Some(Verdict::Allow) { Severity::Info } else { Severity::Medium };
    let severity = choice(get("severity"), &SEVERITIES, usual, report);
    for key in ["timeout", "otherwise"] {
        if let (Some(entry), Some(Verdict::Allow | Verdict::Deny)) = (get(key), verdict) {
            report.error(
                entry.at,
                format!("`{key}:` speaks of a challenge only"),
                "remove it, or let the rule `challenge:`",
            );
        }
    }
    let fallback = [("allow", Fallback::Allow), ("deny", Fallback::Deny)];
    let rule = Rule {
        id: id?,
        at,
        description: get("description").and_then(|entry| word(entry, report)),
        actions: actions?,
        effect: verdict?,
        object: object?,
        observe,
        severity,
        tags: get("tags").map(|entry| tags(entry, report)).unwrap_or_default(),
        timeout: get("timeout").and_then(|entry| timeout(entry, report)),
        otherwise: choice(get("otherwise"), &fallback, Fallback::Deny, report),
    };
    Some(rule)
}

fn check_id(id: &str, at: At, report: &mut Report) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if id.len() > MAX_ID || !id.chars().all(plain) {
        let text = format!("the id may have up to {MAX_ID} letters, digits, `_`, `-` and `.`");
        report.error(at, text, "shorten it, or replace the other characters by `_`");
    }
    if [RULE_DEFAULT, RULE_UNKNOWN].contains(&id) || id.starts_with("GUARD_") {
        let text = format!("the id `{id}` belongs to rgt itself");
        report.error(at, text, "choose another: records would confuse the two");
    }
}

fn effect<'a>(at: At, entries: &'a [Entry], report: &mut Report) -> Option<(Verdict, &'a Entry)> {
    let mut found = entries.iter().filter_map(|entry| {
        let (_, verdict) = EFFECTS.iter().find(|(name, _)| *name == entry.key)?;
        Some((*verdict, entry))
    });
    let first = found.next();
    match (&first, found.next()) {
        (Some((_, one)), Some((_, other))) => {
            let text = format!("the rule says both `{}:` and `{}:`", one.key, other.key);
            report.error(other.at, text, "a rule has one effect: make two rules of it");
        }
        // `watch:` has told its own error.
        (None, _) if !entries.iter().any(|entry| entry.key == "watch") => {
            report.error(
                at,
                "the rule has no effect",
                "say `allow:`, `deny:` or `challenge:` and the actions",
            );
        }
        _ => {}
    }
    first
}

fn actions(entry: &Entry, report: &mut Report) -> Option<u32> {
    let mut words = Vec::new();
    match &entry.value.kind {
        Kind::List(items) => words.extend(items),
        _ => words.push(&entry.value),
    }
    if words.is_empty() {
        report.error(
            entry.value.at,
            format!("`{}:` names no action", entry.key),
            "name one, or say \"*\"",
        );
        return None;
    }
    let mut mask = Some(0);
    for node in words {
        let bits = match node.text() {
            Some(word) => words::actions(word, node.at, report),
            None => {
                let text = format!(
                    "`{}:` holds {} where an action was expected",
                    entry.key,
                    node.describe()
                );
                report.error(
                    node.at,
                    text,
                    "write a verb such as `file.delete`, in quotes if it is \"*\"",
                );
                None
            }
        };
        mask = mask.zip(bits).map(|(mask, bits)| mask | bits);
    }
    mask
}

/// With a path the rule speaks only of actions whose object is a place; a verb without one is a mistake.
fn narrow(mask: &mut u32, effect: &Entry, report: &mut Report) {
    let nodes = match &effect.value.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&effect.value),
    };
    let mut told = false;
    for node in nodes {
        let action = node.text().and_then(Action::from_verb);
        if let Some(action) = action.filter(|action| !has_place(*action)) {
            told = true;
            let text = format!("`{}` has no path that `path:` could be tested on", action.verb());
            report.error(node.at, text, "write a rule of its own for it, without `path:`");
        }
    }
    *mask = words::verbs(*mask)
        .filter(|action| has_place(*action))
        .fold(0, |mask, action| mask | action.bit());
    if *mask == 0 && !told {
        let text = "none of the rule's actions has a path that `path:` could be tested on";
        report.error(effect.value.at, text, "remove `path:`, or name a `file.*` action");
    }
}

fn object(node: &Node, lists: &mut Lists, report: &mut Report) -> Option<ObjectTest> {
    let Kind::Map(entries) = &node.kind else {
        return sets(node, lists, report).map(ObjectTest::In);
    };
    let mut test = None;
    for entry in entries {
        match entry.key.as_str() {
            "not" => test = sets(&entry.value, lists, report).map(ObjectTest::NotIn),
            "written_by_agent" => {
                let text = "`written_by_agent:` is not supported yet";
                report.error(entry.at, text, "name the directories the agent can write to");
            }
            _ => unknown_key(entry, &["not", "written_by_agent"], true, report),
        }
    }
    if entries.is_empty() {
        report.error(node.at, "`path` is an empty map", "write `path: { not: [\"/dir/**\"] }`");
    }
    test
}

/// The sets that a path, a list, `$list` or a list with both in it stands for.
fn sets(node: &Node, lists: &mut Lists, report: &mut Report) -> Option<u64> {
    let nodes = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    if nodes.is_empty() {
        report.error(
            node.at,
            "the list of paths is empty",
            "put a path into it, or remove `path:`",
        );
        return None;
    }
    let mut mask = Some(0);
    let mut own = Vec::new();
    for item in nodes {
        match item.text() {
            Some(text) if text.starts_with('$') && !text.starts_with("${") => {
                let set = lists.named(&text[1..], item.at, report);
                mask = mask.zip(set).map(|(mask, set)| mask | set);
            }
            Some(text) => match pattern::read(text, item.at, report) {
                Some(pattern) => own.push(pattern),
                None => mask = None,
            },
            None => {
                let text = format!("{} stands where a path was expected", item.describe());
                report.error(item.at, text, "write a path, `$list`, or `{ not: [\"/dir/**\"] }`");
                mask = None;
            }
        }
    }
    if own.is_empty() {
        return mask;
    }
    mask.and_then(|mask| Some(mask | lists.set(own, node.at, report)?))
}

fn mode(entry: Option<&Entry>, policy_observes: bool, report: &mut Report) -> bool {
    let observe = choice(entry, &[("observe", true), ("enforce", false)], false, report);
    if let Some(entry) =
        entry.filter(|entry| policy_observes && entry.value.text() == Some("enforce"))
    {
        let text =
            "`mode: enforce` of one rule in a policy with `mode: observe` is not supported yet";
        report.error(
            entry.value.at,
            text,
            "set the policy to `mode: enforce` and the other rules to `mode: observe`",
        );
    }
    observe
}

fn tags(entry: &Entry, report: &mut Report) -> Vec<String> {
    let nodes = match &entry.value.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let mut tags = Vec::new();
    for node in nodes {
        match node.text() {
            Some(tag) => tags.push(tag.to_owned()),
            None => report.error(
                node.at,
                format!("a tag is a word, this is {}", node.describe()),
                "write `[attack.T1485]`",
            ),
        }
    }
    tags
}

fn timeout(entry: &Entry, report: &mut Report) -> Option<Duration> {
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
        Some(duration) if !duration.is_zero() && duration <= MAX_TIMEOUT => Some(duration),
        _ => {
            let text = format!("`timeout` cannot be {}", entry.value.describe());
            report.error(
                entry.value.at,
                text,
                "write a number and a unit, `500ms`, `60s`, `5m`, up to `24h`",
            );
            None
        }
    }
}
