//! Warnings: rules that can never decide, and policies that never deny.

use super::language::{Fallback, ObjectTest, Policy, Rule};
use super::pattern::Pattern;
use super::problem::Report;
use super::words::verbs;
use crate::attempt::Verdict;

pub(super) fn warn(policy: &Policy, report: &mut Report) {
    for (index, rule) in policy.rules.iter().enumerate() {
        let earlier = &policy.rules[..index];
        // Each action may be decided by another of the earlier rules.
        let deciders: Option<Vec<&Rule>> = verbs(rule.actions)
            .map(|action| {
                let decides = |earlier: &&Rule| {
                    !earlier.observe
                        && earlier.actions & action.bit() != 0
                        && wider(policy, earlier, rule)
                };
                earlier.iter().find(decides)
            })
            .collect();
        let Some(mut deciders) = deciders else { continue };
        deciders.sort_by_key(|rule| rule.at);
        deciders.dedup_by_key(|rule| rule.at);
        let names: Vec<String> =
            deciders.iter().map(|rule| format!("`{}` (line {})", rule.id, rule.at.line)).collect();
        if names.is_empty() {
            continue;
        }
        report.enter_rule(Some(rule.id.clone()));
        let text = format!(
            "`{}` never decides: {} stands before it and covers all of it",
            rule.id,
            names.join(", ")
        );
        report.warning(
            rule.at,
            text,
            "the first match wins: move it up, narrow the earlier one, or remove it",
        );
        report.enter_rule(None);
    }
    let only_allows = policy.rules.iter().all(|rule| rule.effect == Verdict::Allow);
    if let (Fallback::Allow, true, Some(first)) =
        (policy.default, only_allows, policy.rules.first())
    {
        let text = "every rule allows, and so does the default: this policy never denies";
        report.warning(first.at, text, "say `default: deny`");
    }
}

/// Whether `earlier` matches every object that `rule` does.
fn wider(policy: &Policy, earlier: &Rule, rule: &Rule) -> bool {
    match (earlier.object, rule.object) {
        (ObjectTest::Any, _) => true,
        (ObjectTest::In(outer), ObjectTest::In(inner)) => contains(policy, outer, inner),
        // Outside of less is more.
        (ObjectTest::NotIn(outer), ObjectTest::NotIn(inner)) => contains(policy, inner, outer),
        _ => false,
    }
}

/// Whether every place of `inner` lies in one of `outer`.
fn contains(policy: &Policy, outer: u64, inner: u64) -> bool {
    let patterns = |mask: u64| {
        let used =
            policy.sets.iter().enumerate().filter(move |(index, _)| mask & (1 << index) != 0);
        used.flat_map(|(_, set)| set)
    };
    patterns(inner).all(|inner: &Pattern| patterns(outer).any(|outer| outer.covers(inner)))
}
