//! From YAML to the cases of `tests:`.

use std::collections::HashSet;

use sensor_common::action::Action;

use super::address::{Host, exact, protocol_number};
use super::contents;
use super::hosts::Hosts;
use super::language::{Case, CaseObject, LabelId, Policy, Who};
use super::numbers::Numbered;
use super::pattern::{Part, Pattern};
use super::problem::{At, Report};
use super::read::{choice, word, words};
use super::read_exe::case_program;
use super::read_rule::{OBJECTS, has_place, reaches_sockets};
use super::window::moment;
use super::words::unknown_key;
use super::yaml::{Entry, Kind, Node};
use super::{RULE_DEFAULT, RULE_UNKNOWN, RULE_UNRESOLVED, glob, read_number};
use crate::attempt::Verdict;
use crate::near::suggestion;

pub(super) const CASE_KEYS: &[&str] = &[
    "name", "action", "path", "path2", "to", "unix", "signal", "capability", "protocol", "unknown", "nameless",
    "written", "exe", "labels", "exceeds", "risk", "agent", "principal", "role", "env", "task", "approval", "at",
    "verdict", "rule",
];
pub(super) const VERDICTS: [(&str, Verdict); 6] = [
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
        report.error(entry.value.at, text, "write each case as `- { action: file.read, path: /x, verdict: allow }`");
        return Vec::new();
    };
    let ids: HashSet<&str> = policy.rules.iter().map(|rule| rule.id.as_str()).collect();
    let cases: Vec<Case> = nodes.iter().filter_map(|node| case(node, policy, &ids, report)).collect();
    let timed = policy.facts.iter().any(|fact| fact.changes());
    if let Some(case) = cases.iter().find(|case| timed && case.time.is_none()) {
        let text = "rules of this policy depend on the time, and the case does not say `at:`";
        report.warning(case.at, text, "write `at: 2026-11-21T10:00:00Z`: it is judged as of now");
    }
    cases
}

fn case(node: &Node, policy: &Policy, ids: &HashSet<&str>, report: &mut Report) -> Option<Case> {
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
    let object = object(entries, &policy.hosts, report)?;
    if let (CaseObject::None | CaseObject::Address { .. } | CaseObject::Host { .. }, Some(action)) =
        (&object, actions.iter().find(|action| has_place(**action)))
    {
        let text = format!("the case has no `path`, and `{}` needs one", action.verb());
        report.error(node.at, text, "write `path: /x`, or `unknown: true` for a place the kernel cannot tell");
    }
    let reached = get("unix").and_then(|_| actions.iter().find(|action| !reaches_sockets(**action)));
    if let Some(action) = reached {
        let text = format!("the case has `unix:`, and `{}` has no such object", action.verb());
        report.error(node.at, text, "ask for `net.connect` or `net.send`");
    }
    numbered(node.at, entries, &actions, report);
    let path2 = match get("path2") {
        Some(entry) => Some(literal(entry, &file, report)?),
        None => None,
    };
    let runs = actions.iter().all(|action| contents::goes_by_contents(*action));
    let pinned = |object: &CaseObject| matches!(object, CaseObject::Path(Pattern { digest: Some(_), .. }));
    let second = path2.as_ref().is_some_and(|pattern: &Pattern| pattern.digest.is_some());
    if pinned(&object) && !runs || second {
        let text = "only what runs goes by what it holds";
        report.error(node.at, text, "leave the digest out, or ask for `proc.exec` or `file.map_exec`");
    }
    let exe = case_program(get("exe"), report)?;
    let Some(verdict) = get("verdict") else {
        report.error(node.at, "the case has no `verdict`", "write `verdict: allow`, `deny` or `challenge`");
        return None;
    };
    let mut text = |key: &str| get(key).and_then(|entry| word(entry, report));
    let who = Who {
        agent: text("agent"),
        principal: text("principal"),
        role: text("role"),
        env: text("env"),
        task: text("task"),
        approvals: Vec::new(),
    };
    let name = text("name");
    let approvals = get("approval").map(|entry| approvals(entry, policy, report)).unwrap_or_default();
    let who = Who { approvals, ..who };
    let rule = get("rule").and_then(|entry| word(entry, report).inspect(|rule| known(rule, entry, ids, report)));
    Some(Case {
        at: node.at,
        name,
        actions,
        object,
        path2,
        written: choice(get("written"), &[("true", true), ("false", false)], false, report),
        exe,
        labels: get("labels").map(|entry| labels(entry, policy, report)).unwrap_or_default(),
        exceeds: get("exceeds").map(|entry| exceeds(entry, policy, report)).unwrap_or_default(),
        risk: get("risk").map_or(0, |entry| risk(entry, report)),
        who,
        time: get("at").and_then(|entry| time(entry, report)),
        verdict: choice(Some(verdict), &VERDICTS, Verdict::Deny, report),
        rule,
    })
}

/// Tells where the case has a signal or a capability, and an action has none; and where a capability is left out, for it
/// has no signal 0 that would stand for nothing.
fn numbered(at: At, entries: &[Entry], actions: &[Action], report: &mut Report) {
    for kind in Numbered::ALL {
        let (key, verb) = (kind.key(), kind.action().verb());
        let given = entries.iter().any(|entry| entry.key == key);
        let other = actions.iter().find(|action| **action != kind.action());
        if let (true, Some(action)) = (given, other) {
            let text = format!("the case has `{key}:`, and `{}` has no such object", action.verb());
            report.error(at, text, format!("ask for `{verb}`"));
        }
    }
    let needs = actions.contains(&Action::SysCapability);
    if needs && !entries.iter().any(|entry| entry.key == Numbered::Capability.key()) {
        let text = "the case has no `capability`, and `sys.capability` needs one";
        report.error(at, text, "write `capability: CAP_NET_RAW`");
    }
}

/// `path`, `to`, `unix`, `signal`, `capability`, `unknown` or `nameless`, of which there is at most one.
fn object(entries: &[Entry], hosts: &Hosts, report: &mut Report) -> Option<CaseObject> {
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    let truth = [("true", true), ("false", false)];
    let mut said: Vec<&Entry> = Vec::new();
    for key in OBJECTS {
        said.extend(get(key));
    }
    for key in ["unknown", "nameless"] {
        said.extend(get(key).filter(|entry| choice(Some(*entry), &truth, false, report)));
    }
    if let [one, other, ..] = said.as_slice() {
        let word = |entry: &Entry| match entry.key.as_str() {
            key if OBJECTS.contains(&key) => format!("`{key}:`"),
            key => format!("`{key}: true`"),
        };
        let text = format!("the case says both {} and {}", word(one), word(other));
        report.error(one.at, text, "remove one of them");
        return None;
    }
    if let (Some(entry), None) = (get("protocol"), get("to")) {
        report.error(entry.at, "`protocol:` stands without `to:`", "write `to: 1.2.3.4:53`");
    }
    let Some(entry) = said.first() else { return Some(CaseObject::None) };
    match entry.key.as_str() {
        "path" => literal(entry, &file, report).map(CaseObject::Path),
        "unix" => literal(entry, &|parts| socket(parts) || file(parts), report).map(CaseObject::Path),
        "to" => address(entry, get("protocol"), hosts, report),
        "signal" => read_number::one(&entry.value, Numbered::Signal, report),
        "capability" => read_number::one(&entry.value, Numbered::Capability, report),
        "unknown" => Some(CaseObject::Unknown),
        _ => Some(CaseObject::Nameless),
    }
}

fn address(entry: &Entry, protocol: Option<&Entry>, hosts: &Hosts, report: &mut Report) -> Option<CaseObject> {
    let text = word(entry, report)?;
    let number = |name| (name, protocol_number(name));
    let given = choice(protocol, &[number("tcp"), number("udp")], None, report);
    match exact(&text) {
        Ok((Host::Name(name), port, _)) if hosts.says_none(&name) => {
            let text = format!("`{text}`: port {port} of no address, for `hosts:` gives the name none");
            report.error(entry.value.at, text, "give it one there");
            None
        }
        Ok((host, port, protocol)) => {
            let protocol = given.unwrap_or(protocol);
            Some(match host {
                Host::Net { address, .. } => CaseObject::Address { address, port, protocol },
                Host::Name(name) => CaseObject::Host { name, port, protocol },
            })
        }
        Err(text) => {
            report.error(entry.value.at, text, "a case names one address and one port");
            None
        }
    }
}

fn labels(entry: &Entry, policy: &Policy, report: &mut Report) -> Vec<LabelId> {
    let mut labels = Vec::new();
    for word in words(entry, report).unwrap_or_default() {
        match policy.labels.iter().position(|label| *label == word) {
            Some(label) => labels.push(label),
            None => {
                let hint = suggestion(&word, policy.labels.iter().map(String::as_str))
                    .unwrap_or_else(|| "name a label that a rule sets or asks for".to_owned());
                report.error(entry.value.at, format!("no rule knows the label `{word}`"), hint);
            }
        }
    }
    labels
}

/// Rules whose limits the case's attempt exceeds.
fn exceeds(entry: &Entry, policy: &Policy, report: &mut Report) -> Vec<usize> {
    let mut rules = Vec::new();
    for word in words(entry, report).unwrap_or_default() {
        match policy.limited(&word) {
            Some(rule) => rules.push(rule),
            None => {
                let known = policy.rules.iter().filter(|rule| rule.when.limit.is_some());
                let hint = suggestion(&word, known.map(|rule| rule.id.as_str()))
                    .unwrap_or_else(|| "name a rule that has a `limit`".to_owned());
                report.error(entry.value.at, format!("no rule with a limit is called `{word}`"), hint);
            }
        }
    }
    rules
}

/// What is approved for the case's agent.
fn approvals(entry: &Entry, policy: &Policy, report: &mut Report) -> Vec<String> {
    let given = words(entry, report).unwrap_or_default();
    let asked = policy.approvals();
    for word in given.iter().filter(|word| !asked.contains(&word.as_str())) {
        let hint = suggestion(word, asked.iter().copied())
            .unwrap_or_else(|| "name an approval that a rule asks for".to_owned());
        report.error(entry.value.at, format!("no rule asks for the approval `{word}`"), hint);
    }
    given
}

fn risk(entry: &Entry, report: &mut Report) -> u8 {
    let risk = entry.value.text().and_then(|text| text.parse().ok()).filter(|risk| *risk <= 100);
    risk.unwrap_or_else(|| {
        let text = format!("the case's `risk` cannot be {}", entry.value.describe());
        report.error(entry.value.at, text, "write a number from 0 to 100");
        0
    })
}

fn time(entry: &Entry, report: &mut Report) -> Option<i64> {
    let time = entry.value.text().and_then(moment);
    if time.is_none() {
        let text = format!("the case's `at` cannot be {}", entry.value.describe());
        report.error(entry.value.at, text, "write `2026-11-21T10:00:00Z`");
    }
    time
}

/// Single verbs: an attempt means certain actions, not a family of them.
fn actions(entry: &Entry, report: &mut Report) -> Option<Vec<Action>> {
    let action = |node: &Node| {
        let action = node.text().and_then(Action::from_verb);
        if action.is_none() {
            let verbs = Action::ALL.iter().map(|action| action.verb());
            let near = node.text().and_then(|text| suggestion(text, verbs));
            let text = format!("the case's `action` cannot be {}", node.describe());
            report.error(node.at, text, near.unwrap_or_else(|| "write a verb such as `file.delete`".to_owned()));
        }
        action
    };
    entry.value.items().iter().map(action).collect()
}

pub(super) fn file(parts: &[Part]) -> bool {
    parts.iter().all(|part| matches!(part, Part::Name(_)))
}

/// An abstract one.
fn socket(parts: &[Part]) -> bool {
    matches!(parts, [Part::Abstract, Part::Name(_)])
}

/// A path of a case stands for itself, so wildcards mean nothing in it.
pub(super) fn literal(entry: &Entry, is_one: &dyn Fn(&[Part]) -> bool, report: &mut Report) -> Option<Pattern> {
    let Some(text) = entry.value.text() else {
        let text = format!("`{}` must be a path, this is {}", entry.key, entry.value.describe());
        report.error(entry.value.at, text, "write one path: `/dir/file`");
        return None;
    };
    let mut patterns = glob::read(text, entry.value.at, report)?;
    match patterns.pop() {
        Some(pattern) if patterns.is_empty() && is_one(&pattern.parts) => Some(pattern),
        _ => {
            report.error(
                entry.value.at,
                format!("path `{text}`: a case names one file"),
                "write a file below it, or `\\` before a character that is no wildcard",
            );
            None
        }
    }
}

fn known(rule: &str, entry: &Entry, ids: &HashSet<&str>, report: &mut Report) {
    if ids.contains(rule) || [RULE_DEFAULT, RULE_UNKNOWN].contains(&rule) {
        return;
    }
    if rule == RULE_UNRESOLVED {
        let text = format!("the case names `{rule}`, and the policy has no `unresolved:` that could decide");
        report.error(entry.value.at, text, "write `unresolved: deny` at the top");
        return;
    }
    let near = ids.iter().copied().take(256).chain([RULE_DEFAULT, RULE_UNKNOWN]);
    let hint = suggestion(rule, near).unwrap_or_else(|| "name a rule of this file, or `RULE_DEFAULT`".to_owned());
    let text = format!("the case names the rule `{rule}`, which is not in this file");
    report.error(entry.value.at, text, hint);
}
