//! What the commands say, as JSON.

use sensor_common::action::Action;
use sensor_common::table;
use serde_json::{Value, json};

use super::compiled::Table;
use super::decision::Decision;
use super::limit::limit_text;
use super::problem::Problem;
use super::sensitivity;
use super::words::verbs;
use crate::attempt::Verdict;

/// The word of the language for an effect's number.
pub fn effect_word(effect: u8) -> &'static str {
    match effect {
        table::effect::ALLOW => "allow",
        table::effect::CHALLENGE => "challenge",
        table::effect::WATCH => "watch",
        _ => "deny",
    }
}

impl Problem {
    pub fn to_json(&self) -> Value {
        json!({
            "level": self.level.name(),
            "file": self.file,
            "line": self.at.line,
            "column": self.at.column,
            "rule": self.rule,
            "text": self.text,
            "help": self.hint,
        })
    }
}

impl Decision {
    pub fn to_json(&self) -> Value {
        let would = |(verdict, rule): &(Verdict, String)| json!({ "verdict": verdict.name(), "rule": rule });
        json!({
            "verdict": self.verdict.name(),
            "rule": self.rule_id,
            "action": self.action.map(Action::verb),
            "reason": self.reason,
            "severity": self.severity.name(),
            "unknown": self.unknown,
            "observe": self.observe,
            "would": self.would.as_ref().map(would),
        })
    }
}

impl Table {
    pub fn to_json(&self) -> Value {
        let rules = self.rules.iter().zip(&self.tests).map(|(rule, kernel)| {
            let object = match kernel.object {
                table::object::IN | table::object::IN_SET => "in",
                table::object::NOT_IN => "not_in",
                table::object::TO | table::object::TO_SET => "to",
                table::object::NOT_TO => "not_to",
                table::object::WRITTEN => "written",
                table::object::NOT_WRITTEN => "not_written",
                table::object::AMONG => "among",
                table::object::NOT_AMONG => "not_among",
                _ => "any",
            };
            json!({
                "id": rule.id,
                "description": rule.description,
                "effect": effect_word(kernel.effect),
                "observe": kernel.observe != 0,
                "actions": verbs(kernel.actions).map(Action::verb).collect::<Vec<_>>(),
                "object": object,
                "places": rule.places,
                "exe": match kernel.program {
                    table::program::IN => "in",
                    table::program::NOT_IN => "not_in",
                    _ => "any",
                },
                "programs": rule.programs,
                "sensitivity": (kernel.levels != 0).then(|| sensitivity::text(kernel.levels)),
                "limit": self.limit_of(kernel).map(|(_, limit)| limit_text(limit)),
                "severity": rule.severity.name(),
                "tags": rule.tags,
                "timeout_ms": rule.timeout.map(|timeout| timeout.as_millis() as u64),
                "otherwise": if kernel.otherwise_allow != 0 { "allow" } else { "deny" },
            })
        });
        json!({
            "name": self.name,
            "hash": self.hash,
            "mode": if self.observes() { "observe" } else { "enforce" },
            "default": effect_word(self.kernel.default_effect),
            "on_unknown": effect_word(self.kernel.on_unknown),
            "rules": rules.collect::<Vec<_>>(),
            "states": self.automaton.states.len(),
            "byte_automata": self.automaton.bytes.len(),
            "networks": self.networks.offered.len(),
            "labels": self.labels,
        })
    }
}
