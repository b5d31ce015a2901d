//! What a rule asks of the agent's identity, of the clock, and of what operators have approved.
//!
//! The kernel gets one bit a fact, put in anew whenever one of them changes.

use super::language::Policy;
use super::window::Window;

/// Some words, or all but these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    pub words: Vec<String>,
    pub not: bool,
}

impl Words {
    /// Who has no role is none of those named.
    fn hold(&self, word: Option<&str>) -> bool {
        let named = word.is_some_and(|word| self.words.iter().any(|one| one == word));
        named != self.not
    }

    /// One of these is enough.
    fn hold_of_any(&self, all: &[&str]) -> bool {
        let named = self.words.iter().any(|one| all.contains(&one.as_str()));
        named != self.not
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Principal(Words),
    Role(Words),
    Env(Words),
    Task(Words),
    /// Of the agent's own name.
    Scope(Words),
    /// Of what an operator has approved for the agent, for now or for its run.
    Approval(Words),
    Time(Window),
    /// Until this second (Unix), not included.
    Before(i64),
}

/// Who an agent is, from the operator's side; never what it says of itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Identity<'a> {
    pub agent_id: &'a str,
    pub principal: &'a str,
    pub role: Option<&'a str>,
    pub environment: Option<&'a str>,
    pub task: Option<&'a str>,
    /// What an operator has approved, and not taken back.
    pub approvals: &'a [&'a str],
}

impl Fact {
    /// What it asks of operators.
    pub(super) fn approval(&self) -> Option<&Words> {
        match self {
            Fact::Approval(words) => Some(words),
            _ => None,
        }
    }

    pub fn holds(&self, who: &Identity<'_>, unix_seconds: i64) -> bool {
        match self {
            Fact::Principal(words) => words.hold(Some(who.principal)),
            Fact::Role(words) => words.hold(who.role),
            Fact::Env(words) => words.hold(who.environment),
            Fact::Task(words) => words.hold(who.task),
            Fact::Scope(words) => words.hold(Some(who.agent_id)),
            Fact::Approval(words) => words.hold_of_any(who.approvals),
            Fact::Time(window) => window.holds(unix_seconds),
            Fact::Before(end) => unix_seconds < *end,
        }
    }

    /// Whether it comes and goes with the clock.
    pub fn changes(&self) -> bool {
        matches!(self, Fact::Time(_) | Fact::Before(_))
    }
}

/// The approvals that facts ask for, each once.
pub(super) fn approvals<'a>(facts: impl Iterator<Item = &'a Fact>) -> Vec<&'a str> {
    let asked = facts.filter_map(Fact::approval);
    let mut names: Vec<&str> = asked.flat_map(|words| &words.words).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

impl Policy {
    /// The approvals that its rules ask for.
    pub fn approvals(&self) -> Vec<&str> {
        approvals(self.facts.iter())
    }

    /// A bit for each fact that holds, by `FactId`.
    pub fn facts_that_hold(&self, who: &Identity<'_>, unix_seconds: i64) -> u64 {
        held(&self.facts, who, unix_seconds)
    }
}

/// A bit for each of the facts that holds, by its position; reading refuses more than 64.
pub(super) fn held(facts: &[Fact], who: &Identity<'_>, unix_seconds: i64) -> u64 {
    let held = facts.iter().enumerate().filter(|(_, fact)| fact.holds(who, unix_seconds));
    held.fold(0, |bits, (index, _)| bits | 1_u64.checked_shl(index as u32).unwrap_or(0))
}
