//! A policy as it was written, checked and with its lists gathered into sets.

use std::time::Duration;

use sensor_common::action::Action;

use super::pattern::Pattern;
use super::problem::{At, Problem};
use crate::attempt::{Severity, Verdict};

/// `default:` and `on_unknown:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    Allow,
    Deny,
}

impl Fallback {
    pub const fn verdict(self) -> Verdict {
        match self {
            Fallback::Allow => Verdict::Allow,
            Fallback::Deny => Verdict::Deny,
        }
    }
}

/// What a rule asks of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectTest {
    Any,
    /// In one of these sets (a bit each).
    In(u64),
    /// In none of them.
    NotIn(u64),
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub(super) at: At,
    pub description: Option<String>,
    /// `Action::bit` of each action it speaks of.
    pub actions: u32,
    pub effect: Verdict,
    pub object: ObjectTest,
    /// `mode: observe`: records what it would have done, and the search goes on.
    pub observe: bool,
    pub severity: Severity,
    pub tags: Vec<String>,
    /// Of a challenge: how long it waits for an answer …
    pub timeout: Option<Duration>,
    /// … and what holds when none comes.
    pub otherwise: Fallback,
}

/// One case of `tests:`.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) at: At,
    pub name: Option<String>,
    pub actions: Vec<Action>,
    pub path: CaseObject,
    pub path2: Option<Pattern>,
    pub verdict: Verdict,
    pub rule: Option<String>,
}

#[derive(Clone, Debug)]
pub enum CaseObject {
    None,
    Path(Pattern),
    /// `unknown: true`: the kernel could not tell the place.
    Unknown,
}

/// A policy that was read and found sound.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    pub description: Option<String>,
    /// `mode: observe` of the whole policy.
    pub observe: bool,
    pub default: Fallback,
    pub on_unknown: Fallback,
    pub rules: Vec<Rule>,
    pub cases: Vec<Case>,
    pub warnings: Vec<Problem>,
    pub(super) file: String,
    /// Distinct lists of places; the bit of a rule's object is the index here.
    pub(super) sets: Vec<Vec<Pattern>>,
    /// Hex SHA-256 of the text.
    pub(super) hash: String,
}

const ALLOW_ALL: &str =
    "version: 1\nname: none\nmode: enforce\ndefault: allow\non_unknown: allow\n";

impl Policy {
    /// What is in force without `--policy`: everything is allowed, by `RULE_DEFAULT`.
    pub fn allow_all() -> Policy {
        Policy {
            name: "none".to_owned(),
            description: None,
            observe: false,
            default: Fallback::Allow,
            on_unknown: Fallback::Allow,
            rules: Vec::new(),
            cases: Vec::new(),
            warnings: Vec::new(),
            file: "(no policy)".to_owned(),
            sets: Vec::new(),
            hash: hash_of(ALLOW_ALL),
        }
    }

    /// Hex SHA-256 of the policy's text.
    pub fn hash(&self) -> &str {
        &self.hash
    }
}

pub(super) fn hash_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    hex::encode(Sha256::digest(text.as_bytes()))
}
