//! A compiled policy: what the kernel gets, and what userspace keeps beside it.

use std::collections::BTreeMap;
use std::time::Duration;

use sensor_common::action::Action;
use sensor_common::table::{self, ACTIONS, Candidate};

use super::automaton::Automaton;
use super::contents::Contents;
use super::facts::{Fact, Identity, Words, approvals, held};
use super::hosts::Hosts;
use super::lane::Lanes;
use super::language::Policy;
use super::networks::Networks;
use crate::attempt::{Severity, Verdict};

/// What userspace keeps of a rule beside the kernel's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRule {
    pub id: String,
    pub description: Option<String>,
    pub severity: Severity,
    pub tags: Vec<String>,
    pub timeout: Option<Duration>,
    /// The rule's places, or destinations, as written, variables and all; or its signals or capabilities.
    pub places: Vec<String>,
    /// Likewise the programs.
    pub programs: Vec<String>,
    /// What it adds to the risk.
    pub risk: i8,
    /// How long each of its labels lasts, where not for the whole run.
    pub lasts: Vec<(usize, Duration)>,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// Hex SHA-256 of the policy's text.
    pub hash: String,
    /// The same for the text and all that its table is made from: equal tables are one in the kernel.
    pub identity: [u8; 32],
    /// What the kernel gets as the head; whoever loads it puts the numbers of its own in.
    pub kernel: table::Policy,
    /// In the policy's order, as are `rules`.
    pub tests: Vec<table::Rule>,
    pub rules: Vec<TableRule>,
    pub labels: Vec<String>,
    pub facts: Vec<Fact>,
    pub automaton: Automaton,
    pub networks: Networks,
    /// What its variables stand for, of one agent.
    pub lanes: Lanes,
    /// The files in pinned places, as they were read.
    pub contents: Contents,
    /// What the rules' host names stand for.
    pub hosts: Hosts,
    /// Likewise, by address: names with commas between them.
    pub named: BTreeMap<[u8; 16], String>,
    /// By host name: what is offered for an address that the agent itself was given for it.
    pub answered: BTreeMap<String, Vec<Candidate>>,
    /// By action: what neither automaton nor networks offer.
    pub always: Vec<Vec<Candidate>>,
    /// By action: the first rules, for objects of unknown place.
    pub unknown: Vec<Vec<Candidate>>,
}

impl Table {
    /// Nothing is refused, whatever its rules say.
    pub fn observes(&self) -> bool {
        self.kernel.observe != 0
    }

    /// Whether any rule, or the default, may refuse the action.
    pub fn may_refuse(&self, action: Action) -> bool {
        let refuses = |effect: u8| effect == table::effect::DENY || effect == table::effect::CHALLENGE;
        let unsure = refuses(self.kernel.on_unknown);
        refuses(self.kernel.default_effect)
            || self.tests.iter().any(|rule| rule.actions & action.bit() != 0 && (unsure || refuses(rule.effect)))
    }

    /// A rule's limit, and which of the policy's it is.
    pub(super) fn limit_of(&self, rule: &table::Rule) -> Option<(usize, &table::Limit)> {
        let index = rule.limit.checked_sub(1)? as usize;
        self.kernel.limits.get(index).map(|limit| (index, limit))
    }

    /// The approvals that its rules ask for; bits that a policy before it left are not its own.
    pub fn approvals(&self) -> Vec<&str> {
        approvals(self.facts_in(self.uses().facts))
    }

    /// What a rule asks of operators.
    pub fn approval_of(&self, rule: usize) -> Option<&Words> {
        self.facts_in(self.tests.get(rule)?.facts).find_map(Fact::approval)
    }

    /// The facts that these bits stand for.
    fn facts_in(&self, bits: u64) -> impl Iterator<Item = &Fact> {
        self.facts.iter().enumerate().filter(move |(bit, _)| bits >> bit & 1 == 1).map(|(_, fact)| fact)
    }

    /// A bit for each fact that holds, by `FactId`.
    pub fn facts_that_hold(&self, who: &Identity<'_>, unix_seconds: i64) -> u64 {
        held(&self.facts, who, unix_seconds)
    }

    /// The table of no policy: everything is allowed, by `RULE_DEFAULT`.
    pub fn allow_all() -> Table {
        let Policy { name, hash, .. } = Policy::allow_all();
        Table {
            name,
            hash,
            identity: [0; 32],
            kernel: table::Policy::default(),
            tests: Vec::new(),
            rules: Vec::new(),
            labels: Vec::new(),
            facts: Vec::new(),
            automaton: Automaton::default(),
            networks: Networks::default(),
            lanes: Lanes::default(),
            contents: Contents::new(),
            hosts: Hosts::default(),
            named: BTreeMap::new(),
            answered: BTreeMap::new(),
            always: vec![Vec::new(); ACTIONS],
            unknown: vec![Vec::new(); ACTIONS],
        }
    }
}

pub(super) fn effect_number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => table::effect::ALLOW,
        Verdict::Deny => table::effect::DENY,
        Verdict::Challenge => table::effect::CHALLENGE,
    }
}

/// What is not an effect is a corrupt table, and fails closed.
pub(super) fn verdict_of(effect: u8) -> Verdict {
    match effect {
        table::effect::ALLOW => Verdict::Allow,
        table::effect::CHALLENGE => Verdict::Challenge,
        _ => Verdict::Deny,
    }
}
