//! From YAML to a `Rule`.

use sensor_common::action::Action;

use super::facts::Fact;
use super::language::{AddressTest, Effect, Fallback, NumberTest, PathTest, Rule, When};
use super::limit::Counted;
use super::numbers::Numbered;
use super::problem::{At, Report};
use super::read::{Reading, choice, word};
use super::read_consequence::{errno, expires, labels, mode, risk, tags, timeout};
use super::read_object::{path, to, unix};
use super::read_when::{self, when};
use super::sensitivity::has_level;
use super::words::{self, RULE_KEYS, unknown_key};
use super::yaml::{Entry, Kind, Node};
use super::{RULE_DEFAULT, RULE_UNKNOWN, RULE_UNRESOLVED, contents, read_exe, read_number};
use crate::attempt::Severity;

pub(super) const EFFECTS: [(&str, Effect); 4] =
    [("allow", Effect::Allow), ("deny", Effect::Deny), ("challenge", Effect::Challenge), ("watch", Effect::Watch)];
pub(super) const SEVERITIES: [(&str, Severity); 5] = [
    ("info", Severity::Info),
    ("low", Severity::Low),
    ("medium", Severity::Medium),
    ("high", Severity::High),
    ("critical", Severity::Critical),
];
const MAX_ID: usize = 64;
/// Keys of which a rule has at most one.
pub(super) const OBJECTS: [&str; 5] = ["path", "to", "unix", "signal", "capability"];

/// Actions whose object is a place.
pub fn has_place(action: Action) -> bool {
    action.verb().starts_with("file.") || matches!(action, Action::DirList | Action::ProcExec)
}

/// Actions whose object may be a unix socket that has a name.
pub fn reaches_sockets(action: Action) -> bool {
    matches!(action, Action::NetConnect | Action::NetSend)
}

/// Actions whose object may have a place: its own, or that of a unix socket's file.
pub(super) fn may_have_place(action: Action) -> bool {
    has_place(action) || reaches_sockets(action)
}

/// Actions whose object is an address.
pub fn has_address(action: Action) -> bool {
    matches!(action, Action::NetConnect | Action::NetSend | Action::NetBind)
}

pub(super) fn rule(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<Rule> {
    let Kind::Map(entries) = &node.kind else {
        let text = format!("a rule is a map of keys, this is {}", node.describe());
        report.error(node.at, text, "write `- id: NAME`, and its other keys below");
        return None;
    };
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    // Before anything else: every problem of the rule then names it.
    let written = get("id").and_then(|entry| entry.value.text());
    report.enter_rule(written.map(str::to_owned));
    let rule = body(node.at, entries, reading, report);
    report.enter_rule(None);
    rule
}

fn body(at: At, entries: &[Entry], reading: &mut Reading, report: &mut Report) -> Option<Rule> {
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
    let found = effect(at, entries, report);
    let effect = found.map(|(effect, _)| effect);
    let mut actions = found.and_then(|(_, entry)| actions(entry, report));
    let is_test = |entry: &&Entry| OBJECTS.contains(&entry.key.as_str());
    let tests: Vec<&Entry> = entries.iter().filter(is_test).collect();
    if let [one, other, ..] = tests.as_slice() {
        let (one, two) = (&one.key, &other.key);
        let text = format!("the rule has both `{one}:` and `{two}:`, and no object has both");
        report.error(other.at, text, "make two rules of it");
        actions = None;
    }
    let mut narrowed = |key: &str, fits: fn(Action) -> bool, report: &mut Report| {
        if let (Some(mask), Some((_, effect))) = (&mut actions, found) {
            narrow(mask, key, fits, effect, report);
        }
    };
    let path = match (get("path"), get("unix")) {
        (None, None) => Some(PathTest::Any),
        (Some(entry), _) => {
            narrowed("path", has_place, report);
            path(&entry.value, reading, report)
        }
        (None, Some(entry)) => {
            narrowed("unix", reaches_sockets, report);
            unix(&entry.value, reading, report)
        }
    };
    let to = match get("to") {
        None => Some(AddressTest::Any),
        Some(entry) => {
            narrowed("to", has_address, report);
            to(&entry.value, reading, report)
        }
    };
    let mut number = Some(NumberTest::Any);
    for kind in Numbered::ALL {
        if let Some(entry) = get(kind.key()) {
            narrowed(kind.key(), kind.fits(), report);
            number = read_number::numbers(&entry.value, kind, report);
        }
    }
    let runs = actions.is_some_and(|actions| words::verbs(actions).all(contents::goes_by_contents));
    let path = path.filter(|path| runs || contents::only_what_runs(path.sets(), &reading.lists, report).is_some());
    let exe = read_exe::exe(get("exe"), reading, report);
    let conditions = conditions(entries, reading, report);
    let observe = mode(get("mode"), reading.observe, report);
    if let (Some(entry), Some(Effect::Watch)) = (get("mode").filter(|_| observe), effect) {
        report.error(entry.at, "`watch:` never decides, observed or not", "remove `mode:`");
    }
    let usual = effect.map_or(Severity::Medium, Effect::usual_severity);
    let severity = choice(get("severity"), &SEVERITIES, usual, report);
    for key in ["timeout", "otherwise"] {
        let other = effect.filter(|effect| *effect != Effect::Challenge);
        if let (Some(entry), Some(_)) = (get(key), other) {
            report.error(
                entry.at,
                format!("`{key}:` speaks of a challenge only"),
                "remove it, or let the rule `challenge:`",
            );
        }
    }
    let fallback = [("allow", Fallback::Allow), ("deny", Fallback::Deny)];
    if let (Some(entry), Some(Effect::Deny), false) = (get("label"), effect, observe || reading.observe) {
        let text = "a label is set when the action goes ahead, and this rule refuses it";
        report.warning(entry.at, text, "set it by a `watch:` rule of what goes before");
    }
    let labels = get("label").map(|entry| labels(entry, reading, report)).unwrap_or_default();
    let mut text = |key: &str| get(key).and_then(|entry| word(entry, report));
    let (description, owner, reason) = (text("description"), text("owner"), text("reason"));
    let risk = get("risk").map_or(0, |entry| risk(entry, report));
    let errno = get("errno").and_then(|entry| errno(entry, effect, report));
    let tags = get("tags").map(|entry| tags(entry, report)).unwrap_or_default();
    let timeout = get("timeout").and_then(|entry| timeout(entry, report));
    let otherwise = choice(get("otherwise"), &fallback, Fallback::Deny, report);
    let (when, expires) = conditions?;
    if let (true, Some(mask), Some((_, effect))) = (when.sensitivity != 0, &mut actions, found) {
        narrow(mask, "sensitivity", has_level, effect, report);
    }
    if let (Some(limit), Some(actions)) = (&when.limit, actions) {
        let sends = Action::NetSend.bit();
        if limit.of == Counted::Bytes && actions & !sends != 0 {
            let text = "only of `net.send` it is known how many bytes there are";
            report.error(at, text, "let the rule speak of `net.send` alone, or count `of: attempts`");
        }
    }
    Some(Rule {
        id: id?,
        at,
        description,
        actions: actions?,
        effect: effect?,
        path: path?,
        to: to?,
        number: number?,
        exe: exe?,
        when,
        labels,
        risk,
        errno,
        observe,
        severity,
        tags,
        timeout,
        otherwise,
        owner,
        reason,
        expires,
    })
}

/// `when:`, and what `scope:` and `expires:` add to it.
fn conditions(entries: &[Entry], reading: &mut Reading, report: &mut Report) -> Option<(When, Option<i64>)> {
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);
    let mut sound = Some(());
    let mut conditions = match get("when") {
        None => When::default(),
        Some(entry) => {
            let read = when(entry, reading, report);
            sound = read.as_ref().map(|_| ());
            read.unwrap_or_default()
        }
    };
    if let Some(entry) = get("scope") {
        let fact = read_when::scope(entry, report);
        sound = sound.and(fact.and_then(|fact| read_when::add(fact, entry.at, &mut conditions, reading, report)));
    }
    let end = get("expires").map(|entry| (entry, expires(entry, report)));
    if let Some((entry, end)) = end {
        let fact = end.map(Fact::Before);
        sound = sound.and(fact.and_then(|fact| read_when::add(fact, entry.at, &mut conditions, reading, report)));
    }
    sound.map(|()| (conditions, end.and_then(|(_, end)| end)))
}

fn check_id(id: &str, at: At, report: &mut Report) {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if id.len() > MAX_ID || !id.chars().all(plain) {
        let text = format!("the id may have up to {MAX_ID} letters, digits, `_`, `-` and `.`");
        report.error(at, text, "shorten it, or replace the other characters by `_`");
    }
    if [RULE_DEFAULT, RULE_UNKNOWN, RULE_UNRESOLVED].contains(&id) || id.starts_with("GUARD_") {
        let text = format!("the id `{id}` belongs to rgt itself");
        report.error(at, text, "choose another: records would confuse the two");
    }
}

fn effect<'a>(at: At, entries: &'a [Entry], report: &mut Report) -> Option<(Effect, &'a Entry)> {
    let mut found = entries.iter().filter_map(|entry| {
        let (_, effect) = EFFECTS.iter().find(|(name, _)| *name == entry.key)?;
        Some((*effect, entry))
    });
    let first = found.next();
    match (&first, found.next()) {
        (Some((_, one)), Some((_, other))) => {
            let text = format!("the rule says both `{}:` and `{}:`", one.key, other.key);
            report.error(other.at, text, "a rule has one effect: make two rules of it");
        }
        (None, _) => {
            report.error(
                at,
                "the rule has no effect",
                "say `allow:`, `deny:`, `challenge:` or `watch:` and the actions",
            );
        }
        _ => {}
    }
    first
}

fn actions(entry: &Entry, report: &mut Report) -> Option<u32> {
    let words = entry.value.items();
    if words.is_empty() {
        report.error(entry.value.at, format!("`{}:` names no action", entry.key), "name one, or say \"*\"");
        return None;
    }
    let mut mask = Some(0);
    for node in words {
        let bits = match node.text() {
            Some(word) => words::actions(word, node.at, report),
            None => {
                let text = format!("`{}:` holds {} where an action was expected", entry.key, node.describe());
                report.error(node.at, text, "write a verb such as `file.delete`, in quotes if it is \"*\"");
                None
            }
        };
        mask = mask.zip(bits).map(|(mask, bits)| mask | bits);
    }
    mask
}

/// With a test on its object the rule speaks only of actions that have one; a verb without is a mistake.
fn narrow(mask: &mut u32, key: &str, fits: fn(Action) -> bool, effect: &Entry, report: &mut Report) {
    let (what, example) = match key {
        "path" => ("path", "file.*"),
        "unix" => ("unix socket", "net.connect"),
        "signal" => ("signal", "proc.signal"),
        "capability" => ("capability", "sys.capability"),
        "sensitivity" => ("place or address", "file.read"),
        _ => ("destination", "net.connect"),
    };
    let mut told = false;
    for node in effect.value.items() {
        let action = node.text().and_then(Action::from_verb);
        if let Some(action) = action.filter(|action| !fits(*action)) {
            told = true;
            let text = format!("`{}` has no {what} that `{key}:` could be tested on", action.verb());
            let hint = match (key, action) {
                ("unix", Action::NetBind) => {
                    "binding makes the socket's file: write `file.create` and `path:`".to_owned()
                }
                _ => format!("write a rule of its own for it, without `{key}:`"),
            };
            report.error(node.at, text, hint);
        }
    }
    *mask = words::verbs(*mask).filter(|action| fits(*action)).fold(0, |mask, action| mask | action.bit());
    if *mask == 0 && !told {
        let text = format!("none of the rule's actions has a {what} that `{key}:` could be tested on");
        report.error(effect.value.at, text, format!("remove `{key}:`, or name `{example}`"));
    }
}
