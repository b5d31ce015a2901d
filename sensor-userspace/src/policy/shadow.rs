//! Warnings: rules that can never decide, approvals the wrong way round, and policies that never deny.

use std::cell::Cell;

use sensor_common::action::Action;

use super::address::Destination;
use super::facts::Fact;
use super::language::{AddressTest, Effect, Fallback, NumberTest, PathTest, Policy, ProgramTest, Rule, SetId, When};
use super::pattern::Pattern;
use super::problem::Report;
use super::sensitivity::{self, Level};
use super::words::verbs;

/// Every rule is held against all before it: more rules than this are not looked at …
const MAX_RULES: usize = 512;
/// … nor more pairs of paths or destinations.
const MAX_PAIRS: usize = 2_000_000;

pub(super) fn warn(policy: &Policy, report: &mut Report) {
    let search = Search { policy, pairs: Cell::new(MAX_PAIRS) };
    for (index, rule) in policy.rules.iter().take(MAX_RULES).enumerate() {
        if rule.effect == Effect::Watch {
            continue;
        }
        let earlier = &policy.rules[..index];
        // Each action may be decided by another of the earlier rules.
        let deciders: Option<Vec<&Rule>> = verbs(rule.actions)
            .map(|action| {
                let decides = |earlier: &&Rule| {
                    !earlier.observe
                        && earlier.effect != Effect::Watch
                        && earlier.actions & action.bit() != 0
                        && search.wider(earlier, rule)
                };
                earlier.iter().find(decides)
            })
            .collect();
        let Some(mut deciders) = deciders else { continue };
        deciders.sort_by_key(|rule| rule.at);
        deciders.dedup_by_key(|rule| rule.at);
        let names: Vec<String> =
            deciders.iter().map(|one| format!("`{}` ({})", one.id, report.place(one.at, rule.at))).collect();
        if names.is_empty() {
            continue;
        }
        report.enter_rule(Some(rule.id.clone()));
        let text = format!("`{}` never decides: {} stands before it and covers all of it", rule.id, names.join(", "));
        report.warning(rule.at, text, "the first match wins: move it up, narrow the earlier one, or remove it");
        report.enter_rule(None);
    }
    warn_of_capabilities(policy, report);
    turned_round(policy, report);
    warn_of_levels(policy, report);
    let only_allows = policy.rules.iter().all(|rule| rule.effect == Effect::Allow);
    if let (Fallback::Allow, true, Some(first)) = (policy.default, only_allows, policy.rules.first()) {
        let text = "every rule allows, and so does the default: this policy never denies";
        report.warning(first.at, text, "say `default: deny`");
    }
}

/// One rule that names a capability has the kernel ask about all, and `default: deny` denies what no rule speaks of.
fn warn_of_capabilities(policy: &Policy, report: &mut Report) {
    let speaks = |rule: &&Rule| rule.actions & Action::SysCapability.bit() != 0;
    let mut named = policy.rules.iter().filter(speaks);
    let (Some(first), Fallback::Deny) = (named.next(), policy.default) else { return };
    let decides = |rule: &Rule| !rule.observe && rule.effect != Effect::Watch;
    if std::iter::once(first).chain(named).any(decides) {
        return;
    }
    report.enter_rule(Some(first.id.clone()));
    let text = "`default: deny` denies every capability as soon as a rule names one, and this one only looks on";
    report.warning(first.at, text, "write `allow: sys.capability` behind it, or leave it out");
    report.enter_rule(None);
}

/// Rules that ask for levels of which nothing is.
fn warn_of_levels(policy: &Policy, report: &mut Report) {
    let is_there = |(_, level): &(usize, &Level)| !level.paths.is_empty() || !level.to.is_empty();
    let there = policy.levels.iter().enumerate().filter(is_there).fold(1, |bits, (level, _)| bits | 1 << level);
    for rule in policy.rules.iter().filter(|rule| rule.when.sensitivity != 0 && rule.when.sensitivity & there == 0) {
        report.enter_rule(Some(rule.id.clone()));
        let text = format!("nothing is {}: the rule never holds", sensitivity::text(rule.when.sensitivity));
        report.warning(rule.at, text, "say under `sensitivity:` which places or addresses are");
        report.enter_rule(None);
    }
}

/// Rules that refuse once something is approved, or allow until then.
fn turned_round(policy: &Policy, report: &mut Report) {
    for rule in &policy.rules {
        let refuses = match rule.effect {
            Effect::Allow => false,
            Effect::Deny | Effect::Challenge => true,
            Effect::Watch => continue,
        };
        let facts = rule.when.facts.iter().filter_map(|fact| policy.facts.get(*fact));
        let Some(asked) = facts.filter_map(Fact::approval).find(|words| words.not != refuses) else { continue };
        let names = asked.words.join(", ");
        let (text, hint) = match refuses {
            true => (
                format!("`{}` refuses while this is approved, and not before: {names}", rule.id),
                format!("write `approval: {{ not: [{names}] }}` to refuse until then"),
            ),
            false => (
                format!("`{}` allows until this is approved, and no longer: {names}", rule.id),
                format!("write `approval: [{names}]` to allow from then on"),
            ),
        };
        report.enter_rule(Some(rule.id.clone()));
        report.warning(rule.at, text, hint);
        report.enter_rule(None);
    }
}

struct Search<'a> {
    policy: &'a Policy,
    pairs: Cell<usize>,
}

impl Search<'_> {
    /// Whether `earlier` matches everything that `rule` does.
    fn wider(&self, earlier: &Rule, rule: &Rule) -> bool {
        let paths = match (&earlier.path, &rule.path) {
            (PathTest::Any, _) => true,
            (PathTest::In(outer), PathTest::In(inner)) => self.contains(outer, inner),
            // Outside of less is more.
            (PathTest::NotIn(outer), PathTest::NotIn(inner)) => self.contains(inner, outer),
            (PathTest::Written(outer), PathTest::Written(inner)) => outer == inner,
            _ => false,
        };
        let addresses = || match (&earlier.to, &rule.to) {
            (AddressTest::Any, _) => true,
            (AddressTest::In(outer), AddressTest::In(inner)) => self.holds(outer, inner),
            (AddressTest::NotIn(outer), AddressTest::NotIn(inner)) => self.holds(inner, outer),
            (AddressTest::In(outer), AddressTest::NotIn(_)) => outer.iter().any(Destination::is_everywhere),
            _ => false,
        };
        let programs = || match (&earlier.exe, &rule.exe) {
            (ProgramTest::Any, _) => true,
            (ProgramTest::In(outer), ProgramTest::In(inner)) => self.contains(outer, inner),
            (ProgramTest::NotIn(outer), ProgramTest::NotIn(inner)) => self.contains(inner, outer),
            _ => false,
        };
        let numbers = match (earlier.number, rule.number) {
            (NumberTest::Any, _) => true,
            (NumberTest::In(outer), NumberTest::In(inner)) => inner & !outer == 0,
            (NumberTest::NotIn(outer), NumberTest::NotIn(inner)) => outer & !inner == 0,
            (NumberTest::NotIn(outer), NumberTest::In(inner)) => outer & inner == 0,
            _ => false,
        };
        paths && numbers && holds_whenever(&earlier.when, &rule.when) && addresses() && programs()
    }

    /// Whether every place of `inner` lies in one of `outer`.
    fn contains(&self, outer: &[SetId], inner: &[SetId]) -> bool {
        if inner.iter().all(|set| outer.contains(set)) {
            return true;
        }
        let patterns = |sets: &[SetId]| sets.iter().flat_map(|set| &self.policy.sets[*set]).collect::<Vec<_>>();
        let (outer, inner): (Vec<&Pattern>, Vec<&Pattern>) = (patterns(outer), patterns(inner));
        self.spend(outer.len() * inner.len()) && inner.iter().all(|inner| outer.iter().any(|outer| outer.covers(inner)))
    }

    fn holds(&self, outer: &[Destination], inner: &[Destination]) -> bool {
        self.spend(outer.len() * inner.len()) && inner.iter().all(|inner| outer.iter().any(|outer| outer.covers(inner)))
    }

    fn spend(&self, pairs: usize) -> bool {
        let left = self.pairs.get().checked_sub(pairs);
        left.inspect(|left| self.pairs.set(*left)).is_some()
    }
}

/// Whether `wide` holds at every time at which `narrow` does.
fn holds_whenever(wide: &When, narrow: &When) -> bool {
    let within = |few: &[usize], many: &[usize]| few.iter().all(|one| many.contains(one));
    let any =
        wide.labels_any.is_empty() || !narrow.labels_any.is_empty() && within(&narrow.labels_any, &wide.labels_any);
    let risk = match (wide.risk, narrow.risk) {
        (None, _) => true,
        (Some(wide), Some(narrow)) => wide.0 <= narrow.0 && narrow.1 <= wide.1,
        (Some(_), None) => false,
    };
    // What holds up to some point does not hold whenever.
    wide.limit.is_none()
        && any
        && risk
        && (wide.sensitivity == 0 || narrow.sensitivity != 0 && narrow.sensitivity & !wide.sensitivity == 0)
        && within(&wide.labels_none, &narrow.labels_none)
        && within(&wide.facts, &narrow.facts)
}
