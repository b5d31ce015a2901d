//! From YAML to the cases of `tests:`.

use sensor_common::action::Action;

use super::language::{Case, CaseObject, Policy};
use super::pattern::{self, Pattern};
use super::problem::Report;
use super::read::{choice, word};
use super::read_rule::has_place;
use super::words::{suggestion, unknown_key};
use super::yaml::{Entry, Kind, Node};
use super::{RULE_DEFAULT, RULE_UNKNOWN};
use crate::attempt::Verdict;

const CASE_KEYS: &[&str] = &["name", "action", "path", "path2", "unknown", "verdict", "rule"];
const VERDICTS: [(&str, Verdict); 6] = [
    ("allow", Verdict::Allow),
    ("deny", Verdict::Deny),
    ("challenge", Verdict::Challenge),
    ("ALLOW", Verdict::Allow),
    ("DENY", Verdict::Deny),
    ("CHALLENGE", Verdict::Challenge),
];

pub(super) fn cases(entry: &Entry, policy: &Policy, report: &mut Report) -> Vec<Case> {
    let Kind::List(nodes) = &entry.value.kind else {
        let text = format!("`tests` must be a list, this is {}", entry.value.describe());
        report.error(
            entry.value.at,
            text,
            "write each case as `- { action: file.read, path: /x, verdict: allow }`",
        );
        return Vec::new();
    };
    nodes.iter().filter_map(|node| case(node, policy, report)).collect()
}

fn case(node: &Node, policy: &Policy, report: &mut Report) -> Option<Case> {
    let Kind::Map(entries) = &node.kind else {
        let text = format!("a case is a map of keys, this is {}", node.describe());
        report.error(node.at, text, "write `- { action: file.read, path: /x, verdict: allow }`");
        return None;
    };
    for entry in entries.iter().filter(|entry| !CASE_KEYS.contains(&entry.key.as_str())) {
        unknown_key(entry, CASE_KEYS, true, report);
    }
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    let actions = match get("action") {
        Some(entry) => actions(entry, report)?,
        None => {
            report.error(node.at, "the case has no `action`", "write `action: file.read`");
            return None;
        }
    };
    let unknown = choice(get("unknown"), &[("true", true), ("false", false)], false, report);
    let path = match (get("path"), unknown) {
        (Some(entry), false) => CaseObject::Path(literal(entry, report)?),
        (Some(entry), true) => {
            report.error(
                entry.at,
                "the case says both `path:` and `unknown: true`",
                "remove one of them",
            );
            return None;
        }
        (None, true) => CaseObject::Unknown,
        (None, false) => CaseObject::None,
    };
    if let (CaseObject::None, Some(action)) =
        (&path, actions.iter().find(|action| has_place(**action)))
    {
        let text = format!("the case has no `path`, and `{}` needs one", action.verb());
        report.error(
            node.at,
            text,
            "write `path: /x`, or `unknown: true` for a place the kernel cannot tell",
        );
    }
    let path2 = match get("path2") {
        Some(entry) => Some(literal(entry, report)?),
        None => None,
    };
    let Some(verdict) = get("verdict") else {
        report.error(
            node.at,
            "the case has no `verdict`",
            "write `verdict: allow`, `deny` or `challenge`",
        );
        return None;
    };
    let rule = get("rule")
        .and_then(|entry| word(entry, report).inspect(|rule| known(rule, entry, policy, report)));
    Some(Case {
        at: node.at,
        name: get("name").and_then(|entry| word(entry, report)),
        actions,
        path,
        path2,
        verdict: choice(Some(verdict), &VERDICTS, Verdict::Deny, report),
        rule,
    })
}

/// Single verbs: an attempt means certain actions, not a family of them.
fn actions(entry: &Entry, report: &mut Report) -> Option<Vec<Action>> {
    let nodes = match &entry.value.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.value),
    };
    let action = |node: &Node| {
        let action = node.text().and_then(Action::from_verb);
        if action.is_none() {
            let verbs = Action::ALL.iter().map(|action| action.verb());
            let near = node.text().and_then(|text| suggestion(text, verbs));
            let text = format!("the case's `action` cannot be {}", node.describe());
            report.error(
                node.at,
                text,
                near.unwrap_or_else(|| "write a verb such as `file.delete`".to_owned()),
            );
        }
        action
    };
    nodes.iter().map(action).collect()
}

/// A path of a case stands for itself, so `/**` means nothing in it.
fn literal(entry: &Entry, report: &mut Report) -> Option<Pattern> {
    let Some(text) = entry.value.text() else {
        let text = format!("`{}` must be a path, this is {}", entry.key, entry.value.describe());
        report.error(entry.value.at, text, "write one path: `/dir/file`");
        return None;
    };
    let pattern = pattern::read(text, entry.value.at, report)?;
    if pattern.below {
        report.error(
            entry.value.at,
            format!("path `{text}`: a case names one file"),
            "write a file below it",
        );
        return None;
    }
    Some(pattern)
}

fn known(rule: &str, entry: &Entry, policy: &Policy, report: &mut Report) {
    let ids =
        || policy.rules.iter().map(|rule| rule.id.as_str()).chain([RULE_DEFAULT, RULE_UNKNOWN]);
    if !ids().any(|id| id == rule) {
        let hint = suggestion(rule, ids())
            .unwrap_or_else(|| "name a rule of this file, or `RULE_DEFAULT`".to_owned());
        report.error(
            entry.value.at,
            format!("the case names the rule `{rule}`, which is not in this file"),
            hint,
        );
    }
}
