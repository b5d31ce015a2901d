//! A policy as it was written, checked and with its lists gathered into sets.

use std::time::Duration;

use sensor_common::action::Action;

use super::address::Destination;
use super::facts::Fact;
use super::hosts::Hosts;
use super::limit::Limit;
use super::pattern::Pattern;
use super::problem::{At, Problem, Report};
use super::sensitivity::Levels;
use crate::attempt::{Severity, Verdict};

/// Index of a list of places in the policy.
pub type SetId = usize;
/// Index of a label's name in the policy.
pub type LabelId = usize;
/// Index of a fact in the policy.
pub type FactId = usize;

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
    Challenge,
    /// Decides nothing; its consequences count wherever it stands.
    Watch,
}

impl Effect {
    /// Where the rule does not say.
    pub(super) fn usual_severity(self) -> Severity {
        match self {
            Effect::Allow | Effect::Watch => Severity::Info,
            Effect::Deny | Effect::Challenge => Severity::Medium,
        }
    }
}

/// What a rule asks of the object's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathTest {
    Any,
    /// In one of these sets.
    In(Vec<SetId>),
    /// In none of them.
    NotIn(Vec<SetId>),
    /// Not of its place: whether this run has written it.
    Written(bool),
}

impl PathTest {
    /// The sets that it names.
    pub fn sets(&self) -> &[SetId] {
        match self {
            PathTest::Any | PathTest::Written(_) => &[],
            PathTest::In(sets) | PathTest::NotIn(sets) => sets,
        }
    }
}

/// What a rule asks of the destination.
#[derive(Clone, Debug)]
pub enum AddressTest {
    Any,
    In(Vec<Destination>),
    NotIn(Vec<Destination>),
}

/// What a rule asks of the signal or the capability: its actions tell which. Bits as `sensor_common::numbers` has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberTest {
    Any,
    In(u64),
    NotIn(u64),
}

impl NumberTest {
    /// The bits of those that it names.
    pub fn named(self) -> u64 {
        match self {
            NumberTest::Any => 0,
            NumberTest::In(bits) | NumberTest::NotIn(bits) => bits,
        }
    }
}

/// What a rule asks of the program that acts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramTest {
    Any,
    /// In one of these sets.
    In(Vec<SetId>),
    /// In none of them, or without a place.
    NotIn(Vec<SetId>),
}

impl ProgramTest {
    /// The sets that it names.
    pub fn sets(&self) -> &[SetId] {
        match self {
            ProgramTest::Any => &[],
            ProgramTest::In(sets) | ProgramTest::NotIn(sets) => sets,
        }
    }
}

/// When a rule holds; all of it must.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct When {
    /// The agent has one of these, if there is any.
    pub labels_any: Vec<LabelId>,
    /// It has none of these.
    pub labels_none: Vec<LabelId>,
    /// Lowest and highest risk, both included.
    pub risk: Option<(u8, u8)>,
    pub facts: Vec<FactId>,
    pub limit: Option<Limit>,
    /// How sensitive its object is: a bit for each level that will do; 0: any, or none at all.
    pub sensitivity: u32,
}

/// A label that a rule sets when its action goes ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetLabel {
    pub label: LabelId,
    /// None: as long as the run.
    pub lasts: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Rule {
    pub id: String,
    pub(super) at: At,
    pub description: Option<String>,
    /// `Action::bit` of each action it speaks of.
    pub actions: u32,
    pub effect: Effect,
    /// `path:`, or `unix:`, which its actions tell from it: no action has both.
    pub path: PathTest,
    pub to: AddressTest,
    /// `signal:`, or `capability:`.
    pub number: NumberTest,
    pub exe: ProgramTest,
    pub when: When,
    pub labels: Vec<SetLabel>,
    /// Added to the agent's risk.
    pub risk: i8,
    /// What a refused call returns, in place of EACCES.
    pub errno: Option<u8>,
    /// `mode: observe`: records what it would have done, and the search goes on.
    pub observe: bool,
    pub severity: Severity,
    pub tags: Vec<String>,
    /// Of a challenge: how long it waits for an answer …
    pub timeout: Option<Duration>,
    /// … and what holds when none comes.
    pub otherwise: Fallback,
    pub owner: Option<String>,
    pub reason: Option<String>,
    /// Unix seconds; there is a `Fact::Before` in `when` for it.
    pub expires: Option<i64>,
}

/// One case of `tests:`.
#[derive(Clone, Debug)]
pub struct Case {
    pub(super) at: At,
    pub name: Option<String>,
    pub actions: Vec<Action>,
    pub object: CaseObject,
    pub path2: Option<Pattern>,
    /// The run has written the object, and the second one.
    pub written: bool,
    pub exe: CaseProgram,
    pub labels: Vec<LabelId>,
    /// Rules whose limits the attempt exceeds, by index.
    pub exceeds: Vec<usize>,
    pub risk: u8,
    pub who: Who,
    /// Unix seconds; none is now.
    pub time: Option<i64>,
    pub verdict: Verdict,
    pub rule: Option<String>,
}

#[derive(Clone, Debug)]
pub enum CaseObject {
    None,
    /// `path:` or `unix:`.
    Path(Pattern),
    /// `nameless: true`: something without a file name, such as a memfd.
    Nameless,
    /// `unknown: true`: the kernel could not tell the place.
    Unknown,
    Address {
        address: [u8; 16],
        port: u16,
        protocol: u8,
    },
    /// `signal:`, or `capability:`: its bit plus one.
    Number(u8),
    /// Any of the addresses that the name stands for.
    Host {
        name: String,
        port: u16,
        protocol: u8,
    },
}

/// The program that acts in a case.
#[derive(Clone, Debug)]
pub enum CaseProgram {
    /// The case does not say: it cannot be told.
    Unknown,
    Path(Pattern),
    /// `exe: memfd:x`
    Nameless,
}

/// Who the agent of a case is.
#[derive(Clone, Debug, Default)]
pub struct Who {
    pub agent: Option<String>,
    pub principal: Option<String>,
    pub role: Option<String>,
    pub env: Option<String>,
    pub task: Option<String>,
    pub approvals: Vec<String>,
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
    /// The labels' names.
    pub labels: Vec<String>,
    pub facts: Vec<Fact>,
    pub levels: Levels,
    /// `hosts:`, for cases and questions; the daemon asks its resolver.
    pub hosts: Hosts,
    /// The file, and after it those it includes; `At::file` is the index here.
    pub(super) files: Vec<String>,
    /// Distinct lists of places.
    pub(super) sets: Vec<Vec<Pattern>>,
    /// Hex SHA-256 of the texts.
    pub(super) hash: String,
}

const ALLOW_ALL: &str = "version: 1\nname: none\nmode: enforce\ndefault: allow\non_unknown: allow\n";

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
            labels: Vec::new(),
            facts: Vec::new(),
            levels: Levels::default(),
            hosts: Hosts::default(),
            files: vec!["(no policy)".to_owned()],
            sets: Vec::new(),
            hash: hash_of([ALLOW_ALL]),
        }
    }

    /// Hex SHA-256 of the policy's text and of all that it includes.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// Gathers problems that are found after reading.
    pub(super) fn report(&self) -> Report {
        Report::over(self.files.clone())
    }
}

/// One text: its hash. Several: the hash of their hashes, so that none can reach into the next.
pub(super) fn hash_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    use sha2::{Digest, Sha256};
    let hashes: Vec<_> = texts.into_iter().map(|text| Sha256::digest(text.as_bytes())).collect();
    match hashes.as_slice() {
        [one] => hex::encode(one),
        all => hex::encode(Sha256::digest(all.concat())),
    }
}
