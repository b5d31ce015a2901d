//! From YAML to a `Policy`: the top of its files.

use std::collections::HashMap;
use std::path::Path;

use super::include::{self, File, Files, Open};
use super::language::{Fallback, Policy, hash_of};
use super::lists::Lists;
use super::problem::{At, Errors, Report};
use super::vocabulary::Vocabulary;
use super::words::{INCLUDED_KEYS, TOP_KEYS, unknown_key};
use super::yaml::{Entry, Kind};
use super::{contents, read_case, read_hosts, read_rule, sensitivity, shadow};
use crate::near::suggestion;

/// Rules of one policy.
const MAX_RULES: usize = 16_384;

/// Reads a policy that includes no other file. All errors are told, not only the first.
pub fn parse(file_name: &str, text: &str) -> Result<Policy, Errors> {
    parse_with(file_name, text, &mut |_| Err("only a policy read from a file may include".to_owned()))
}

/// Reads a policy and the files it includes, each by `open`.
pub(super) fn parse_with(file_name: &str, text: &str, open: &mut Open<'_>) -> Result<Policy, Errors> {
    let mut report = Report::over(vec![file_name.to_owned()]);
    let policy = read(file_name, text, open, &mut report);
    let warnings = report.finish()?;
    match policy {
        Some(policy) => Ok(Policy { warnings, ..policy }),
        // Not reached: no policy without an error that says why.
        None => Err(Errors(Vec::new())),
    }
}

/// The texts that a policy includes, each with the name it is included by.
pub type Included = Vec<(String, String)>;

/// Reads a policy and the files it includes; their texts as well, for whoever cannot read the files.
pub fn parse_file(file_name: &str, text: &str) -> Result<(Policy, Included), Errors> {
    let mut included = Vec::new();
    let policy = parse_with(file_name, text, &mut |path| {
        let text = include::read_text(path)?;
        included.push((path.to_string_lossy().into_owned(), text.clone()));
        Ok(text)
    })?;
    Ok((policy, included))
}

/// The same from texts that somebody else has read.
pub fn parse_given(file_name: &str, text: &str, included: &Included) -> Result<Policy, Errors> {
    parse_with(file_name, text, &mut |path| {
        let wanted = path.to_string_lossy();
        let found = included.iter().find(|(name, _)| *name == wanted);
        found.map(|(_, text)| text.clone()).ok_or_else(|| "its text did not come along".to_owned())
    })
}

/// What reading one rule may add to.
pub(super) struct Reading {
    pub observe: bool,
    pub lists: Lists,
    pub vocabulary: Vocabulary,
}

fn read(file_name: &str, text: &str, open: &mut Open<'_>, report: &mut Report) -> Option<Policy> {
    let mut sources = Files::new(open);
    // Some files may be read where others are not: their mistakes are told as well.
    let sound = sources.read(file_name, text, report);
    let Files { files, texts, .. } = sources;
    let main = files.last().filter(|file| file.number == 0)?;
    for file in &files {
        let known = if file.number == 0 { TOP_KEYS } else { INCLUDED_KEYS };
        for entry in file.entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            if TOP_KEYS.contains(&entry.key.as_str()) {
                let text = format!("`{}` belongs to the including file", entry.key);
                report.error(entry.at, text, "remove it here, and say it there");
            } else {
                unknown_key(entry, known, false, report);
            }
        }
        version(get(file, "version"), file.at, report);
    }
    let name = match get(main, "name") {
        Some(entry) => word(entry, report).unwrap_or_default(),
        None => stem(file_name),
    };
    let description = get(main, "description").and_then(|entry| word(entry, report));
    let mode = [("observe", true), ("enforce", false)];
    let observe = choice(get(main, "mode"), &mode, false, report);
    let fallback = [("allow", Fallback::Allow), ("deny", Fallback::Deny)];
    let default = choice(get(main, "default"), &fallback, Fallback::Allow, report);
    let on_unknown = choice(get(main, "on_unknown"), &fallback, Fallback::Deny, report);
    let mut policy = Policy {
        name,
        description,
        observe,
        default,
        on_unknown,
        hash: hash_of(texts.iter().map(String::as_str)),
        files: report.files().to_vec(),
        ..Policy::allow_all()
    };

    let mut lists = Lists::default();
    for entry in files.iter().filter_map(|file| get(file, "lists")) {
        lists.add(entry, report);
    }
    let mut reading = Reading { observe, lists, vocabulary: Vocabulary::default() };
    if let Some(entry) = get(main, "sensitivity") {
        policy.levels = sensitivity::lists(entry, &mut reading, report);
    }
    let mut ids = HashMap::new();
    for entry in files.iter().filter_map(|file| get(file, "rules")) {
        rules(entry, &mut ids, &mut policy, &mut reading, report);
    }
    if files.iter().all(|file| get(file, "rules").is_none()) {
        report.error(main.at, "`rules` is missing", "a policy has at least one rule");
    }
    reading.lists.finish(report);
    if let Some(entry) = get(main, "unresolved") {
        policy.rules.extend(read_hosts::unresolved(entry, &policy, report));
        if policy.rules.len() > MAX_RULES {
            let text = format!("`unresolved` is a rule beside {MAX_RULES} others, which are all that there may be");
            report.error(entry.at, text, "join rules that differ only in their paths or actions");
        }
    }
    (policy.labels, policy.facts) = reading.vocabulary.finish(report);
    policy.sets = reading.lists.sets;
    read_hosts::too_many(&policy, report);
    contents::too_many(&policy, report);
    if let Some(entry) = get(main, "hosts") {
        policy.hosts = read_hosts::hosts(entry, report);
    }
    if let Some(entry) = get(main, "tests") {
        policy.cases = read_case::cases(entry, &policy, report);
    }
    shadow::warn(&policy, report);
    contents::warn(&policy, report);
    sound.map(|()| policy)
}

fn get<'a>(file: &'a File, key: &str) -> Option<&'a Entry> {
    file.entries.iter().find(|entry| entry.key == key)
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
    entry: &Entry,
    ids: &mut HashMap<String, At>,
    policy: &mut Policy,
    reading: &mut Reading,
    report: &mut Report,
) {
    let Kind::List(nodes) = &entry.value.kind else {
        let text = format!("`rules` must be a list, this is {}", entry.value.describe());
        report.error(entry.value.at, text, "write each rule as `- id: NAME`");
        return;
    };
    if nodes.is_empty() {
        report.error(entry.value.at, "`rules` is empty", "a policy has at least one rule");
    }
    for node in nodes {
        let Some(rule) = read_rule::rule(node, reading, report) else { continue };
        report.enter_rule(Some(rule.id.clone()));
        if let Some(first) = ids.get(&rule.id) {
            let place = report.place(*first, rule.at);
            let text = format!("the id `{}` is taken by the rule in {place}", rule.id);
            report.error(rule.at, text, "give each rule an id of its own");
        } else {
            ids.insert(rule.id.clone(), rule.at);
        }
        report.enter_rule(None);
        if policy.rules.len() == MAX_RULES {
            let text = format!("more than the limit of {MAX_RULES} rules");
            report.error(rule.at, text, "join rules that differ only in their paths or actions");
            return;
        }
        policy.rules.push(rule);
    }
}

/// The text of a scalar.
pub(super) fn word(entry: &Entry, report: &mut Report) -> Option<String> {
    if let Some(text) = entry.value.text() {
        return Some(text.to_owned());
    }
    let text = format!("`{}` must be a word or a sentence, this is {}", entry.key, entry.value.describe());
    report.error(entry.value.at, text, "write it after the colon");
    None
}

/// The words of a list, or the one word in its place.
pub(super) fn words(entry: &Entry, report: &mut Report) -> Option<Vec<String>> {
    let nodes = entry.value.items();
    let mut words = Vec::new();
    for node in nodes {
        match node.text() {
            Some(word) => words.push(word.to_owned()),
            None => {
                let text = format!("`{}` holds {} in place of a word", entry.key, node.describe());
                report.error(node.at, text, "write one word, or a list of words in brackets");
                return None;
            }
        }
    }
    if words.is_empty() {
        let text = format!("`{}` is an empty list", entry.key);
        report.error(entry.value.at, text, "name something, or remove it");
        return None;
    }
    Some(words)
}

/// One of a few words; `absent` where the key is missing.
pub(super) fn choice<T: Copy>(entry: Option<&Entry>, words: &[(&str, T)], absent: T, report: &mut Report) -> T {
    let Some(entry) = entry else { return absent };
    let given = entry.value.text();
    if let Some((_, value)) = words.iter().find(|(word, _)| Some(*word) == given) {
        return *value;
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let near = given.and_then(|given| suggestion(given, names.iter().copied()));
    let text = format!("`{}` cannot be {}", entry.key, entry.value.describe());
    report.error(entry.value.at, text, near.unwrap_or_else(|| format!("it is one of: {}", names.join(", "))));
    absent
}

fn stem(file_name: &str) -> String {
    let stem = Path::new(file_name).file_stem();
    stem.map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_else(|| "unnamed".to_owned())
}
