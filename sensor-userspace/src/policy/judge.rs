//! The verdict, by the same table as the kernel's.

use std::ops::Range;

use sensor_common::action::Action;
use sensor_common::guard::Guard;
use sensor_common::table;

use super::circumstances::Circumstances;
use super::compiled::{Table, verdict_of};
use super::decision::{Consequences, Decision, KernelHit, Single, Step, StepResult};
use super::limit::counting;
use super::object::Object;
use super::offered::{asks_in_vain, written};
use super::program::Program;
use super::{RULE_DEFAULT, RULE_UNKNOWN, reason};
use crate::attempt::{Severity, Verdict};

impl Table {
    /// Judges an attempt: each action with the object it applies to; deny over challenge over allow.
    pub fn judge(&self, attempt: &[(Action, Object<'_>)], how: &Circumstances) -> Decision {
        self.trace(attempt, how, &mut |_| {})
    }

    /// The same, telling each rule that was looked at.
    pub fn explain(&self, attempt: &[(Action, Object<'_>)], how: &Circumstances) -> (Decision, Vec<Step>) {
        let mut steps = Vec::new();
        let decision = self.trace(attempt, how, &mut |step| steps.push(step));
        (decision, steps)
    }

    /// A decision of the kernel's, in words.
    pub fn decision_from_kernel(
        &self,
        hit: KernelHit,
        action: Action,
        object: Object<'_>,
        how: &Circumstances,
    ) -> Decision {
        if let Some(guard) = hit.rule.and_then(Guard::of_rule) {
            return self.guarded(guard, action);
        }
        let place_unknown = hit.unknown || object.is_unknown();
        let written = written(object, how);
        let observed = hit.would.map(usize::from).filter(|rule| *rule < self.rules.len());
        let would = observed.map(|index| {
            let rule = &self.tests[index];
            // An observing rule that asks for an unknown place would have left it to `on_unknown`.
            let left = asks_in_vain(rule, place_unknown, object, written)
                || hit.program_unknown && rule.program != table::program::ANY;
            (verdict_of(if left { self.kernel.on_unknown } else { rule.effect }), index)
        });
        // A rule that needs no place decides of an unknown one as well.
        let by_unknown = (hit.unknown || hit.by_program) && hit.rule.is_none();
        let unknown = if object.is_unknown() { object } else { Object::Unknown };
        let asked = match by_unknown {
            true if hit.by_program => {
                let how = Circumstances { program: Program::Unknown, ..*how };
                self.single(action, object, &how, &mut |_| {}).asked
            }
            true => self.single(action, unknown, how, &mut |_| {}).asked,
            false => None,
        };
        let (verdict, rule) = (verdict_of(hit.effect), hit.rule.map(usize::from));
        let watched = hit.watched.iter().map(|rule| usize::from(*rule)).filter(|rule| *rule < self.rules.len());
        let asked_program = hit.by_program;
        let (watched, counted) = (watched.collect(), Vec::new());
        let single = Single { verdict, rule, unknown: by_unknown, asked, asked_program, would, watched, counted };
        self.decision(single, action, object)
    }

    /// A rule of the guard decided.
    pub(super) fn guarded(&self, guard: Guard, action: Action) -> Decision {
        Decision {
            verdict: Verdict::Deny,
            rule: None,
            rule_id: guard.name().to_owned(),
            action: Some(action),
            reason: format!("the guard: no policy lets an agent {}", guard.what()),
            severity: Severity::High,
            would: None,
            unknown: false,
            observe: self.observes(),
            otherwise: Verdict::Deny,
            watched: Vec::new(),
            counted: Vec::new(),
        }
    }

    fn trace(&self, attempt: &[(Action, Object<'_>)], how: &Circumstances, tell: &mut dyn FnMut(Step)) -> Decision {
        let decisions = attempt.iter().map(|(action, object)| {
            let single = self.single(*action, *object, how, tell);
            self.decision(single, *action, *object)
        });
        Decision::strictest(decisions).unwrap_or_else(|| self.decision_on_nothing())
    }

    fn single(&self, action: Action, object: Object<'_>, how: &Circumstances, tell: &mut dyn FnMut(Step)) -> Single {
        let offered = self.offered(action, object, how);
        let unknown_place = object.is_unknown() || offered.unsure;
        let written = written(object, how);
        let acting = self.acting(action, how);
        let level = self.level(&offered, action, object);
        let mut found = Single::default();
        let mut decided = false;
        let candidates = if unknown_place { &self.unknown } else { &self.always };
        // By rule: what the kernel collects in any order, a reader wants in the policy's.
        let mut rules: Vec<usize> =
            candidates[action as usize].iter().map(|candidate| candidate.rule as usize).collect();
        if !unknown_place {
            rules.extend(offered.rules.iter().map(|rule| *rule as usize));
            rules.sort_unstable();
            rules.dedup();
        }
        let mut others = 0..self.tests.len();
        for index in rules {
            self.pass_over(others.start..index, action, tell);
            others.start = index + 1;
            let rule = &self.tests[index];
            let mut step = |result| tell(Step { action, rule: index, result });
            let asks_place = asks_in_vain(rule, unknown_place, object, written);
            let asks = asks_place || acting.asked_in_vain(rule);
            let watches = rule.effect == table::effect::WATCH;
            if rule.actions & action.bit() == 0 {
                step(StepResult::OtherAction);
            } else if !unknown_place && !rule.takes_level(level)
                || !asks_place && !offered.takes(rule, action, object, written)
            {
                step(StepResult::OtherObject);
            } else if !acting.is_spoken_of(rule) {
                step(StepResult::OtherProgram);
            } else if !rule.holds_for(how.labels, how.risk.into(), how.facts) {
                step(StepResult::OtherCircumstances);
            } else if decided && !watches {
                // Only what watches is still looked for.
            } else if watches && asks && self.kernel.on_unknown == table::effect::ALLOW {
                step(StepResult::OtherObject);
            } else if !self.is_on_its_side(
                rule,
                asks && !watches && (asks_place || rule.observe == 0),
                object,
                how,
                &mut found,
            ) {
                step(StepResult::OtherSideOfLimit);
            } else if watches {
                step(StepResult::Watches);
                found.watched.push(index);
            } else if rule.observe != 0 {
                step(StepResult::Observed);
                let effect = if asks { self.kernel.on_unknown } else { rule.effect };
                found.would = found.would.or(Some((verdict_of(effect), index)));
            } else {
                step(match (asks, asks_place) {
                    (false, _) => StepResult::Decides,
                    (true, true) => StepResult::Unknown,
                    (true, false) => StepResult::UnknownProgram,
                });
                decided = true;
                found.asked_program = asks && !asks_place;
                found.unknown = asks;
                found.asked = asks.then_some(index);
                found.rule = (!asks).then_some(index);
                found.verdict = verdict_of(if asks { self.kernel.on_unknown } else { rule.effect });
            }
        }
        if !decided {
            self.pass_over(others, action, tell);
            if unknown_place && self.kernel.unasked & action.bit() != 0 {
                found.unknown = true;
                found.verdict = verdict_of(self.kernel.on_unknown);
                return found;
            }
            let asked = !action.is_named_alone() || self.names(action);
            found.verdict = if asked { verdict_of(self.kernel.default_effect) } else { Verdict::Allow };
        }
        found
    }

    /// Whether the attempt is within the rule's limit, or beyond, as the rule wants; it counts. One that asks in vain asks
    /// no limit.
    fn is_on_its_side(
        &self,
        rule: &table::Rule,
        in_vain: bool,
        object: Object<'_>,
        how: &Circumstances,
        found: &mut Single,
    ) -> bool {
        let Some((index, limit)) = self.limit_of(rule).filter(|_| !in_vain) else { return true };
        let attempt = counting(*limit, object);
        found.counted.push(attempt);
        match how.limits.exceeded(index, &attempt) {
            Some(exceeded) => exceeded == (limit.beyond != 0),
            None => rule.effect != table::effect::ALLOW,
        }
    }

    /// Whether some rule speaks of the action. Of one that only its own verb names nobody asks without.
    pub(super) fn names(&self, action: Action) -> bool {
        self.tests.iter().any(|rule| rule.actions & action.bit() != 0)
    }

    /// Tells of rules that nothing offered.
    fn pass_over(&self, rules: Range<usize>, action: Action, tell: &mut dyn FnMut(Step)) {
        for rule in rules {
            let speaks = self.tests.get(rule).is_some_and(|test| test.actions & action.bit() != 0);
            let result = if speaks { StepResult::OtherObject } else { StepResult::OtherAction };
            tell(Step { action, rule, result });
        }
    }

    fn decision(&self, single: Single, action: Action, object: Object<'_>) -> Decision {
        let rule = single.rule.and_then(|index| Some((self.tests.get(index)?, self.rules.get(index)?)));
        let (rule_id, severity) = match (&rule, single.unknown, single.verdict) {
            (Some((_, rule)), _, _) => (rule.id.clone(), rule.severity),
            (None, true, Verdict::Allow) => (RULE_UNKNOWN.to_owned(), Severity::Low),
            (None, true, _) => (RULE_UNKNOWN.to_owned(), Severity::Medium),
            (None, false, Verdict::Allow) => (RULE_DEFAULT.to_owned(), Severity::Info),
            (None, false, _) => (RULE_DEFAULT.to_owned(), Severity::Medium),
        };
        let holds_anyway = rule.is_some_and(|(rule, _)| rule.otherwise_allow != 0);
        let otherwise = match single.verdict {
            Verdict::Challenge if holds_anyway => Verdict::Allow,
            Verdict::Challenge => Verdict::Deny,
            verdict => verdict,
        };
        Decision {
            verdict: single.verdict,
            rule: rule.and(single.rule),
            rule_id,
            action: Some(action),
            reason: reason::sentence(self, &single, action, object),
            severity,
            would: single.would.map(|(verdict, rule)| (verdict, self.rules[rule].id.clone())),
            unknown: single.unknown,
            observe: self.observes(),
            otherwise,
            watched: single.watched,
            counted: single.counted,
        }
    }

    /// What comes of an attempt's decision: once, whichever of its actions the rules spoke of.
    pub fn consequences(&self, decision: &Decision) -> Consequences {
        let mut consequences = Consequences { counted: decision.counted.clone(), ..Consequences::default() };
        let rules = decision.rule.into_iter().chain(decision.watched.iter().copied());
        for rule in rules.filter(|rule| *rule < self.rules.len()) {
            let (told, test) = (&self.rules[rule], &self.tests[rule]);
            // A refusal that risk has caused does not raise it.
            let caused_by_risk = test.risk_min > 0 || test.risk_max < u8::MAX;
            if test.effect == table::effect::WATCH || test.effect == table::effect::ALLOW || !caused_by_risk {
                consequences.risk += i32::from(told.risk);
            }
            let set = (0..table::MAX_LABELS).filter(|label| test.labels_set & (1 << label) != 0);
            let lasts = |label| told.lasts.iter().find(|(of, _)| *of == label).map(|(_, lasts)| *lasts);
            consequences.labels.extend(set.map(|label| (label, lasts(label))));
        }
        consequences
    }

    /// An attempt that means no action is nobody's to forbid but the default's.
    fn decision_on_nothing(&self) -> Decision {
        let verdict = verdict_of(self.kernel.default_effect);
        Decision {
            verdict,
            rule: None,
            rule_id: RULE_DEFAULT.to_owned(),
            action: None,
            reason: format!("no action of the policy's; the default {}", reason::does(verdict)),
            severity: if verdict == Verdict::Allow { Severity::Info } else { Severity::Medium },
            would: None,
            unknown: false,
            observe: self.observes(),
            otherwise: verdict,
            watched: Vec::new(),
            counted: Vec::new(),
        }
    }
}
