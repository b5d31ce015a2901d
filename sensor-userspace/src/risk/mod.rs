//! The live risk score.
//!
//! Profile `article` is the arithmetic of the article's collector, in integers: from 50, an action
//! that follows at least six others, the last of them less than 0.1 s ago, adds 10, any other takes
//! 2 away, within 0 to 100; then what the policy's rules add to it. It is worked out before the action joins
//! the trajectory.

use std::str::FromStr;

use crate::attempt::WallNs;
use crate::record::canonical::Object;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// The arithmetic of the article's collector.
    #[default]
    Article,
}

impl Profile {
    pub const fn name(self) -> &'static str {
        match self {
            Profile::Article => "article",
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Profile, String> {
        match text {
            "article" => Ok(Profile::Article),
            other => Err(format!("risk.profile {other:?} does not exist in this version; `article` does")),
        }
    }
}

const BASE: u8 = 50;
/// The article asks for more than five actions before this one.
const CALM_ACTIONS: u64 = 5;
const RAPID_NS: i128 = 100_000_000;

/// The risk of one run.
#[derive(Clone, Debug)]
pub struct Risk {
    score: u8,
    actions: u64,
    last: WallNs,
}

/// A score and what it came from: enough to work it out again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scored {
    pub score: u8,
    pub previous: u8,
    pub delta: i8,
    pub rapid: bool,
    /// What the rules that spoke of the action add.
    pub added: i32,
    /// How many actions of the run came before this one.
    pub actions: u64,
}

impl Default for Risk {
    fn default() -> Self {
        Risk { score: BASE, actions: 0, last: 0 }
    }
}

impl Risk {
    /// Of a run whose actions so far nobody here has seen.
    pub fn from_score(score: u8) -> Risk {
        Risk { score: score.min(100), ..Risk::default() }
    }

    pub fn score(&self) -> u8 {
        self.score
    }

    pub fn actions(&self) -> u64 {
        self.actions
    }

    /// Counts an action in, in the order in which the run's actions are recorded.
    ///
    /// One that was recorded late may be older than its predecessor: the difference is then
    /// negative and, as in the article, less than 0.1 s.
    pub fn action(&mut self, at: WallNs, added: i32) -> Scored {
        let (previous, actions) = (self.score, self.actions);
        let rapid = actions > CALM_ACTIONS && i128::from(at) - i128::from(self.last) < RAPID_NS;
        let delta: i8 = if rapid { 10 } else { -2 };
        let score = i32::from(previous.saturating_add_signed(delta).min(100)).saturating_add(added);
        self.score = u8::try_from(score.clamp(0, 100)).unwrap_or(100);
        self.actions += 1;
        self.last = at;
        Scored { score: self.score, previous, delta, rapid, added, actions }
    }
}

impl Scored {
    /// The object `risk_factors`.
    pub fn write(&self, out: &mut Vec<u8>) {
        Object::write(out, |factors| {
            factors.uint("actions", self.actions);
            if self.added != 0 {
                factors.int("added", i64::from(self.added));
            }
            factors.uint("base", u64::from(BASE));
            factors.int("delta", i64::from(self.delta));
            factors.uint("previous", u64::from(self.previous));
            factors.plain("profile", Profile::Article.name().as_bytes());
            factors.bool("rapid", self.rapid);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn article_arithmetic() {
        let mut risk = Risk::default();
        let calm: Vec<u8> = (0..6).map(|n| risk.action(n * 1000, 0).score).collect();
        assert_eq!(calm, [48, 46, 44, 42, 40, 38], "six actions never count as rapid");
        assert_eq!(risk.action(6000, 0).score, 48);
        assert_eq!(risk.action(6000 + 99_999_999, 0).score, 58);
        assert_eq!(risk.action(6000 + 99_999_999 + 100_000_000, 0).score, 56, "0.1 s is not less");
        assert_eq!(risk.action(0, 0).score, 66, "older than the one before: rapid");
    }

    #[test]
    fn rules_add_and_take() {
        let mut risk = Risk::default();
        assert_eq!(risk.action(0, 20).score, 68);
        assert_eq!(risk.action(1_000_000_000, 127).score, 100);
        assert_eq!(risk.action(2_000_000_000, -120).score, 0);
    }

    #[test]
    fn stays_within_its_bounds() {
        let mut risk = Risk::default();
        let slow = (0..40).map(|n| risk.action(n * 1_000_000_000, 0).score).min();
        assert_eq!(slow, Some(0));
        let fast = (0..40).map(|_| risk.action(40_000_000_000, 0).score).max();
        assert_eq!(fast, Some(100));
    }
}
