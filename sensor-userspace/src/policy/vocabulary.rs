//! The labels and the facts of a policy: each once, by number.

use super::facts::Fact;
use super::language::{FactId, LabelId};
use super::problem::{At, Report};
use super::words::{MAX_NAME, is_name};
use crate::near::suggestion;

/// The kernel keeps an agent's labels in one word of 32 bits …
const MAX_LABELS: usize = 32;
/// … and its facts in one of 64.
const MAX_FACTS: usize = 64;

/// Where a label stands first, and in which rule.
type Place = (At, Option<String>);

struct Label {
    name: String,
    set: Option<Place>,
    asked: Option<Place>,
}

#[derive(Default)]
pub(super) struct Vocabulary {
    labels: Vec<Label>,
    facts: Vec<Fact>,
    labels_over: bool,
    facts_over: bool,
}

impl Vocabulary {
    /// The label that a rule sets.
    pub fn set(&mut self, name: &str, at: At, report: &mut Report) -> Option<LabelId> {
        let id = self.label(name, at, report)?;
        self.labels[id].set.get_or_insert_with(|| (at, report.rule()));
        Some(id)
    }

    /// The label that a condition asks for.
    pub fn asked(&mut self, name: &str, at: At, report: &mut Report) -> Option<LabelId> {
        let id = self.label(name, at, report)?;
        self.labels[id].asked.get_or_insert_with(|| (at, report.rule()));
        Some(id)
    }

    fn label(&mut self, name: &str, at: At, report: &mut Report) -> Option<LabelId> {
        if !is_name(name) {
            let text = format!("a label has up to {MAX_NAME} letters, digits, `_`, `-` and `.`");
            report.error(at, text, "rename it");
            return None;
        }
        if let Some(id) = self.labels.iter().position(|label| label.name == name) {
            return Some(id);
        }
        if self.labels.len() == MAX_LABELS {
            if !std::mem::replace(&mut self.labels_over, true) {
                let text = format!("more than {MAX_LABELS} labels in one policy");
                report.error(at, text, "let rules share labels");
            }
            return None;
        }
        self.labels.push(Label { name: name.to_owned(), set: None, asked: None });
        Some(self.labels.len() - 1)
    }

    pub fn fact(&mut self, fact: Fact, at: At, report: &mut Report) -> Option<FactId> {
        if let Some(id) = self.facts.iter().position(|known| *known == fact) {
            return Some(id);
        }
        if self.facts.len() == MAX_FACTS {
            if !std::mem::replace(&mut self.facts_over, true) {
                let text = format!(
                    "more than {MAX_FACTS} distinct conditions on who the agent is, on approvals and on the time"
                );
                report.error(at, text, "let rules share them: the same words count once");
            }
            return None;
        }
        self.facts.push(fact);
        Some(self.facts.len() - 1)
    }

    /// Tells of labels that only one side knows.
    pub fn finish(self, report: &mut Report) -> (Vec<String>, Vec<Fact>) {
        let set: Vec<&str> =
            self.labels.iter().filter(|label| label.set.is_some()).map(|label| label.name.as_str()).collect();
        for Label { name, set: set_at, asked } in &self.labels {
            let (at, rule, text, hint) = match (set_at, asked) {
                (None, Some((at, rule))) => {
                    let hint = suggestion(name, set.iter().copied());
                    let text = format!("no rule sets the label `{name}` that is asked for here");
                    let hint = hint.unwrap_or_else(|| format!("write a rule with `label: {name}`"));
                    (at, rule, text, hint)
                }
                (Some((at, rule)), None) => {
                    let text = format!("the label `{name}` is set, and no rule asks for it");
                    let hint = format!("write a rule with `when: {{ label: {name} }}`, or remove it");
                    (at, rule, text, hint)
                }
                _ => continue,
            };
            report.enter_rule(rule.clone());
            report.warning(*at, text, hint);
        }
        report.enter_rule(None);
        (self.labels.into_iter().map(|label| label.name).collect(), self.facts)
    }
}
