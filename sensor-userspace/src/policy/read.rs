//! From YAML to a `Policy`: the top of the file.

use std::collections::BTreeMap;

use sensor_common::table::{MAX_RULES, MAX_SETS};

use super::language::{Fallback, Policy, hash_of};
use super::pattern::{self, Pattern};
use super::problem::{At, Errors, Report};
use super::words::{TOP_KEYS, suggestion, unknown_key};
use super::yaml::{self, Entry, Kind, Node};
use super::{read_case, read_rule, shadow};

/// Reads a policy. All errors of the file are told, not only the first.
pub fn parse(file_name: &str, text: &str) -> Result<Policy, Errors> {
    let mut report = Report::new(file_name);
    let policy = read(file_name, text, &mut report);
    let warnings = report.finish()?;
    match policy {
        Some(policy) => Ok(Policy { warnings, ..policy }),
        // Not reached: no policy without an error that says why.
        None => Err(Errors(Vec::new())),
    }
}

fn read(file_name: &str, text: &str, report: &mut Report) -> Option<Policy> {
    let root = yaml::read(text, report)?;
    let Kind::Map(entries) = &root.kind else {
        let cause = format!("a policy is a map of keys, this is {}", root.describe());
        report.error(root.at, cause, "begin with `version: 1`");
        return None;
    };
    for entry in entries.iter().filter(|entry| !TOP_KEYS.contains(&entry.key.as_str())) {
        unknown_key(entry, TOP_KEYS, false, report);
    }
    let get = |key: &str| entries.iter().find(|entry| entry.key == key);

    version(get("version"), root.at, report);
    let name = match get("name") {
        Some(entry) => word(entry, report).unwrap_or_default(),
        None => stem(file_name),
    };
    let description = get("description").and_then(|entry| word(entry, report));
    let mode = [("observe", true), ("enforce", false)];
    let observe = choice(get("mode"), &mode, false, report);
    let fallback = [("allow", Fallback::Allow), ("deny", Fallback::Deny)];
    let default = choice(get("default"), &fallback, Fallback::Allow, report);
    let on_unknown = choice(get("on_unknown"), &fallback, Fallback::Deny, report);

    let mut lists = Lists::read(get("lists"), report);
    let mut policy = Policy {
        name,
        description,
        observe,
        default,
        on_unknown,
        hash: hash_of(text),
        file: file_name.to_owned(),
        ..Policy::allow_all()
    };
    rules(get("rules"), root.at, &mut policy, &mut lists, report);
    lists.warn_unused(report);
    if let Some(entry) = get("tests") {
        policy.cases = read_case::cases(entry, &policy, report);
    }
    policy.sets = lists.sets;
    shadow::warn(&policy, report);
    Some(policy)
}

fn version(entry: Option<&Entry>, top: At, report: &mut Report) {
    match entry {
        None => report.error(top, "`version` is missing", "write `version: 1` first"),
        Some(entry) if entry.value.text() == Some("1") => {}
        Some(entry) => {
            let text = format!("version {} is not known to this rgt", entry.value.describe());
            report.error(entry.value.at, text, "this rgt reads `version: 1`");
        }
    }
}

fn rules(
    entry: Option<&Entry>,
    top: At,
    policy: &mut Policy,
    lists: &mut Lists,
    report: &mut Report,
) {
    let Some(entry) = entry else {
        report.error(top, "`rules` is missing", "a policy has at least one rule");
        return;
    };
    let Kind::List(nodes) = &entry.value.kind else {
        let text = format!("`rules` must be a list, this is {}", entry.value.describe());
        report.error(entry.value.at, text, "write each rule as `- id: NAME`");
        return;
    };
    if nodes.is_empty() {
        report.error(entry.value.at, "`rules` is empty", "a policy has at least one rule");
    }
    if let Some(node) = nodes.get(MAX_RULES) {
        let text = format!("{} rules, more than the limit of {MAX_RULES}", nodes.len());
        report.error(node.at, text, "join rules that differ only in their paths or actions");
    }
    let mut ids: BTreeMap<String, usize> = BTreeMap::new();
    for node in nodes {
        let Some(rule) = read_rule::rule(node, policy.observe, lists, report) else { continue };
        report.enter_rule(Some(rule.id.clone()));
        if let Some(line) = ids.get(&rule.id) {
            let text = format!("the id `{}` is taken by the rule in line {line}", rule.id);
            report.error(rule.at, text, "give each rule an id of its own");
        } else {
            ids.insert(rule.id.clone(), rule.at.line);
        }
        report.enter_rule(None);
        policy.rules.push(rule);
    }
}

/// The text of a scalar.
pub(super) fn word(entry: &Entry, report: &mut Report) -> Option<String> {
    if let Some(text) = entry.value.text() {
        return Some(text.to_owned());
    }
    let text =
        format!("`{}` must be a word or a sentence, this is {}", entry.key, entry.value.describe());
    report.error(entry.value.at, text, "write it after the colon");
    None
}

/// One of a few words; `absent` where the key is missing.
pub(super) fn choice<T: Copy>(
    entry: Option<&Entry>,
    words: &[(&str, T)],
    absent: T,
    report: &mut Report,
) -> T {
    let Some(entry) = entry else { return absent };
    let given = entry.value.text();
    if let Some((_, value)) = words.iter().find(|(word, _)| Some(*word) == given) {
        return *value;
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let near = given.and_then(|given| suggestion(given, names.iter().copied()));
    let text = format!("`{}` cannot be {}", entry.key, entry.value.describe());
    report.error(
        entry.value.at,
        text,
        near.unwrap_or_else(|| format!("it is one of: {}", names.join(", "))),
    );
    absent
}

fn stem(file_name: &str) -> String {
    let stem = std::path::Path::new(file_name).file_stem();
    stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_else(|| "unnamed".to_owned())
}

/// The lists of a policy, and the distinct sets that its rules ask for.
pub(super) struct Lists {
    named: Vec<(At, String, Vec<Pattern>, bool)>,
    sets: Vec<Vec<Pattern>>,
    over: bool,
}

impl Lists {
    fn read(entry: Option<&Entry>, report: &mut Report) -> Lists {
        let mut named = Vec::new();
        let entries = match entry.map(|entry| (&entry.value, &entry.value.kind)) {
            None => &[][..],
            Some((_, Kind::Map(entries))) => entries.as_slice(),
            Some((value, _)) => {
                let text = format!(
                    "`lists` must be a map of names to lists, this is {}",
                    value.describe()
                );
                report.error(value.at, text, "write `lists:` and below it `  name: [\"/dir/**\"]`");
                &[]
            }
        };
        for Entry { at, key, value } in entries {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            if !key.chars().all(plain) {
                let text = format!(
                    "the list's name `{key}` has other characters than letters, digits, `_` and `-`"
                );
                report.error(*at, text, "rename it");
            }
            let patterns = match &value.kind {
                Kind::List(items) => {
                    items.iter().filter_map(|item| list_item(key, item, report)).collect()
                }
                _ => {
                    let text =
                        format!("the list `{key}` must be a list, this is {}", value.describe());
                    report.error(value.at, text, "put it in brackets: `[\"/dir/**\"]`");
                    Vec::new()
                }
            };
            if matches!(&value.kind, Kind::List(items) if items.is_empty()) {
                report.error(
                    value.at,
                    format!("the list `{key}` is empty"),
                    "put a path into it, or remove it",
                );
            }
            named.push((*at, key.clone(), patterns, false));
        }
        Lists { named, sets: Vec::new(), over: false }
    }

    /// The set of the list `$name`.
    pub fn named(&mut self, name: &str, at: At, report: &mut Report) -> Option<u64> {
        let Some(list) = self.named.iter_mut().find(|(_, known, ..)| known == name) else {
            let hint = suggestion(name, self.named.iter().map(|(_, known, ..)| known.as_str()))
                .unwrap_or_else(|| "name it under `lists:`".to_owned());
            report.error(at, format!("no list is named `{name}`"), hint);
            return None;
        };
        list.3 = true;
        let patterns = list.2.clone();
        self.set(patterns, at, report)
    }

    /// The bit of the set that holds exactly these places.
    pub fn set(&mut self, mut patterns: Vec<Pattern>, at: At, report: &mut Report) -> Option<u64> {
        patterns.sort_by(|one, other| one.text.cmp(&other.text));
        patterns.dedup_by(|one, other| one.text == other.text);
        let same = |set: &Vec<Pattern>| {
            set.len() == patterns.len()
                && set.iter().zip(&patterns).all(|(one, other)| one.text == other.text)
        };
        if let Some(index) = self.sets.iter().position(same) {
            return Some(1 << index);
        }
        if self.sets.len() == MAX_SETS {
            if !std::mem::replace(&mut self.over, true) {
                let text = format!("more than {MAX_SETS} distinct lists of paths");
                report.error(at, text, "let rules share lists");
            }
            return None;
        }
        self.sets.push(patterns);
        Some(1 << (self.sets.len() - 1))
    }

    fn warn_unused(&self, report: &mut Report) {
        for (at, name, _, used) in &self.named {
            if !used {
                report.warning(
                    *at,
                    format!("no rule uses the list `{name}`"),
                    "remove it, or write a rule with `path: $".to_owned() + name + "`",
                );
            }
        }
    }
}

fn list_item(list: &str, node: &Node, report: &mut Report) -> Option<Pattern> {
    let Some(text) = node.text() else {
        let text = format!("the list `{list}` holds {} where a path was expected", node.describe());
        report.error(node.at, text, "write a path, in quotes if it begins with `*` or `$`");
        return None;
    };
    if text.starts_with('$') && !text.starts_with("${") {
        let text = format!("`{text}`: lists within lists are not supported yet");
        report.error(node.at, text, "name both lists in the rule: `path: [$one, $two]`");
        return None;
    }
    pattern::read(text, node.at, report)
}
