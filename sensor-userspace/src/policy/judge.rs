//! The verdict, by the same table and the same hash as the kernel's.

use sensor_common::action::Action;
use sensor_common::table;

use super::compile::{Table, verdict_of};
use super::language::LabelId;
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
    /// There is a place, and it cannot be told.
    Unknown,
    /// IPv4 as `::ffff:a.b.c.d`.
    Address { address: [u8; 16], port: u16, protocol: u8 },
    /// A socket of another family than IP.
    OtherSocket,
}

/// What holds of the agent at the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// A bit for each label it has, by `LabelId`.
    pub labels: u32,
    pub risk: u8,
    /// A bit for each fact that holds, by `FactId`.
    pub facts: u64,
}

impl<'a> Object<'a> {
    /// As a hook resolved it, or as an argument was normalised; `None` is unknown.
    pub fn of(name: Option<&'a [u8]>) -> Object<'a> {
        match name {
            None | Some([]) => Object::Unknown,
            Some(name) if !name.starts_with(b"/") => Object::Nameless(name),
            // A parent's name in a path says that nobody resolved it.
            Some(name) if name.split(|byte| *byte == b'/').any(|part| part == b"..") => {
                Object::Unknown
            }
            Some(name) => Object::Path(name),
        }
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
    /// Set if the action goes ahead.
    pub labels: Vec<LabelId>,
    pub risk_added: i32,
    /// The `watch:` rules that match.
    pub watched: Vec<usize>,
}

/// One action's verdict as the kernel tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KernelHit {
    /// The deciding rule; none for `default` and `on_unknown`.
    pub rule: Option<u16>,
    /// `sensor_common::table::effect`.
    pub effect: u8,
    /// Decided by `on_unknown`.
    pub unknown: bool,
    /// The first matching rule in observe mode.
    pub would: Option<u16>,
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
    /// The object's place is unknown, so `on_unknown` takes the rule's place.
    Unknown,
    Observed,
    Decides,
}

impl StepResult {
    pub const fn name(self) -> &'static str {
        match self {
            StepResult::OtherAction => "other_action",
            StepResult::OtherObject => "other_object",
            StepResult::Unknown => "unknown_place",
            StepResult::Observed => "observes",
            StepResult::Decides => "decides",
        }
    }
}

/// One action's verdict, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Single {
    pub verdict: Verdict,
    pub rule: Option<usize>,
    pub unknown: bool,
    /// The rule that asked for an unknown place.
    pub asked: Option<usize>,
    pub would: Option<(Verdict, usize)>,
}

enum Test {
    Passes,
    Fails,
    Unknown,
}

impl Table {
    /// Judges an attempt: each action with the object it applies to; deny over challenge over allow.
    pub fn judge(&self, attempt: &[(Action, Object<'_>)], _now: &Circumstances) -> Decision {
        self.trace(attempt, &mut |_| {})
    }

    /// The same, telling each rule that was looked at.
    pub fn explain(
        &self,
        attempt: &[(Action, Object<'_>)],
        _now: &Circumstances,
    ) -> (Decision, Vec<Step>) {
        let mut steps = Vec::new();
        let decision = self.trace(attempt, &mut |step| steps.push(step));
        (decision, steps)
    }

    /// A decision of the kernel's, in words.
    pub fn decision_from_kernel(
        &self,
        hit: KernelHit,
        action: Action,
        object: Object<'_>,
    ) -> Decision {
        let place_unknown = hit.unknown || object == Object::Unknown;
        let observed = hit.would.map(usize::from).filter(|rule| *rule < self.rules.len());
        let would = observed.map(|index| {
            let rule = &self.kernel.rules[index];
            // An observing rule that asks for an unknown place would have left it to `on_unknown`.
            let left = place_unknown && rule.object != table::object::ANY;
            (verdict_of(if left { self.kernel.on_unknown } else { rule.effect }), index)
        });
        let asked = match hit.unknown {
            true => self.single(action, Object::Unknown, &mut |_| {}).asked,
            false => None,
        };
        let (verdict, rule) = (verdict_of(hit.effect), hit.rule.map(usize::from));
        self.decision(Single { verdict, rule, unknown: hit.unknown, asked, would }, action, object)
    }

    fn trace(&self, attempt: &[(Action, Object<'_>)], tell: &mut dyn FnMut(Step)) -> Decision {
        let decisions = attempt.iter().map(|(action, object)| {
            let single = self.single(*action, *object, tell);
            self.decision(single, *action, *object)
        });
        Decision::strictest(decisions).unwrap_or_else(|| self.decision_on_nothing())
    }

    fn single(&self, action: Action, object: Object<'_>, tell: &mut dyn FnMut(Step)) -> Single {
        let sets = match object {
            Object::Path(path) => self.sets_of(path),
            _ => 0,
        };
        let mut would = None;
        for (index, rule) in self.kernel.rules.iter().take(self.rules.len()).enumerate() {
            let mut step = |result| tell(Step { action, rule: index, result });
            if rule.actions & action.bit() == 0 {
                step(StepResult::OtherAction);
                continue;
            }
            let (verdict, unknown) = match test(rule, action, object, sets) {
                Test::Fails => {
                    step(StepResult::OtherObject);
                    continue;
                }
                Test::Passes => (verdict_of(rule.effect), false),
                Test::Unknown => (verdict_of(self.kernel.on_unknown), true),
            };
            if rule.observe != 0 {
                step(StepResult::Observed);
                would = would.or(Some((verdict, index)));
                continue;
            }
            step(if unknown { StepResult::Unknown } else { StepResult::Decides });
            let asked = unknown.then_some(index);
            let rule = (!unknown).then_some(index);
            return Single { verdict, rule, unknown, asked, would };
        }
        let verdict = verdict_of(self.kernel.default_effect);
        Single { verdict, rule: None, unknown: false, asked: None, would }
    }

    fn decision(&self, single: Single, action: Action, object: Object<'_>) -> Decision {
        let rule = single
            .rule
            .and_then(|index| Some((self.kernel.rules.get(index)?, self.rules.get(index)?)));
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
            labels: Vec::new(),
            risk_added: 0,
            watched: Vec::new(),
        }
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
            labels: Vec::new(),
            risk_added: 0,
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
            kept
        })
    }
}

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Challenge => 1,
        Verdict::Deny => 2,
    }
}

fn test(rule: &table::Rule, action: Action, object: Object<'_>, sets: u64) -> Test {
    let within = match (rule.object, object) {
        (table::object::ANY, _) => return Test::Passes,
        (_, Object::Unknown) => return Test::Unknown,
        // Where an action has no place, a rule about places does not speak.
        (_, Object::None | Object::Address { .. } | Object::OtherSocket) => return Test::Fails,
        // No file name: within no place; outside of all only for what could run it as code.
        (_, Object::Nameless(_)) if !matches!(action, Action::ProcExec | Action::FileMapExec) => {
            return Test::Fails;
        }
        (_, Object::Nameless(_)) => false,
        (_, Object::Path(_)) => rule.sets & sets != 0,
    };
    match (rule.object, within) {
        (table::object::IN, true) | (table::object::NOT_IN, false) => Test::Passes,
        (table::object::IN, false) | (table::object::NOT_IN, true) => Test::Fails,
        // A kind of test that this table's walker does not know fails closed.
        _ => Test::Unknown,
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
