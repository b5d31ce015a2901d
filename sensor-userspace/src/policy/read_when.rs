//! From YAML to a rule's conditions.

use super::facts::{Fact, Words};
use super::language::When;
use super::problem::{At, Report};
use super::read::{Reading, words};
use super::read_limit::limit;
use super::sensitivity;
use super::window::Window;
use super::words::{MAX_NAME, WHEN_KEYS, is_name, unknown_key};
use super::yaml::{Entry, Kind, Node};

const MAX_RISK: u8 = 100;

/// Reads `when:`; `None` with the reason told.
pub(super) fn when(entry: &Entry, reading: &mut Reading, report: &mut Report) -> Option<When> {
    let Kind::Map(entries) = &entry.value.kind else {
        let text = format!("`when` must be a map of conditions, this is {}", entry.value.describe());
        report.error(entry.value.at, text, "write `when: { label: secret }`");
        return None;
    };
    if entries.is_empty() {
        report.error(entry.value.at, "`when` asks for nothing", "name a condition, or remove it");
        return None;
    }
    let mut when = When::default();
    let mut sound = Some(());
    for entry in entries {
        let read = match entry.key.as_str() {
            "label" => labels(entry, &mut when, reading, report),
            "risk" => risk(entry, report).map(|range| when.risk = Some(range)),
            "time" => {
                window(entry, report).and_then(|window| add(Fact::Time(window), entry.at, &mut when, reading, report))
            }
            "principal" | "role" | "env" | "task" => some_words(entry, report).and_then(|words| {
                let fact = match entry.key.as_str() {
                    "principal" => Fact::Principal(words),
                    "role" => Fact::Role(words),
                    "env" => Fact::Env(words),
                    _ => Fact::Task(words),
                };
                add(fact, entry.at, &mut when, reading, report)
            }),
            "sensitivity" => sensitivity::condition(entry, report).map(|levels| when.sensitivity = levels),
            "limit" => limit(entry, report).map(|limit| when.limit = Some(limit)),
            "approval" => approval(entry, report)
                .and_then(|words| add(Fact::Approval(words), entry.at, &mut when, reading, report)),
            _ => {
                unknown_key(entry, WHEN_KEYS, true, report);
                None
            }
        };
        sound = sound.and(read);
    }
    sound.map(|()| when)
}

/// One more fact that must hold.
pub(super) fn add(fact: Fact, at: At, when: &mut When, reading: &mut Reading, report: &mut Report) -> Option<()> {
    let id = reading.vocabulary.fact(fact, at, report)?;
    if !when.facts.contains(&id) {
        when.facts.push(id);
    }
    Some(())
}

fn labels(entry: &Entry, when: &mut When, reading: &mut Reading, report: &mut Report) -> Option<()> {
    let Kind::Map(sides) = &entry.value.kind else {
        when.labels_any = asked(entry, reading, report)?;
        return Some(());
    };
    if sides.is_empty() {
        report.error(entry.value.at, "`label` asks for nothing", "write `label: { not: secret }`");
        return None;
    }
    let mut sound = Some(());
    for side in sides {
        match side.key.as_str() {
            "any" | "not" => {
                let found = asked(side, reading, report);
                sound = sound.and(found.as_ref().map(|_| ()));
                let list = if side.key == "any" { &mut when.labels_any } else { &mut when.labels_none };
                *list = found.unwrap_or_default();
            }
            _ => {
                unknown_key(side, &["any", "not"], true, report);
                sound = None;
            }
        }
    }
    let both = when.labels_any.iter().find(|label| when.labels_none.contains(label));
    if both.is_some() {
        let text = "`label` asks for a label and for its absence: the rule never holds";
        report.error(entry.value.at, text, "remove it from one side");
        return None;
    }
    sound
}

fn asked(entry: &Entry, reading: &mut Reading, report: &mut Report) -> Option<Vec<usize>> {
    words(entry, report)?;
    let mut labels = Vec::new();
    for node in entry.value.items() {
        let label = reading.vocabulary.asked(node.text()?, node.at, report)?;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Some(labels)
}

/// Reads a word, a list of words, or `{ not: … }` of either.
fn some_words(entry: &Entry, report: &mut Report) -> Option<Words> {
    let (entry, not) = match &entry.value.kind {
        Kind::Map(sides) => match sides.as_slice() {
            [side] if side.key == "not" => (side, true),
            _ => {
                let text = format!("`{}` may hold `not` and nothing else", entry.key);
                let hint = format!("write `{}: {{ not: [one, other] }}`", entry.key);
                report.error(entry.value.at, text, hint);
                return None;
            }
        },
        _ => (entry, false),
    };
    let mut words = words(entry, report)?;
    // The same words count as the same fact.
    words.sort();
    words.dedup();
    Some(Words { words, not })
}

/// Words as above, each of which `rgt approve` can name.
fn approval(entry: &Entry, report: &mut Report) -> Option<Words> {
    let words = some_words(entry, report)?;
    if words.words.iter().any(|word| !is_name(word)) {
        let text = format!("an approval's name has up to {MAX_NAME} letters, digits, `_`, `-` and `.`");
        report.error(entry.value.at, text, "rename it");
        return None;
    }
    Some(words)
}

/// Whose agents a rule is for.
pub(super) fn scope(entry: &Entry, report: &mut Report) -> Option<Fact> {
    some_words(entry, report).map(Fact::Scope)
}

fn window(entry: &Entry, report: &mut Report) -> Option<Window> {
    let Some(text) = entry.value.text() else {
        let text = format!("`time` cannot be {}", entry.value.describe());
        report.error(entry.value.at, text, "write `Mon-Fri 09:00-17:00 Europe/Berlin`");
        return None;
    };
    Window::read(text)
        .map_err(|(cause, hint)| report.error(entry.value.at, format!("time `{text}`: {cause}"), hint))
        .ok()
}

/// `">=85"`, `"<50"`, `"50-80"`.
fn risk(entry: &Entry, report: &mut Report) -> Option<(u8, u8)> {
    let told = |node: &Node, report: &mut Report| {
        let text = format!("`risk` cannot be {}", node.describe());
        let hint = format!("write \">=85\", \"<50\" or \"50-80\"; risk goes from 0 to {MAX_RISK}");
        report.error(node.at, text, hint);
    };
    let range = entry.value.text().and_then(range);
    if range.is_none() {
        told(&entry.value, report);
    }
    range
}

fn range(text: &str) -> Option<(u8, u8)> {
    let number = |text: &str| {
        let text = text.trim();
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u8>().ok().filter(|risk| *risk <= MAX_RISK))?
    };
    let (low, high) = if let Some(rest) = text.strip_prefix(">=") {
        (number(rest)?, MAX_RISK)
    } else if let Some(rest) = text.strip_prefix("<=") {
        (0, number(rest)?)
    } else if let Some(rest) = text.strip_prefix('>') {
        (number(rest)?.checked_add(1)?, MAX_RISK)
    } else if let Some(rest) = text.strip_prefix('<') {
        (0, number(rest)?.checked_sub(1)?)
    } else {
        let (low, high) = text.split_once('-')?;
        (number(low)?, number(high)?)
    };
    (low <= high).then_some((low, high))
}
