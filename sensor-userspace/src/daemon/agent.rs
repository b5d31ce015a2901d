//! One agent's run as the daemon keeps it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use super::approve::Approval;
use super::processes::Processes;
use crate::agent::cgroup;
use crate::attempt::{Judgement, Verdict, WallNs};
use crate::control::protocol::Answer;
use crate::kernel::{AgentNo, AttemptKey, Seen, Totals, uptime_ns};
use crate::policy::{Busy, Circumstances, Consequences, Identity, Table, Tally};
use crate::record::{RecordId, Recorder};

/// Attempts under way whose outcome is awaited; one more and the oldest way of telling is lost: the
/// outcome comes as an attempt of its own.
pub const MAX_PENDING: usize = 8_192;

/// Tables kept of an agent's earlier policies: as many as the kernel side holds at most.
const MAX_EARLIER: usize = sensor_common::table::MAX_POLICIES as usize;

pub struct Agent {
    pub number: AgentNo,
    pub recorder: Recorder,
    pub table: Table,
    /// Which the kernel side knows the table by; 0 where nothing judges.
    pub generation: u64,
    /// When answers that have changed were last put in force.
    pub answers_put: Option<Instant>,
    /// Tables that it replaced, while an attempt may have begun under them.
    pub earlier: Vec<Earlier>,
    pub processes: Processes,
    pub pending: HashMap<AttemptKey, RecordId>,
    /// Under way, and not yet to be told of: this run waits longer for an outcome than others do.
    pub held: HashMap<AttemptKey, (Instant, Seen)>,
    /// How much longer.
    pub longer: Duration,
    pub counts: Counts,
    /// Key of its ledger in `Ledgers`.
    pub ledger: PathBuf,
    /// The ledger is this agent's alone: closed when its command has ended.
    pub own_ledger: bool,
    /// The cgroup that the daemon made for it.
    pub own: Option<cgroup::Own>,
    /// Its cgroup's whole path.
    pub cgroup: PathBuf,
    /// The command's process.
    pub root: Option<u32>,
    pub uid: u32,
    pub started: Instant,
    pub started_wall: SystemTime,
    pub phase: Phase,
    pub waiting: Option<Sender<Answer>>,
    /// By the operator's configuration.
    pub role: Option<String>,
    pub task: Option<String>,
    /// What operators have approved for it.
    pub approvals: Vec<Approval>,
    /// How it stands: labels, risk, facts; the kernel side is told of every change.
    pub how: Circumstances<'static>,
    /// What it has done of what limits ask about and no hook judges.
    pub limits: Tally,
    /// What the kernel side was told last.
    pub how_told: Option<Circumstances<'static>>,
    /// Labels that end by themselves.
    pub lasting: Vec<(usize, Instant)>,
    /// Per ring: what gap records have told already.
    pub told: [Totals; 2],
}

/// A policy that was replaced.
pub struct Earlier {
    pub table: Table,
    pub generation: u64,
    pub replaced: WallNs,
    /// At the last look no attempt under way was judged by it: those told since then are read by the next one.
    pub idle: bool,
}

impl Agent {
    /// The table that an attempt was judged by, or, where no hook saw it, the one in force when it began.
    pub fn table_of(&self, seen: &Seen) -> &Table {
        let earlier = self.earlier.iter().find(|earlier| match seen.generation {
            0 => seen.attempt.at < earlier.replaced,
            generation => earlier.generation == generation && generation != self.generation,
        });
        earlier.map_or(&self.table, |earlier| &earlier.table)
    }

    /// The next policy is in force.
    pub fn replace_table(&mut self, table: Table, generation: u64, now: WallNs) {
        let table = std::mem::replace(&mut self.table, table);
        let before = std::mem::replace(&mut self.generation, generation);
        // One that came and went before is one all the same.
        self.earlier.retain(|earlier| before == 0 || earlier.generation != before);
        if self.earlier.len() == MAX_EARLIER {
            self.earlier.remove(0);
        }
        self.earlier.push(Earlier { table, generation: before, replaced: now, idle: false });
    }

    /// Forgets tables that nothing to come was judged by; `in_use` tells by generation.
    pub fn forget_earlier(&mut self, in_use: impl Fn(u64) -> bool) {
        let held: Vec<u64> = self.held.values().map(|(_, seen)| seen.generation).collect();
        self.earlier.retain_mut(|earlier| {
            let used = earlier.generation != self.generation && in_use(earlier.generation)
                || held.contains(&earlier.generation);
            let was_idle = std::mem::replace(&mut earlier.idle, !used);
            used || !was_idle
        });
    }

    /// Bits of labels and facts that mean something to some attempt under way, or are set.
    pub fn busy(&self) -> Busy {
        let earlier = self.earlier.iter().fold(Busy::default(), |busy, earlier| busy | earlier.table.uses());
        earlier | self.table.uses() | Busy { labels: self.how.labels, facts: 0 }
    }

    /// Takes in what an attempt that went ahead has for consequences.
    pub fn undergo(&mut self, consequences: &Consequences) {
        for (label, lasts) in &consequences.labels {
            self.how.labels |= 1 << label;
            self.lasting.retain(|(lasting, _)| lasting != label);
            if let Some(lasts) = lasts {
                self.lasting.push((*label, Instant::now() + *lasts));
            }
        }
    }

    /// Labels whose time is over, a bit each; they are no longer set.
    pub fn expire_labels(&mut self) -> u32 {
        let now = Instant::now();
        let over = self.lasting.extract_if(.., |(_, until)| *until <= now);
        let over = over.fold(0, |bits, (label, _)| bits | 1 << label);
        self.how.labels &= !over;
        over
    }

    /// The record by which one of these was approved, while it is.
    pub fn approved_by(&self, names: &[String]) -> Option<String> {
        let mut given = self.approvals.iter().filter(|approval| names.contains(&approval.name));
        given.find_map(|approval| approval.record.clone())
    }

    /// Looks again which of the policy's facts hold.
    pub fn look_at_facts(&mut self) {
        self.how.facts = self.facts_of(&self.table);
    }

    /// Which facts of a table hold, a bit each.
    pub fn facts_of(&self, table: &Table) -> u64 {
        let run = self.recorder.run();
        let up = uptime_ns();
        let approvals = self.approvals.iter().filter(|approval| !approval.is_over(up));
        let approvals: Vec<&str> = approvals.map(|approval| approval.name.as_str()).collect();
        let who = Identity {
            agent_id: &run.agent_id,
            principal: &run.principal,
            role: self.role.as_deref(),
            environment: run.environment.as_deref(),
            task: self.task.as_deref(),
            approvals: &approvals,
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        table.facts_that_hold(&who, i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
    }
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    Running,
    /// Its command has ended, others of it live on; they are ended at this time, if ever.
    Leftover {
        until: Option<Instant>,
    },
    /// What was left has been killed, and is awaited until then.
    Killed {
        count: u64,
        until: Instant,
    },
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub attempts: u64,
    pub allow: u64,
    pub deny: u64,
    pub challenge: u64,
    pub blocked: u64,
    /// Records that could not be written.
    pub unrecorded: u64,
    pub dropped: u64,
    /// Attempts in the last whole second.
    pub rate: u64,
    before: u64,
}

impl Counts {
    pub fn count(&mut self, judgement: &Judgement) {
        self.attempts += 1;
        match judgement.verdict {
            Verdict::Allow => self.allow += 1,
            Verdict::Deny => self.deny += 1,
            Verdict::Challenge => self.challenge += 1,
        }
        self.blocked += u64::from(judgement.enforcement == crate::attempt::Enforcement::Blocked);
    }

    /// Called once a second.
    pub fn tick(&mut self) {
        self.rate = self.attempts - self.before;
        self.before = self.attempts;
    }
}
