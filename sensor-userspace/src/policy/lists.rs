//! The lists of a policy: paths or destinations under a name, lists within lists, and the sets of
//! places that rules ask for.

use std::collections::{HashMap, HashSet};

use super::address::{self, Destination, Host};
use super::contents::Digest;
use super::glob;
use super::language::SetId;
use super::pattern::{Part, Pattern, Variable};
use super::problem::{At, Report};
use super::yaml::{Entry, Kind, Node};
use crate::near::suggestion;

/// Lists within lists within lists.
const MAX_DEPTH: usize = 16;
/// Paths and destinations that a policy comes to with its braces written out and its lists put in.
const MAX_ITEMS: usize = 262_144;
/// … and their bytes.
const MAX_BYTES: usize = 32 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    Paths,
    Destinations,
}

impl Holds {
    const fn name(self) -> &'static str {
        match self {
            Holds::Paths => "paths",
            Holds::Destinations => "destinations",
        }
    }
}

struct Named {
    at: At,
    name: String,
    items: Vec<(At, String)>,
    used: bool,
    /// Once it has been used.
    paths: Option<Option<SetId>>,
    destinations: Option<Vec<Destination>>,
    told: bool,
}

type SetKey = Vec<(Option<Variable>, Vec<Part>, Option<Digest>)>;

#[derive(Default)]
pub(super) struct Lists {
    named: Vec<Named>,
    by_name: HashMap<String, usize>,
    pub sets: Vec<Vec<Pattern>>,
    by_content: HashMap<SetKey, SetId>,
    items: usize,
    bytes: usize,
    told_deep: bool,
}

/// The list that `$name` speaks of.
pub(super) fn reference(text: &str) -> Option<&str> {
    text.strip_prefix('$').filter(|name| !name.starts_with('{'))
}

impl Lists {
    /// Takes in the `lists:` of a file.
    pub fn add(&mut self, entry: &Entry, report: &mut Report) {
        let Kind::Map(entries) = &entry.value.kind else {
            let text = format!("`lists` must be a map of names to lists, this is {}", entry.value.describe());
            let hint = "write `lists:` and below it `  name: [\"/dir/**\"]`";
            report.error(entry.value.at, text, hint);
            return;
        };
        for Entry { at, key, value } in entries {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if key.is_empty() || !key.chars().all(plain) {
                let text = format!("the list's name `{key}` has other characters than letters, digits, `_` and `-`");
                report.error(*at, text, "rename it");
            }
            if let Some(known) = self.by_name.get(key) {
                let place = report.place(self.named[*known].at, *at);
                let text = format!("a list is named `{key}` already ({place})");
                report.error(*at, text, "rename one of them");
                continue;
            }
            let items = match &value.kind {
                Kind::List(items) => items.iter().filter_map(|item| word(key, item, report)).collect(),
                _ => {
                    let text = format!("the list `{key}` must be a list, this is {}", value.describe());
                    report.error(value.at, text, "put it in brackets: `[\"/dir/**\"]`");
                    Vec::new()
                }
            };
            if matches!(&value.kind, Kind::List(items) if items.is_empty()) {
                let text = format!("the list `{key}` is empty");
                report.error(value.at, text, "put something into it, or remove it");
            }
            self.by_name.insert(key.clone(), self.named.len());
            self.named.push(Named {
                at: *at,
                name: key.clone(),
                items,
                used: false,
                paths: None,
                destinations: None,
                told: false,
            });
        }
    }

    /// The set of places that the list `$name` stands for.
    pub fn places(&mut self, name: &str, at: At, report: &mut Report) -> Option<SetId> {
        let index = self.find(name, at, report)?;
        if let Some(set) = self.named[index].paths {
            return set;
        }
        let items = self.all(index, Holds::Paths, at, report);
        let set = items.and_then(|items| {
            let mut patterns = Vec::new();
            let mut sound = (!items.is_empty()).then_some(());
            for (at, text) in items {
                let read = self.patterns(&text, at, report);
                sound = sound.and(read.map(|read| patterns.extend(read)));
            }
            sound.map(|()| self.set(patterns))
        });
        self.named[index].paths = Some(set);
        set
    }

    /// The patterns of one path as written; counted, so that braces cannot fill the memory.
    pub fn patterns(&mut self, text: &str, at: At, report: &mut Report) -> Option<Vec<Pattern>> {
        if !self.fits() {
            return None;
        }
        let patterns = glob::read(text, at, report)?;
        let bytes = patterns.iter().map(|pattern| pattern.text.len()).sum();
        self.count(patterns.len(), bytes, at, report)?;
        Some(patterns)
    }

    /// The destinations that the list `$name` stands for.
    pub fn destinations(&mut self, name: &str, at: At, report: &mut Report) -> Option<Vec<Destination>> {
        let index = self.find(name, at, report)?;
        if self.named[index].destinations.is_none() {
            let items = self.all(index, Holds::Destinations, at, report);
            let read = |(at, text): &(At, String)| destination(text, *at, report);
            let read = items.and_then(|items| items.iter().map(read).collect());
            self.named[index].destinations = Some(read.unwrap_or_default());
        }
        let found = self.named[index].destinations.as_ref().filter(|found| !found.is_empty())?;
        let (items, bytes) = (found.len(), found.iter().map(|one| one.text.len()).sum());
        // Before a copy is made for each rule that names a long list.
        self.count(items, bytes, at, report)?;
        self.named[index].destinations.clone()
    }

    /// The set that holds exactly these places.
    pub fn set(&mut self, patterns: Vec<Pattern>) -> SetId {
        let mut seen = HashSet::new();
        let mut set = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            if seen.insert((pattern.variable, pattern.parts.clone(), pattern.digest)) {
                set.push(pattern);
            }
        }
        let mut key: SetKey = seen.into_iter().collect();
        key.sort();
        let next = self.sets.len();
        let id = *self.by_content.entry(key).or_insert(next);
        if id == next {
            self.sets.push(set);
        }
        id
    }

    fn fits(&self) -> bool {
        self.items <= MAX_ITEMS && self.bytes <= MAX_BYTES
    }

    /// What a policy comes to is bounded; told once.
    fn count(&mut self, items: usize, bytes: usize, at: At, report: &mut Report) -> Option<()> {
        let before = self.fits();
        self.items = self.items.saturating_add(items);
        self.bytes = self.bytes.saturating_add(bytes);
        if before && !self.fits() {
            let text = format!(
                "with braces and lists written out the policy has more than {MAX_ITEMS} paths and destinations, or {} MiB of them",
                MAX_BYTES >> 20
            );
            let hint = "name directories with `/dir/**`, networks, or fewer alternatives";
            report.error(at, text, hint);
        }
        self.fits().then_some(())
    }

    fn find(&mut self, name: &str, at: At, report: &mut Report) -> Option<usize> {
        let Some(index) = self.by_name.get(name).copied() else {
            // A search among thousands for each of thousands of mistakes would take minutes.
            let near = self.named.iter().take(256).map(|list| list.name.as_str());
            let hint = suggestion(name, near).unwrap_or_else(|| "name it under `lists:`".to_owned());
            report.error(at, format!("no list is named `{name}`"), hint);
            return None;
        };
        self.named[index].used = true;
        Some(index)
    }

    /// The items of a list and of those it names; `None` with the reason told.
    fn all(&mut self, index: usize, wanted: Holds, at: At, report: &mut Report) -> Option<Vec<(At, String)>> {
        if !self.fits() {
            return None;
        }
        let mut items = Vec::new();
        let mut way = vec![index];
        let mut seen = HashSet::from([index]);
        self.gather(&mut way, &mut seen, &mut items, report)?;
        let other = |(_, text): &&(At, String)| kind_of(text).is_some_and(|kind| kind != wanted);
        let Some((item_at, item)) = items.iter().find(other) else { return Some(items) };
        let name = &self.named[index].name;
        let as_wanted = items.iter().any(|(_, text)| kind_of(text) == Some(wanted));
        if as_wanted {
            let text = format!("`{item}`: the list `{name}` holds both paths and destinations");
            report.error(*item_at, text, "make two lists of it");
        } else {
            let found = if wanted == Holds::Paths { Holds::Destinations } else { Holds::Paths };
            let text = format!("the list `{name}` holds {}, not {}", found.name(), wanted.name());
            report.error(at, text, "`path:` and `unix:` ask for paths, `to:` for addresses");
        }
        None
    }

    fn gather(
        &mut self,
        way: &mut Vec<usize>,
        seen: &mut HashSet<usize>,
        items: &mut Vec<(At, String)>,
        report: &mut Report,
    ) -> Option<()> {
        let Some(index) = way.last().copied() else { return Some(()) };
        for position in 0..self.named[index].items.len() {
            let (at, text) = self.named[index].items[position].clone();
            let Some(name) = reference(&text) else {
                items.push((at, text));
                continue;
            };
            let inner = self.find(name, at, report)?;
            if way.contains(&inner) || way.len() == MAX_DEPTH {
                // One cycle is met from each of its lists, and a long chain from many.
                let (told, text) = match way.contains(&inner) {
                    true => (&mut self.named[index].told, format!("`${name}`: the list comes back to itself")),
                    false => (&mut self.told_deep, format!("`${name}`: lists nested more than {MAX_DEPTH} deep")),
                };
                if !std::mem::replace(told, true) {
                    report.error(at, text, "write the paths out in one of the lists");
                }
                return None;
            }
            if seen.insert(inner) {
                way.push(inner);
                self.gather(way, seen, items, report)?;
                way.pop();
            }
        }
        Some(())
    }

    /// Tells of lists that no rule uses; their mistakes are told all the same.
    pub fn finish(&mut self, report: &mut Report) {
        let idle: Vec<usize> = (0..self.named.len()).filter(|index| !self.named[*index].used).collect();
        for index in idle {
            let (at, name) = (self.named[index].at, self.named[index].name.clone());
            let kinds = self.named[index].items.iter().find_map(|(_, text)| kind_of(text));
            match kinds {
                Some(Holds::Destinations) => drop(self.destinations(&name, at, report)),
                _ => drop(self.places(&name, at, report)),
            }
            // What is included is there for others as well.
            if at.file != 0 {
                continue;
            }
            let hint = format!("remove it, or write a rule with `path: ${name}` or `to: ${name}`");
            report.warning(at, format!("no rule uses the list `{name}`"), hint);
        }
    }
}

/// What an item can only be; a name alone may be either.
fn kind_of(text: &str) -> Option<Holds> {
    if text.starts_with(['/', '{', '\\', '@']) || text.starts_with("${") || text.starts_with("**") {
        return Some(Holds::Paths);
    }
    let net = |one: Destination| matches!(one.host, Host::Net { .. });
    let sure = address::read(text, At::TOP).is_ok_and(net) || text.contains(':');
    sure.then_some(Holds::Destinations)
}

/// Reads one destination as written in a policy.
pub(super) fn destination(text: &str, at: At, report: &mut Report) -> Option<Destination> {
    match address::read(text, at) {
        Ok(destination) => Some(destination),
        Err((cause, hint)) => {
            report.error(at, format!("`{text}`: {cause}"), hint);
            None
        }
    }
}

fn word(list: &str, node: &Node, report: &mut Report) -> Option<(At, String)> {
    if let Some(text) = node.text() {
        return Some((node.at, text.to_owned()));
    }
    let text = format!("the list `{list}` holds {} where a path or a destination was expected", node.describe());
    report.error(node.at, text, "write it in quotes if it begins with `*`, `$` or `[`");
    None
}
