//! What becomes of an event: it finds its agent, is judged and recorded.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::agent::{Agent, MAX_PENDING};
use super::ledgers::Ledgers;
use super::{judgement, mask};
use crate::attempt::{End, Enforcement, Verdict};
use crate::kernel::{AgentNo, Event, Seen, Standing, is_canary};
use crate::policy::{Circumstances, Limits};
use crate::record::Field;

pub struct Desk {
    pub agents: HashMap<AgentNo, Agent>,
    pub ledgers: Ledgers,
    pub standing: Standing,
    /// Events of agents that are no more.
    pub strays: u64,
}

impl Desk {
    pub fn new(standing: Standing) -> Desk {
        Desk { agents: HashMap::new(), ledgers: Ledgers::default(), standing, strays: 0 }
    }

    pub fn event(&mut self, event: Event) {
        let number = match &event {
            Event::Attempt(seen) => seen.agent,
            Event::Fork { agent, .. }
            | Event::Join { agent, .. }
            | Event::Exec { agent, .. }
            | Event::Exit { agent, .. } => *agent,
        };
        let Some(agent) = self.agents.get_mut(&number) else {
            self.strays += u64::from(!is_canary(number));
            return;
        };
        match event {
            Event::Attempt(seen) => {
                let known = agent.held.remove(&seen.key).is_some() || agent.pending.contains_key(&seen.key);
                let waits = seen.attempt.end == End::Pending && !known && !agent.longer.is_zero();
                if waits && agent.held.len() < MAX_PENDING {
                    agent.held.insert(seen.key, (Instant::now() + agent.longer, *seen));
                } else {
                    attempt(agent, *seen, &mut self.ledgers, &self.standing);
                }
            }
            Event::Fork { parent, pid, thread, .. } => agent.processes.fork(parent, pid, thread),
            Event::Join { pid, .. } => agent.processes.join(pid),
            Event::Exec { pid, exe, .. } => agent.processes.exec(pid, &exe),
            Event::Exit { pid, .. } => agent.processes.exit(pid),
        }
    }

    /// Tells of attempts whose outcome has been waited for long enough; of all that wait where `all`.
    pub fn tell_held(&mut self, all: bool) {
        for agent in self.agents.values_mut().filter(|agent| !agent.held.is_empty()) {
            let now = Instant::now();
            let due = agent.held.extract_if(|_, (at, _)| all || *at <= now);
            let due: Vec<Seen> = due.map(|(_, (_, seen))| seen).collect();
            for seen in due {
                attempt(agent, seen, &mut self.ledgers, &self.standing);
            }
        }
    }

    /// A `sandbox.event` of this agent; what cannot be written is counted and told in the log.
    pub fn sandbox(&mut self, number: AgentNo, kind: &str, fields: &[(&str, Field<'_>)]) {
        let Some(agent) = self.agents.get_mut(&number) else {
            return;
        };
        let Some(ledger) = self.ledgers.writing(&agent.ledger, true) else {
            return;
        };
        if let Err(error) = agent.recorder.sandbox(kind, fields, ledger) {
            unrecorded(&mut agent.counts.unrecorded, &agent.ledger, &error);
        }
    }

    /// Tells of records that could not be made: as soon as one can be, and at the end of an agent in any case.
    pub fn tell_unrecorded(&mut self, number: AgentNo, at_its_end: bool) {
        let Some(agent) = self.agents.get_mut(&number) else {
            return;
        };
        if at_its_end || !self.ledgers.is_stuck(&agent.ledger) {
            tell_unrecorded(agent, &mut self.ledgers);
        }
    }

    /// Whether a process is an agent's, wherever it stands now.
    pub fn governs(&self, pid: u32, cgroup: Option<&Path>) -> bool {
        self.agents
            .values()
            .any(|agent| agent.processes.contains(pid) || cgroup.is_some_and(|path| path.starts_with(&agent.cgroup)))
    }

    pub fn ledger_of(&self, number: AgentNo) -> Option<PathBuf> {
        self.agents.get(&number).map(|agent| agent.ledger.clone())
    }
}

fn unrecorded(count: &mut u64, ledger: &Path, error: &anyhow::Error) {
    // Once a power of two: a full disk must not fill the log as well.
    *count += 1;
    if count.is_power_of_two() {
        tracing::error!("ledger {}: {error:#}; {count} records of this agent are lost so far", ledger.display());
    }
}

fn attempt(agent: &mut Agent, mut seen: Seen, ledgers: &mut Ledgers, standing: &Standing) {
    if let Some(argv) = &mut seen.attempt.argv {
        mask::argv(&mut argv.args);
    }
    seen.attempt.exe_chain = agent.processes.chain(seen.attempt.pid, seen.execed.as_deref());
    if seen.attempt.exe_chain.is_empty() {
        seen.attempt.incomplete.push("exe");
    }
    // By the wall clock: what hooks judge is counted by the kernel's own.
    let seconds = seen.attempt.at / 1_000_000_000;
    let bytes = match seen.attempt.end {
        // Which says how many messages.
        _ if seen.attempt.syscall == "sendmmsg" => 0,
        End::Returned(sent) => u64::try_from(sent).unwrap_or(0),
        _ => 0,
    };
    let how = Circumstances {
        limits: Limits::Counted { tally: &agent.limits, seconds, bytes },
        answered: &seen.answered,
        ..agent.how
    };
    let (mut judgement, consequences) = judgement::judge(&seen, agent.table_of(&seen), standing, &how);
    // One whose outcome was awaited counts but once.
    if !agent.pending.contains_key(&seen.key) {
        consequences.counted.iter().for_each(|counted| agent.limits.count(counted, seconds, bytes));
    }
    // What did not happen sets nothing.
    if judgement.goes_ahead() && !seen.attempt.end.is_refused() {
        agent.undergo(&consequences);
    } else {
        judgement.labels.clear();
    }
    if let Some(asked) = judgement.approval.as_mut().filter(|asked| asked.given) {
        asked.id = agent.approved_by(&asked.names);
    }
    let urgent = judgement.verdict != Verdict::Allow || judgement.enforcement == Enforcement::Blocked;
    let Some(ledger) = ledgers.writing(&agent.ledger, urgent) else {
        return;
    };
    // A call that did not return in time has been recorded: this is how it ended.
    let recorded = match agent.pending.remove(&seen.key) {
        Some(of) => agent.recorder.outcome(&of, &seen.attempt, &judgement, ledger).map(|_| ()),
        None => {
            agent.counts.count(&judgement);
            agent.recorder.attempt(&seen.attempt, &judgement, ledger).map(|id| {
                if seen.attempt.end == End::Pending && agent.pending.len() < MAX_PENDING {
                    agent.pending.insert(seen.key, id);
                }
            })
        }
    };
    // What the next attempt is judged by, and the kernel is told.
    agent.how.risk = agent.recorder.risk();
    match recorded {
        Ok(()) => tell_unrecorded(agent, ledgers),
        Err(error) => unrecorded(&mut agent.counts.unrecorded, &agent.ledger, &error),
    }
}

/// How many records could not be made, where there were some.
fn tell_unrecorded(agent: &mut Agent, ledgers: &mut Ledgers) {
    if agent.counts.unrecorded == 0 {
        return;
    }
    let Some(ledger) = ledgers.writing(&agent.ledger, true) else {
        return;
    };
    let lost = agent.counts.unrecorded;
    match ledger.gap(Some(agent.recorder.run()), "ledger", lost, lost, 0, "the ledger could not be written") {
        Ok(_) => agent.counts.unrecorded = 0,
        Err(error) => tracing::error!("ledger {}: {error:#}", agent.ledger.display()),
    }
}
