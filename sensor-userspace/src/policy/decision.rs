//! What judging comes to, and how each rule came out.

use std::time::Duration;

use sensor_common::action::Action;

use super::limit::Counting;
use crate::attempt::{Severity, Verdict};

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
    /// Limits that the search came to: the attempt counts.
    pub counted: Vec<Counting>,
}

/// What comes of a decision, by its deciding rule and those that watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consequences {
    /// Labels that are set if the action goes ahead, and how long each lasts; none: for the run.
    pub labels: Vec<(usize, Option<Duration>)>,
    /// What is added to the risk.
    pub risk: i32,
    /// Limits that the attempt counts for, whether or not it goes ahead.
    pub counted: Vec<Counting>,
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
    /// The attempt is on the other side of the rule's limit.
    OtherSideOfLimit,
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
            StepResult::OtherSideOfLimit => "other_side_of_limit",
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
    pub counted: Vec<Counting>,
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
            counted: Vec::new(),
        }
    }
}

impl Decision {
    /// Of one attempt's decisions the strictest, the first among equals; and the strictest of what
    /// observing rules would have done.
    pub fn strictest(decisions: impl IntoIterator<Item = Decision>) -> Option<Decision> {
        decisions.into_iter().reduce(|first, next| {
            let (mut kept, other) =
                if rank(next.verdict) > rank(first.verdict) { (next, first) } else { (first, next) };
            let stricter =
                |one: &(Verdict, String)| kept.would.as_ref().is_none_or(|would| rank(one.0) > rank(would.0));
            if let Some(would) = other.would.filter(stricter) {
                kept.would = Some(would);
            }
            kept.counted.extend(other.counted);
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

fn rank(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => 0,
        Verdict::Challenge => 1,
        Verdict::Deny => 2,
    }
}
