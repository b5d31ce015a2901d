//! How sensitive things are: lists of places and of addresses by level, and what rules ask of it.

use sensor_common::action::Action;
use sensor_common::table::LEVELS;

use super::address::{Destination, Host};
use super::contents;
use super::language::SetId;
use super::problem::Report;
use super::read::Reading;
use super::read_object::{destinations, sets};
use super::read_rule::{has_address, may_have_place};
use super::words::unknown_key;
use super::yaml::{Entry, Kind, Node};
use crate::near::suggestion;

/// Lowest first; a level's number is its position.
pub const NAMES: [&str; LEVELS] = ["public", "internal", "confidential", "regulated"];

/// What is of one level, unless it is of a higher one as well.
#[derive(Clone, Debug, Default)]
pub struct Level {
    pub paths: Vec<SetId>,
    pub to: Vec<Destination>,
}

/// By number; of the lowest is all that is in no list.
pub type Levels = [Level; LEVELS];

/// Actions whose object has a level.
pub(super) fn has_level(action: Action) -> bool {
    may_have_place(action) || has_address(action)
}

/// `internal, confidential`
pub(super) fn text(levels: u32) -> String {
    let named = NAMES.iter().enumerate().filter(|(level, _)| levels >> level & 1 == 1);
    named.map(|(_, name)| *name).collect::<Vec<_>>().join(" or ")
}

/// Reads the file's `sensitivity:`.
pub(super) fn lists(entry: &Entry, reading: &mut Reading, report: &mut Report) -> Levels {
    let mut levels = Levels::default();
    let Kind::Map(entries) = &entry.value.kind else {
        let text = format!("`sensitivity` must be a map of levels, this is {}", entry.value.describe());
        report.error(entry.value.at, text, "write `sensitivity: { confidential: [\"/srv/payroll/**\"] }`");
        return levels;
    };
    for entry in entries {
        let known = NAMES.iter().position(|name| *name == entry.key);
        match known {
            Some(0) => {
                report.error(entry.at, "what is in no list is public", "remove it: the highest level of a place counts")
            }
            Some(level) => levels[level] = one(&entry.value, reading, report),
            None => unknown_key(entry, &NAMES[1..], false, report),
        }
    }
    levels
}

/// Paths, or `{ path: …, to: … }`.
fn one(node: &Node, reading: &mut Reading, report: &mut Report) -> Level {
    let mut level = Level::default();
    let Kind::Map(entries) = &node.kind else {
        level.paths = places(node, reading, report);
        return level;
    };
    for entry in entries {
        match entry.key.as_str() {
            "path" => level.paths = places(&entry.value, reading, report),
            "to" => level.to = destinations(&entry.value, reading, report).unwrap_or_default(),
            _ => unknown_key(entry, &["path", "to"], false, report),
        }
    }
    if let Some(named) = level.to.iter().find(|to| matches!(to.host, Host::Name(_))) {
        let text = format!("`{}` is a host's name, and levels go by address", named.text);
        report.error(node.at, text, "name its networks");
    }
    level
}

fn places(node: &Node, reading: &mut Reading, report: &mut Report) -> Vec<SetId> {
    let sets = sets(node, "path", reading, report).unwrap_or_default();
    // The error is enough: what was read is never used.
    let _ = contents::only_what_runs(&sets, &reading.lists, report);
    sets
}

/// Reads a rule's condition: a bit for each level that will do.
pub(super) fn condition(entry: &Entry, report: &mut Report) -> Option<u32> {
    let mut levels = 0;
    for node in entry.value.items() {
        let Some(text) = node.text() else {
            told(node, report);
            return None;
        };
        levels |= one_of(text).or_else(|| {
            told(node, report);
            None
        })?;
    }
    if levels == 0 {
        told(&entry.value, report);
        return None;
    }
    Some(levels)
}

fn one_of(text: &str) -> Option<u32> {
    let all = (1_u32 << LEVELS) - 1;
    let level = |name: &str| NAMES.iter().position(|known| *known == name.trim());
    let bits = if let Some(rest) = text.strip_prefix(">=") {
        all << level(rest)?
    } else if let Some(rest) = text.strip_prefix("<=") {
        all >> (LEVELS - 1 - level(rest)?)
    } else if let Some(rest) = text.strip_prefix('>') {
        all << (level(rest)? + 1)
    } else if let Some(rest) = text.strip_prefix('<') {
        (1 << level(rest)?) - 1
    } else {
        1 << level(text)?
    };
    Some(bits & all).filter(|bits| *bits != 0)
}

fn told(node: &Node, report: &mut Report) {
    let text = format!("`sensitivity` cannot be {}", node.describe());
    let given = node.text().unwrap_or_default().trim_start_matches(['<', '>', '=', ' ']);
    let known = suggestion(given, NAMES.into_iter());
    let usual = || format!("write one of {}, a list of them, or \">=confidential\"", NAMES.join(", "));
    report.error(node.at, text, known.unwrap_or_else(usual));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Circumstances, Object, RULE_DEFAULT, RULE_UNKNOWN, Variables, Written, parse};

    #[test]
    fn levels_and_what_is_above_and_below() {
        for (text, bits) in [
            ("public", Some(0b0001)),
            ("regulated", Some(0b1000)),
            (">=confidential", Some(0b1100)),
            (">= public", Some(0b1111)),
            (">confidential", Some(0b1000)),
            ("<internal", Some(0b0001)),
            ("<=internal", Some(0b0011)),
            (">regulated", None),
            ("<public", None),
            ("secret", None),
            ("", None),
        ] {
            assert_eq!(one_of(text), bits, "{text}");
        }
        assert_eq!(super::text(0b1100), "confidential or regulated");
    }

    /// Nobody knows whether it was written, and it is not of the level anyway.
    #[test]
    fn a_known_place_has_its_level_whoever_has_written_it() {
        let text = "version: 1\nsensitivity: { internal: /a/** }\nrules:\n  - { id: A, deny: file.read, path: { written_by_agent: true }, when: { sensitivity: internal } }\n";
        let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
        let how = Circumstances { written: Written::Unknown, ..Circumstances::default() };
        let of = |path: &[u8]| table.judge(&[(Action::FileRead, Object::Path(path))], &how).rule_id;
        assert_eq!(of(b"/b"), RULE_DEFAULT);
        assert_eq!(of(b"/a/b"), RULE_UNKNOWN);
    }

    #[test]
    fn mistakes_are_told() {
        let of = |sensitivity: &str, rule: &str| {
            let text = format!("version: 1\nsensitivity: {sensitivity}\nrules:\n  - {{ id: A, {rule} }}\n");
            parse("t.yaml", &text).map_err(|errors| errors.to_string())
        };
        for (sensitivity, rule, wanted) in [
            ("secret", "deny: file.read", "must be a map of levels"),
            ("{ secret: /a }", "deny: file.read", "unknown key `secret`"),
            ("{ confidental: /a }", "deny: file.read", "did you mean `confidential`?"),
            ("{ public: /a }", "deny: file.read", "what is in no list is public"),
            ("{ internal: a }", "deny: file.read", "it is relative"),
            ("{ internal: { exe: /a } }", "deny: file.read", "unknown key `exe`"),
            ("{ internal: { to: x.example.com } }", "deny: file.read", "is a host's name"),
            ("{ internal: /a }", "deny: file.read, when: { sensitivity: confidental }", "did you mean `confidential`?"),
            ("{ internal: /a }", "deny: file.read, when: { sensitivity: [] }", "write one of public, internal"),
            ("{ internal: /a }", "deny: proc.signal, when: { sensitivity: internal }", "has no place or address"),
        ] {
            let error = of(sensitivity, rule).expect_err(sensitivity);
            assert!(error.contains(wanted), "{sensitivity} {rule}: {error}");
        }
        let policy = of("{ internal: /a }", "deny: file.read, when: { sensitivity: regulated }").unwrap();
        assert!(
            policy.warnings[0].text.contains("nothing is regulated: the rule never holds"),
            "{:?}",
            policy.warnings
        );
        let policy = of("{ internal: /a }", "deny: '*', when: { sensitivity: '<=internal' }").unwrap();
        assert!(policy.warnings.is_empty());
        assert!(Action::ALL.iter().all(|action| has_level(*action) == (policy.rules[0].actions & action.bit() != 0)));
    }
}
