//! What a rule asks of the object: `path:`, `to:`, `unix:`.

use super::address::Destination;
use super::language::{AddressTest, PathTest, SetId};
use super::lists::{self, reference};
use super::problem::Report;
use super::read::{Reading, choice};
use super::words::unknown_key;
use super::yaml::{Entry, Kind, Node};

pub(super) fn path(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<PathTest> {
    let Kind::Map(entries) = &node.kind else {
        return sets(node, "path", reading, report).map(PathTest::In);
    };
    let mut test = None;
    if let [_, other, ..] = entries.as_slice() {
        report.error(other.at, "`path:` asks for more than one thing", "make a rule of each");
        return None;
    }
    for entry in entries {
        match entry.key.as_str() {
            "not" => test = sets(&entry.value, "path", reading, report).map(PathTest::NotIn),
            "written_by_agent" => {
                let truth = [("true", true), ("false", false)];
                test = Some(PathTest::Written(choice(Some(entry), &truth, true, report)));
            }
            _ => unknown_key(entry, &["not", "written_by_agent"], true, report),
        }
    }
    if entries.is_empty() {
        report.error(node.at, "`path` is an empty map", "write `path: { not: [\"/dir/**\"] }`");
    }
    test
}

/// Places of unix sockets, or names of abstract ones.
pub(super) fn unix(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<PathTest> {
    let Kind::Map(entries) = &node.kind else {
        return sets(node, "unix", reading, report).map(PathTest::In);
    };
    let not = only_not(node, entries, "unix: { not: [\"/run/x.sock\"] }", report)?;
    sets(not, "unix", reading, report).map(PathTest::NotIn)
}

/// What a map with the one key `not` holds.
pub(super) fn only_not<'a>(node: &Node, entries: &'a [Entry], example: &str, report: &mut Report) -> Option<&'a Node> {
    for entry in entries.iter().filter(|entry| entry.key != "not") {
        unknown_key(entry, &["not"], true, report);
    }
    let not = entries.iter().find(|entry| entry.key == "not");
    if entries.is_empty() {
        let key = example.split(':').next().unwrap_or_default();
        report.error(node.at, format!("`{key}` is an empty map"), format!("write `{example}`"));
    }
    not.map(|entry| &entry.value)
}

/// The sets that a path, a list, `$list` or a list with both in it stands for.
pub(super) fn sets(node: &Node, key: &str, reading: &mut Reading, report: &mut Report) -> Option<Vec<SetId>> {
    let mut sets = Vec::new();
    let mut own = Vec::new();
    let mut sound = not_empty(node, key, report);
    for item in node.items() {
        let Some(text) = item.text() else {
            let text = format!("{} stands where a path was expected", item.describe());
            report.error(item.at, text, "write a path, `$list`, or `{ not: [\"/dir/**\"] }`");
            sound = None;
            continue;
        };
        let read = match reference(text) {
            Some(name) => reading.lists.places(name, item.at, report).map(|set| sets.push(set)),
            None => {
                let read = reading.lists.patterns(text, item.at, report);
                read.map(|patterns| own.extend(patterns))
            }
        };
        sound = sound.and(read);
    }
    sound?;
    if !own.is_empty() {
        sets.push(reading.lists.set(own));
    }
    sets.sort_unstable();
    sets.dedup();
    let patterns = sets.iter().flat_map(|set| &reading.lists.sets[*set]);
    if let Some(pattern) = patterns.into_iter().find(|pattern| key != "unix" && pattern.is_abstract()) {
        let text = format!("`{}` names an abstract unix socket, and no file is called so", pattern.text);
        report.error(pattern.at, text, "give it to a rule with `unix:`");
        return None;
    }
    Some(sets)
}

pub(super) fn to(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<AddressTest> {
    let Kind::Map(entries) = &node.kind else {
        return destinations(node, reading, report).map(AddressTest::In);
    };
    let not = only_not(node, entries, "to: { not: [10.0.0.0/8] }", report)?;
    destinations(not, reading, report).map(AddressTest::NotIn)
}

pub(super) fn destinations(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<Vec<Destination>> {
    let mut found = Vec::new();
    let mut sound = not_empty(node, "to", report);
    for item in node.items() {
        let Some(text) = item.text() else {
            let text = format!("{} stands where a destination was expected", item.describe());
            report.error(item.at, text, "write `10.0.0.0/8`, `1.2.3.4:443`, or `$list`; quotes around `\"[…]\"`");
            sound = None;
            continue;
        };
        let read = match reference(text) {
            Some(name) => reading.lists.destinations(name, item.at, report),
            None => lists::destination(text, item.at, report).map(|one| vec![one]),
        };
        sound = sound.and(read.map(|read| found.extend(read)));
    }
    sound.map(|()| found)
}

pub(super) fn not_empty(node: &Node, key: &str, report: &mut Report) -> Option<()> {
    if !node.items().is_empty() {
        return Some(());
    }
    let text = match key {
        "path" => "the list of paths is empty",
        "unix" => "the list of sockets is empty",
        "exe" => "the list of programs is empty",
        "signal" => "the list of signals is empty",
        "capability" => "the list of capabilities is empty",
        _ => "the list of destinations is empty",
    };
    report.error(node.at, text, format!("put something into it, or remove `{key}:`"));
    None
}
