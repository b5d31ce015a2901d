//! Why, in one short sentence.

use std::net::Ipv6Addr;

use sensor_common::action::Action;
use sensor_common::table;

use super::compiled::{Table, verdict_of};
use super::contents;
use super::decision::Single;
use super::limit::limit_text;
use super::numbers::Numbered;
use super::object::Object;
use super::read_rule::reaches_sockets;
use super::sensitivity;
use crate::attempt::Verdict;

/// More of a path than this tells a reader nothing; the record has it whole.
const MAX_PATH: usize = 200;
/// More places than this are counted, not named.
const MAX_PLACES: usize = 3;

pub(super) fn does(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allows",
        Verdict::Deny => "denies",
        Verdict::Challenge => "challenges",
    }
}

/// `file.delete of /home/x: RULE_FILE_DELETE_BLOCK denies outside /tmp/**`
pub(super) fn sentence(table: &Table, single: &Single, action: Action, object: Object<'_>) -> String {
    let what = what(action, object);
    let does = does(single.verdict);
    if single.unknown {
        let asked = single.asked.and_then(|rule| table.rules.get(rule));
        let id = asked.map(|rule| rule.id.as_str());
        let pinned = asked.is_some_and(|rule| rule.programs.iter().any(|text| contents::is_pinned(text)));
        let what_for = match action {
            _ if single.asked_program && pinned => "the program that acts and what it holds",
            _ if single.asked_program => "the program that acts",
            _ if table.is_pinned(object) => "what it holds",
            Action::ProcSignal => "the signal",
            _ => "its place",
        };
        let asks = id.map(|id| format!("{id} asks for {what_for}, ")).unwrap_or_default();
        return format!("{what}: {asks}on_unknown {does}");
    }
    if action.is_named_alone() && !table.names(action) {
        return format!("{what}: no rule names {}, so that nobody asks", action.verb());
    }
    let Some(index) = single.rule else {
        return format!("{what}: no rule matches, the default {does}");
    };
    let (Some(rule), Some(text)) = (table.tests.get(index), table.rules.get(index)) else {
        return format!("{what}: rule number {index}, which policy {} does not have, {does}", table.name);
    };
    let places = places(rule, &text.places);
    let programs = programs(rule, &text.programs).map(|programs| format!(", {programs}")).unwrap_or_default();
    let limit = limit(table, rule).map(|limit| format!(", {limit}")).unwrap_or_default();
    let level = level(rule).map(|level| format!(", {level}")).unwrap_or_default();
    let places = places.unwrap_or_else(|| verdict_word(rule).to_owned());
    format!("{what}: {} {does} {places}{level}{programs}{limit}", text.id)
}

fn verdict_word(rule: &table::Rule) -> &'static str {
    // Without a test on the object the rule's actions are all there is to say.
    if verdict_of(rule.effect) == Verdict::Allow { "it everywhere" } else { "it wherever it is" }
}

/// `outside /tmp/**, /var/tmp/** and 3 more`
fn places(rule: &table::Rule, texts: &[String]) -> Option<String> {
    match rule.object {
        table::object::WRITTEN => return Some("what the agent has written".to_owned()),
        table::object::NOT_WRITTEN => return Some("what the agent has not written".to_owned()),
        table::object::AMONG => return Some(some_of(texts)),
        _ => {}
    }
    let side = match rule.object {
        table::object::IN | table::object::IN_SET => "inside",
        table::object::NOT_IN => "outside",
        table::object::TO | table::object::TO_SET => "to",
        table::object::NOT_TO => "to all but",
        table::object::NOT_AMONG => "all but",
        _ => return None,
    };
    Some(format!("{side} {}", some_of(texts)))
}

/// `where the program is not /usr/bin/git, /bin/sh, /bin/ls and 3 more`
fn programs(rule: &table::Rule, texts: &[String]) -> Option<String> {
    let side = match rule.program {
        table::program::ANY => return None,
        table::program::IN => "where the program is",
        _ => "where the program is not",
    };
    Some(format!("{side} {}", some_of(texts)))
}

/// `if it is confidential or regulated`
fn level(rule: &table::Rule) -> Option<String> {
    (rule.levels != 0).then(|| format!("if it is {}", sensitivity::text(rule.levels)))
}

/// `within 100 attempts per 1h`
fn limit(table: &Table, rule: &table::Rule) -> Option<String> {
    table.limit_of(rule).map(|(_, limit)| limit_text(limit))
}

fn some_of(texts: &[String]) -> String {
    let named: Vec<&str> = texts.iter().take(MAX_PLACES).map(String::as_str).collect();
    let more = match texts.len().saturating_sub(MAX_PLACES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", named.join(", "))
}

impl Table {
    /// The place test of a rule for a reader: `outside /tmp/**`; none where it asks for no place.
    pub fn places_text(&self, rule: usize) -> Option<String> {
        places(self.tests.get(rule)?, &self.rules.get(rule)?.places)
    }

    /// Likewise of the program that acts.
    pub fn programs_text(&self, rule: usize) -> Option<String> {
        programs(self.tests.get(rule)?, &self.rules.get(rule)?.programs)
    }

    /// Likewise of its limit.
    pub fn limit_text(&self, rule: usize) -> Option<String> {
        limit(self, self.tests.get(rule)?)
    }

    /// All that a rule asks of what is done and by which program, for a reader.
    pub fn objects_text(&self, rule: usize) -> String {
        let places = self.places_text(rule).unwrap_or_else(|| "any object".to_owned());
        let rest = [self.tests.get(rule).and_then(level), self.programs_text(rule), self.limit_text(rule)];
        std::iter::once(places).chain(rest.into_iter().flatten()).collect::<Vec<_>>().join(", ")
    }
}

fn what(action: Action, object: Object<'_>) -> String {
    match object {
        Object::None => action.verb().to_owned(),
        Object::Address { address, port, .. } => {
            let address = Ipv6Addr::from(address);
            let address = address
                .to_ipv4_mapped()
                .map_or_else(|| format!("[{address}]:{port}"), |address| format!("{address}:{port}"));
            format!("{} to {address}", action.verb())
        }
        Object::OtherSocket => format!("{} on a socket that is not of IP", action.verb()),
        Object::Abstract(name) => format!("{} to @{}", action.verb(), readable(name)),
        Object::UnknownSocket => {
            format!("{} to a unix socket whose place is unknown", action.verb())
        }
        Object::Path(name) if reaches_sockets(action) => {
            format!("{} to {}", action.verb(), readable(name))
        }
        Object::Number(which) => {
            let name = Numbered::of(action).map(|kind| kind.name(which)).unwrap_or_default();
            format!("{} of {name}", action.verb())
        }
        Object::Unknown if action == Action::ProcSignal => "proc.signal of a signal that is not known yet".to_owned(),
        Object::Unknown => format!("{} of an object whose place is unknown", action.verb()),
        Object::Path(name) | Object::Nameless(name) => {
            format!("{} of {}", action.verb(), readable(name))
        }
    }
}

/// Bytes for a person's eye: no control characters, none invalid, no longer than is useful.
fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
        if text.len() > MAX_PATH {
            break;
        }
    }
    if text.len() > MAX_PATH {
        let end = (0..=MAX_PATH).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push_str("...");
    }
    text
}
