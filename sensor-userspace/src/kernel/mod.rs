//! The kernel side as the daemon uses it: load, govern, drain.

mod above;
mod accounts;
mod adopt;
mod answers;
mod capture;
mod cgroup;
mod clock;
mod counts;
mod decode;
mod diagnose;
mod enforce;
mod filesystems;
mod guard;
mod hooks;
mod load;
mod meaning;
mod names;
mod object;
mod parameters;
mod pending;
pub mod pins;
mod pod;
mod policies;
mod rings;
mod standing;
mod sys;
mod tables;
#[doc(hidden)]
pub mod trial;
mod written;

pub use clock::uptime_ns;
pub use diagnose::{Diagnosis, diagnose};
pub use load::{Options, Sensor};
pub use object::LoadError;

use std::net::SocketAddr;

use crate::attempt::{Attempt, Mode};
use crate::policy::{Table, octets};

/// An agent's number: an index into the kernel's per-agent arrays, given by the daemon.
pub type AgentNo = u32;

/// Whether this number is nobody's: a denial is tried under it.
pub fn is_canary(agent: AgentNo) -> bool {
    agent == load::CANARY
}

/// Names one attempt while it is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    pub task: u64,
    pub seq: u64,
    /// A task's address comes again for another task, which counts from the start.
    pub tid: u32,
}

/// What a hook found about one action of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookVerdict {
    pub action: sensor_common::action::Action,
    /// The object's true name.
    pub object: Option<Vec<u8>>,
    /// `table::effect`.
    pub effect: u8,
    pub rule: Option<u16>,
    pub would: Option<u16>,
    /// The object's place could not be known.
    pub unknown: bool,
    pub blocked: bool,
    /// The agent's run had written the object.
    pub written: bool,
    /// A rule asked which program acts, and it could not be told …
    pub program_unknown: bool,
    /// … so that `on_unknown` decided.
    pub by_program: bool,
    /// Watching rules that matched.
    pub watched: Vec<u16>,
}

/// Which of a call's two objects an action is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    First,
    Second,
}

/// An attempt as the kernel told it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub agent: AgentNo,
    pub key: AttemptKey,
    /// Each action with the end it is about.
    pub means: Vec<(sensor_common::action::Action, Operand)>,
    /// `exe_chain` is empty: the process table fills it in.
    pub attempt: Attempt,
    /// Where the argument starts from: the directory of a relative one, the process's root of an absolute one.
    pub base: Option<Vec<u8>>,
    pub base2: Option<Vec<u8>>,
    /// Empty where no hook saw the attempt.
    pub hooks: Vec<HookVerdict>,
    /// Of the policy that hooks judged by; 0 where none did.
    pub generation: u64,
    /// A successful exec: the program that now runs.
    pub execed: Option<Vec<u8>>,
    /// The policy's host names that the agent's own resolver was given the address for.
    pub answered: Vec<String>,
}

impl Seen {
    /// The internet address that it went to: as a hook had it, else as written. IPv4 as IPv6 has it.
    pub fn address(&self) -> Option<[u8; 16]> {
        let written = self.attempt.argument.as_deref().filter(|_| self.attempt.action.verb().starts_with("net."));
        let mut all = self.hooks.iter().filter_map(|hook| hook.object.as_deref()).chain(written);
        let to: SocketAddr = all.find_map(|text| std::str::from_utf8(text).ok()?.parse().ok())?;
        Some(octets(to.ip()))
    }
}

#[derive(Clone, Debug)]
pub enum Event {
    Attempt(Box<Seen>),
    /// A process of the agent made another.
    Fork {
        agent: AgentNo,
        parent: u32,
        pid: u32,
        thread: bool,
    },
    /// A task came into the agent's cgroup from outside.
    Join {
        agent: AgentNo,
        pid: u32,
    },
    /// A process became another program.
    Exec {
        agent: AgentNo,
        pid: u32,
        exe: Vec<u8>,
    },
    /// A thread ended; `pid` 's last one when `last`.
    Exit {
        agent: AgentNo,
        pid: u32,
        tid: u32,
    },
}

/// How an agent stands by the programs of the daemon before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stood {
    /// By their bits.
    pub labels: u32,
    pub risk: u8,
}

/// Totals of one agent and ring since it was registered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub made: u64,
    pub dropped: u64,
    pub received: u64,
}

/// How the kernel side stands.
#[derive(Clone, Debug)]
pub struct Standing {
    pub mode: Mode,
    pub degraded: bool,
    /// Sentences for the operator: what is not in force, and why.
    pub notes: Vec<String>,
    /// Hooks in force, by name.
    pub hooks: Vec<String>,
}

impl Standing {
    /// What is in force for an agent under this policy.
    pub fn mode_of(&self, policy: &Table) -> Mode {
        if policy.observes() { Mode::Observe } else { self.mode }
    }
}

/// One program, and whether this kernel takes it.
pub struct Probe {
    pub name: String,
    pub kind: &'static str,
    pub trouble: Option<String>,
}
