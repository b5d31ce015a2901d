//! The policy as text for a person.

use std::fmt::Write;

use sensor_common::action::Action;

use super::attempts::{Observed, Stat, Thing};
use super::rules::{LeftOut, Path, Rule};
use crate::policy::pattern::{Variable, Variables};

/// Comments begin here where the lines before them are short enough.
const COLUMN: usize = 52;
const WIDTH: usize = 104;
/// Of what no rule can name, so much is shown.
const SHOWN: usize = 5;

pub struct Page<'a> {
    pub name: &'a str,
    pub on_unknown: &'a str,
    pub observed: &'a Observed,
    pub variables: &'a Variables,
    pub rules: &'a [Rule],
    pub left_out: &'a LeftOut,
}

impl Page<'_> {
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.head(&mut out);
        let Page { name, on_unknown, .. } = self;
        line(&mut out, &format!("version: 1\nname: {}\nmode: enforce\ndefault: deny", quoted(name)));
        line(&mut out, &format!("on_unknown: {on_unknown}\nrules:"));
        for rule in self.rules {
            self.rule(rule, &mut out);
        }
        out
    }

    fn head(&self, out: &mut String) {
        let Page { observed, .. } = self;
        let of = |names: &std::collections::BTreeSet<String>, many: &str| match names.first() {
            Some(one) if names.len() == 1 => readable(one.as_bytes()),
            _ => format!("{} {many}", names.len()),
        };
        let (agents, runs) = (of(&observed.agents, "agents"), of(&observed.runs, "runs"));
        comment(
            out,
            "",
            &format!(
                "Suggested by `rgt policy suggest` from {} attempts of {agents} (run {runs}), {} to {} UTC.",
                observed.attempts,
                observed.first.replace('T', " "),
                moment(&observed.last, observed.day())
            ),
        );
        comment(
            out,
            "",
            "It allows what was attempted there and denies the rest; a line with a wildcard allows more than was seen. Every one of these attempts was judged by this policy before it was printed: none is denied.",
        );
        comment(
            out,
            "",
            "Read it before you enforce it, first of all what is marked with `!!`: what an agent did is not yet what it should do.",
        );
        for variable in Variable::ALL {
            if let Some(value) = self.variables.get(variable) {
                let value = readable(value.as_os_str().as_encoded_bytes());
                comment(out, "", &format!("${{{}}} was {value}.", variable.name()));
            }
        }
        if !self.left_out.is_empty() {
            comment(out, "", "Left out, because no rule can name it and it came to nothing anyway; it stays denied:");
            for (action, thing) in self.left_out.iter().take(SHOWN) {
                let what = match thing {
                    Thing::Unknown(written) if written.is_empty() => "an empty or unreadable name".to_owned(),
                    thing => readable(thing.bytes()),
                };
                comment(out, "", &format!("  {} of {what}", action.verb()));
            }
            if let Some(more) = self.left_out.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                comment(out, "", &format!("  and {more} more"));
            }
        }
    }

    fn rule(&self, rule: &Rule, out: &mut String) {
        if rule.marked {
            line(out, "  # !! Look at each of these: should it be allowed?");
        }
        line(out, &format!("  - id: {}", rule.id));
        line(out, &format!("    description: {}", quoted(&rule.description)));
        let verbs = verbs(&rule.actions);
        let verbs = match verbs.as_slice() {
            [one] => one.clone(),
            all => format!("[{}]", all.join(", ")),
        };
        line(out, &format!("    {}: {verbs}", if rule.deny { "deny" } else { "allow" }));
        for note in &rule.notes {
            comment(out, "    ", note);
        }
        let day = self.observed.day();
        if rule.not {
            let places: Vec<String> = rule.paths.iter().map(|path| quoted(&path.line.text)).collect();
            line(out, &format!("    path: {{ not: [{}] }}", places.join(", ")));
        } else if !rule.paths.is_empty() {
            line(out, "    path:");
            let mut told = false;
            for path in &rule.paths {
                if path.in_vain && !told {
                    told = true;
                    line(out, "      # Attempted, and never there or never allowed:");
                }
                item(out, &path.line.text, &remark(rule, path, day));
            }
        }
        if !rule.to.is_empty() {
            line(out, "    to:");
            rule.to.iter().for_each(|to| item(out, &to.text, &times(&to.stat, day)));
        }
    }
}

fn remark(rule: &Rule, path: &Path, day: &str) -> String {
    let mark = if rule.marked && !rule.deny { "!! " } else { "" };
    match path.line.stat.led {
        true => "where a link of the system's leads".to_owned(),
        false => format!("{mark}{}", times(&path.line.stat, day)),
    }
}

/// `12 times, 10:00:01 to 10:02:13, 3 failed`; what was on `day` goes without the date.
pub fn times(stat: &Stat, day: &str) -> String {
    let (first, last) = (moment(&stat.first, day), moment(&stat.last, day));
    let mut text = match stat.count {
        0 => return String::new(),
        1 => format!("once, {first}"),
        count if first == last => format!("{count} times, {first}"),
        count => format!("{count} times, {first} to {last}"),
    };
    match stat.failed {
        0 => {}
        failed if failed == stat.count => text.push_str(", failed"),
        failed => text.push_str(&format!(", {failed} failed")),
    }
    match stat.denied {
        0 => {}
        denied if denied == stat.count => text.push_str(", was denied"),
        denied => text.push_str(&format!(", {denied} denied")),
    }
    text
}

fn moment(time: &str, day: &str) -> String {
    match time.split_once('T') {
        Some((date, clock)) if date == day => clock.to_owned(),
        _ => time.replace('T', " "),
    }
}

fn item(out: &mut String, text: &str, remark: &str) {
    let start = format!("      - {}", quoted(text));
    match remark {
        "" => line(out, &start),
        remark => line(out, &format!("{start:<COLUMN$} # {remark}")),
    }
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// The verbs, a whole family by its name.
fn verbs(actions: &[Action]) -> Vec<String> {
    let file = |action: &Action| action.verb().starts_with("file.");
    let all = Action::ALL.iter().copied().filter(file).all(|action| actions.contains(&action));
    let family = all.then(|| "file.*".to_owned());
    let single = actions.iter().filter(|action| !(all && file(action)));
    family.into_iter().chain(single.map(|action| action.verb().to_owned())).collect()
}

/// As comment lines of a bearable width.
fn comment(out: &mut String, indent: &str, text: &str) {
    let mut row = format!("{indent}#");
    // What is indented stays so.
    row.extend(text.chars().take_while(|c| *c == ' '));
    for word in text.split_whitespace() {
        if row.len() + word.len() > WIDTH && row.len() > indent.len() + 1 {
            line(out, &row);
            row = format!("{indent}#");
        }
        row.push(' ');
        row.push_str(word);
    }
    line(out, &row);
}

/// In double quotes, where YAML leaves nothing to guess.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() => out.push(c),
            c if u32::from(c) > 0xffff => {
                let _ = write!(out, "\\U{:08x}", u32::from(c));
            }
            c => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
        }
    }
    out.push('"');
    out
}

/// For a comment: one line, nothing that moves a cursor.
pub fn readable(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars().take(200) {
            match c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() {
                true => text.push(c),
                false => text.extend(c.escape_unicode()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
        if text.len() > 200 {
            text.push_str("...");
            break;
        }
    }
    text
}
