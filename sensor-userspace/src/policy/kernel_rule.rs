//! One rule, as the kernel has it.

use sensor_common::table;

use super::language::{AddressTest, Effect, NumberTest, PathTest, ProgramTest, Rule};
use crate::attempt::Verdict;

/// How sensitive an object is, is known once all sets are; so is then what such a rule asks of its place.
pub(super) fn is_leveled(rule: &Rule) -> bool {
    rule.when.sensitivity != 0
}

pub(super) fn kernel_rule(rule: &Rule, set: u32, programs: u32, limit: u32) -> table::Rule {
    let object = match (&rule.path, &rule.to, rule.number) {
        (PathTest::In(_), ..) if is_leveled(rule) => table::object::IN_SET,
        (_, AddressTest::In(_), _) if is_leveled(rule) => table::object::TO_SET,
        (PathTest::In(_), ..) => table::object::IN,
        (PathTest::NotIn(_), ..) => table::object::NOT_IN,
        (PathTest::Written(true), ..) => table::object::WRITTEN,
        (PathTest::Written(false), ..) => table::object::NOT_WRITTEN,
        (_, AddressTest::In(_), _) => table::object::TO,
        (_, AddressTest::NotIn(_), _) => table::object::NOT_TO,
        (.., NumberTest::In(_)) => table::object::AMONG,
        (.., NumberTest::NotIn(_)) => table::object::NOT_AMONG,
        _ => table::object::ANY,
    };
    let bits = |numbers: &[usize]| numbers.iter().fold(0_u64, |bits, number| bits | 1 << (number & 63));
    let (risk_min, risk_max) = rule.when.risk.unwrap_or((0, u8::MAX));
    let set_labels: Vec<usize> = rule.labels.iter().map(|set| set.label).collect();
    table::Rule {
        actions: rule.actions,
        effect: match rule.effect {
            Effect::Allow => table::effect::ALLOW,
            Effect::Deny => table::effect::DENY,
            Effect::Challenge => table::effect::CHALLENGE,
            Effect::Watch => table::effect::WATCH,
        },
        observe: rule.observe.into(),
        object,
        otherwise_allow: (rule.otherwise.verdict() == Verdict::Allow).into(),
        set,
        risk_min,
        risk_max,
        errno: rule.errno.unwrap_or(0),
        program: match rule.exe {
            ProgramTest::Any => table::program::ANY,
            ProgramTest::In(_) => table::program::IN,
            ProgramTest::NotIn(_) => table::program::NOT_IN,
        },
        facts: bits(&rule.when.facts),
        labels_any: bits(&rule.when.labels_any) as u32,
        labels_none: bits(&rule.when.labels_none) as u32,
        labels_set: bits(&set_labels) as u32,
        programs,
        limit,
        levels: rule.when.sensitivity,
        numbers: rule.number.named(),
    }
}
