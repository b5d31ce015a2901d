//! The verdict, by the same table as the kernel's.

use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use sensor_common::action::Action;
use sensor_common::guard::Guard;
use sensor_common::table::{self, Candidate, SET};

use super::automaton::{ABSTRACT, ROOT};
use super::compile::{Table, verdict_of};
use super::place::components;
use super::program::Program;
use super::{RULE_DEFAULT, RULE_UNKNOWN, reason};
use crate::attempt::{Severity, Verdict};

/// What an action applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object<'a> {
    /// The action has no place at all (a connect, a signal).
    None,
    /// An absolute path, lexically normal.
    Path(&'a [u8]),
    /// A thing without a path: `memfd:x`, `pipe:`, `socket:`, `anon:KIND`.
    Nameless(&'a [u8]),
    /// There is a place, or an address, and it cannot be told.
    Unknown,
    /// An internet address; IPv4 as IPv6 has it.
    Address { address: [u8; 16], port: u16, protocol: u8 },
    /// An abstract unix socket's name, without the `@` that it is written with. One with a file is a path.
    Abstract(&'a [u8]),
    /// A unix socket whose place cannot be told.
    UnknownSocket,
    /// A signal, or a capability, as `sensor_common::numbers` has it: its bit plus one. Signal 0 is `None`.
    Number(u8),
    /// A socket of another kind, or without a name: no rule about addresses or unix sockets speaks of it.
    OtherSocket,
}

/// Whether the agent's run has written an object. A thing without a file name counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    #[default]
    No,
    Yes,
    /// No hook saw the object.
    Unknown,
}

/// How the agent stands when it acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// A bit for each of the policy's labels that is set.
    pub labels: u32,
    pub risk: u8,
    /// A bit for each of the policy's facts that holds.
    pub facts: u64,
    /// What it acts on.
    pub written: Written,
    /// What it runs.
    pub program: Program<'a>,
}

impl<'a> Object<'a> {
    /// As a hook resolved it, or as an argument was normalised; `None` is unknown.
    pub fn of(name: Option<&'a [u8]>) -> Object<'a> {
        match name {
            None | Some([]) => Object::Unknown,
            Some([b'@', name @ ..]) => Object::Abstract(name),
            Some(name) if !name.starts_with(b"/") => Object::Nameless(name),
            // A parent's name in a path says that nobody resolved it.
            Some(name) if name.split(|byte| *byte == b'/').any(|part| part == b"..") => {
                Object::Unknown
            }
            Some(name) => Object::Path(name),
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Object::Unknown | Object::UnknownSocket)
    }

    /// It has a place, and so is no address, whether or not the place is known.
    fn has_place(&self) -> bool {
        matches!(self, Object::Path(_) | Object::Abstract(_) | Object::UnknownSocket)
    }
}

/// The verdict on an attempt, and all that a record says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub verdict: Verdict,
    /// Index of the deciding rule; none for `default` and `on_unknown`.
    pub rule: Option<usize>,
    pub rule_id: String,
    /// Which of the attempt's actions it was decided on.
    pub action: Option<Action>,
    /// A short sentence.
    pub reason: String,
    pub severity: Severity,
    /// What the first matching rule in observe mode would have done.
    pub would: Option<(Verdict, String)>,
    /// Decided by `on_unknown`.
    pub unknown: bool,
    /// The whole policy only records: a denial is `would_block`.
    pub observe: bool,
    /// What a challenge comes to where nothing can hold the process.
    pub otherwise: Verdict,
    /// Watching rules that matched.
    pub watched: Vec<usize>,
}

/// What comes of a decision, by its deciding rule and those that watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Labels that are set if the action goes ahead, and how long each lasts; none: for the run.
    pub labels: Vec<(usize, Option<Duration>)>,
    /// What is added to the risk.
    pub risk: i32,
}

/// One action's verdict as the kernel tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelHit {
    /// The deciding rule; none for `default` and `on_unknown`.
    pub rule: Option<u16>,
    /// `sensor_common::table::effect`.
    pub effect: u8,
    /// Decided by `on_unknown`.
    pub unknown: bool,
    /// The first matching rule in observe mode.
    pub would: Option<u16>,
    /// Watching rules that matched.
    pub watched: Vec<u16>,
    /// The acting program could not be told …
    pub program_unknown: bool,
    /// … and `on_unknown` decided for that reason.
    pub by_program: bool,
}

/// How a rule came out, for `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub action: Action,
    pub rule: usize,
    pub result: StepResult,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepResult {
    OtherAction,
    /// The object does not pass the rule's test.
    OtherObject,
    /// Another program acts.
    OtherProgram,
    /// The agent is not as the rule wants it: label, risk, who it is, the time.
    OtherCircumstances,
    /// The object's place is unknown, so `on_unknown` takes the rule's place.
    Unknown,
    /// Likewise the program that acts.
    UnknownProgram,
    Watches,
    Observed,
    Decides,
}

impl StepResult {
    pub const fn name(self) -> &'static str {
        match self {
            StepResult::OtherAction => "other_action",
            StepResult::OtherObject => "other_object",
            StepResult::OtherProgram => "other_program",
            StepResult::OtherCircumstances => "other_circumstances",
            StepResult::Unknown => "unknown_place",
            StepResult::UnknownProgram => "unknown_program",
            StepResult::Watches => "watches",
            StepResult::Observed => "observes",
            StepResult::Decides => "decides",
        }
    }
}

/// One action's verdict, by numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Single {
    pub verdict: Verdict,
    pub rule: Option<usize>,
    pub unknown: bool,
    /// The rule that asked for an unknown place, or for an unknown program.
    pub asked: Option<usize>,
    pub asked_program: bool,
    pub would: Option<(Verdict, usize)>,
    pub watched: Vec<usize>,
}

impl Default for Single {
    fn default() -> Single {
        Single {
            verdict: Verdict::Deny,
            rule: None,
            unknown: false,
            asked: None,
            asked_program: false,
            would: None,
            watched: Vec::new(),
        }
    }
}

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
        let single =
            Single { verdict, rule, unknown: by_unknown, asked, asked_program, would, watched: watched.collect() };
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
            observe: self.kernel.observe != 0,
            otherwise: Verdict::Deny,
            watched: Vec::new(),
        }
    }

    fn trace(
        &self,
        attempt: &[(Action, Object<'_>)],
        how: &Circumstances,
        tell: &mut dyn FnMut(Step),
    ) -> Decision {
        let decisions = attempt.iter().map(|(action, object)| {
            let single = self.single(*action, *object, how, tell);
            self.decision(single, *action, *object)
        });
        Decision::strictest(decisions).unwrap_or_else(|| self.decision_on_nothing())
    }

    fn single(
        &self,
        action: Action,
        object: Object<'_>,
        how: &Circumstances,
        tell: &mut dyn FnMut(Step),
    ) -> Single {
        let offered = self.offered(action, object);
        let unknown_place = object.is_unknown() || offered.too_many;
        let written = written(object, how);
        let acting = self.acting(action, how.program);
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
            if rule.actions & action.bit() == 0 {
                step(StepResult::OtherAction);
            } else if !asks_place && !offered.takes(rule, action, object, written) {
                step(StepResult::OtherObject);
            } else if !acting.is_spoken_of(rule) {
                step(StepResult::OtherProgram);
            } else if !rule.holds_for(how.labels, how.risk.into(), how.facts) {
                step(StepResult::OtherCircumstances);
            } else if rule.effect == table::effect::WATCH {
                if asks {
                    step(StepResult::OtherObject);
                } else {
                    step(StepResult::Watches);
                    found.watched.push(index);
                }
            } else if decided {
                // Only what watches is still looked for.
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
            let asked = !action.is_named_alone() || self.names(action);
            found.verdict = if asked { verdict_of(self.kernel.default_effect) } else { Verdict::Allow };
        }
        found
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

    /// What the automaton, or the networks, offer for this object.
    fn offered(&self, action: Action, object: Object<'_>) -> Offered {
        let mut offered = Offered::default();
        let speaks = |candidate: &Candidate, port: u16, protocol: u8| {
            (candidate.low..=candidate.high).contains(&port)
                && (candidate.protocol == 0 || candidate.protocol == u32::from(protocol))
        };
        match object {
            Object::Path(path) if self.kernel.walks & action.bit() != 0 => {
                let reached = self.automaton.walk(ROOT, components(path));
                offered.too_many = reached.too_many;
                reached.candidates.iter().for_each(|candidate| offered.take(candidate));
            }
            Object::Abstract(name) if self.kernel.walks & action.bit() != 0 => {
                let reached = self.automaton.walk(ABSTRACT, std::iter::once(name));
                offered.too_many = reached.too_many;
                reached.candidates.iter().for_each(|candidate| offered.take(candidate));
            }
            Object::Address { address, port, protocol } => {
                let found = self.networks.look_up(address).iter();
                found
                    .filter(|candidate| speaks(candidate, port, protocol))
                    .for_each(|candidate| offered.take(candidate));
            }
            _ => {}
        }
        offered
    }

    fn decision(&self, single: Single, action: Action, object: Object<'_>) -> Decision {
        let rule = single
            .rule
            .and_then(|index| Some((self.tests.get(index)?, self.rules.get(index)?)));
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
            observe: self.kernel.observe != 0,
            otherwise,
            watched: single.watched,
        }
    }

    /// What comes of an attempt's decision: once, whichever of its actions the rules spoke of.
    pub fn consequences(&self, decision: &Decision) -> Consequences {
        let mut consequences = Consequences::default();
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
            observe: self.kernel.observe != 0,
            otherwise: verdict,
            watched: Vec::new(),
        }
    }
}

impl Decision {
    /// Of one attempt's decisions the strictest, the first among equals; and the strictest of what
    /// observing rules would have done.
    pub fn strictest(decisions: impl IntoIterator<Item = Decision>) -> Option<Decision> {
        decisions.into_iter().reduce(|first, next| {
            let (mut kept, other) = if rank(next.verdict) > rank(first.verdict) {
                (next, first)
            } else {
                (first, next)
            };
            let stricter = |one: &(Verdict, String)| {
                kept.would.as_ref().is_none_or(|would| rank(one.0) > rank(would.0))
            };
            if let Some(would) = other.would.filter(stricter) {
                kept.would = Some(would);
            }
            // Consequences count once an attempt, whichever of its actions they come from.
            for rule in other.watched {
                if !kept.watched.contains(&rule) {
                    kept.watched.push(rule);
                }
            }
            kept
        })
    }
}

fn written(object: Object<'_>, how: &Circumstances) -> Written {
    if matches!(object, Object::Nameless(_)) { Written::Yes } else { how.written }
}

/// Whether a rule would have to know of the object what nobody does. What was written is known by itself, wherever
/// it lies; that something was not is known of a known place alone.
fn asks_in_vain(rule: &table::Rule, unknown_place: bool, object: Object<'_>, written: Written) -> bool {
    match rule.object {
        table::object::ANY => false,
        table::object::TO | table::object::NOT_TO => unknown_place && !object.has_place(),
        table::object::WRITTEN | table::object::NOT_WRITTEN => match written {
            Written::Yes => false,
            Written::No => unknown_place,
            Written::Unknown => true,
        },
        _ => unknown_place,
    }
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Challenge => 1,
        Verdict::Deny => 2,
    }
}

/// What came to be offered for one object.
#[derive(Default)]
struct Offered {
    rules: HashSet<u32>,
    sets: HashSet<u32>,
    too_many: bool,
}

impl Offered {
    fn take(&mut self, candidate: &Candidate) {
        if candidate.rule & SET != 0 {
            self.sets.insert(candidate.rule & !SET);
        } else {
            self.rules.insert(candidate.rule);
        }
    }

    /// Whether a rule that was offered, or that nothing has to offer, speaks of the object.
    fn takes(&self, rule: &table::Rule, action: Action, object: Object<'_>, written: Written) -> bool {
        let outside = !self.sets.contains(&rule.set);
        match (rule.object, object) {
            (table::object::NOT_IN, Object::Path(_) | Object::Abstract(_)) => outside,
            (table::object::TO, object) if object.has_place() => false,
            // No file name: outside of all places only for what could run it as code.
            (table::object::NOT_IN, Object::Nameless(_)) => {
                matches!(action, Action::ProcExec | Action::FileMapExec)
            }
            (table::object::NOT_TO, Object::Address { .. }) => outside,
            (table::object::AMONG | table::object::NOT_AMONG, Object::Number(which)) => {
                rule.speaks_of_number(which.into())
            }
            (table::object::AMONG | table::object::NOT_AMONG, _) => false,
            (table::object::WRITTEN, _) => written == Written::Yes,
            (table::object::NOT_WRITTEN, Object::Path(_)) => written == Written::No,
            (table::object::NOT_IN | table::object::NOT_TO | table::object::NOT_WRITTEN, _) => false,
            _ => true,
        }
    }
}

/// Gives each action of an attempt the object it applies to.
///
/// `file.create`, and the second naming of any action (`file.delete` at both ends of a rename over an
/// existing file, `file.rename` at both ends of an exchange), apply to the second object where there is one.
pub fn pair<'a>(
    actions: &[Action],
    first: Object<'a>,
    second: Option<Object<'a>>,
) -> Vec<(Action, Object<'a>)> {
    let mut seen = 0_u32;
    let of = |action: &Action| {
        let again = seen & action.bit() != 0;
        seen |= action.bit();
        let object = match second {
            Some(second) if again || *action == Action::FileCreate => second,
            _ => first,
        };
        (*action, object)
    };
    actions.iter().map(of).collect()
}
