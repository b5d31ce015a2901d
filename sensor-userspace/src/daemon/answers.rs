//! What the daemon tells of itself.

use std::time::{Instant, UNIX_EPOCH};

use serde_json::{Value, json};

use super::agent::{Agent, Phase};
use super::approve::Approval;
use super::engine::Engine;
use super::source::EventSource;
use crate::control::Peer;
use crate::kernel::Standing;

impl<S: EventSource> Engine<S> {
    /// The agents that the peer may see: root all, others their own.
    pub(super) fn answer_agents(&mut self, peer: Peer) -> Value {
        let mut agents: Vec<Value> = Vec::new();
        let standing = &self.desk.standing;
        for agent in self.desk.agents.values() {
            if peer.is_root() || agent.uid == peer.uid && agent.own.is_some() {
                agents.push(describe(agent, standing, self.source.live_tasks(agent.number)));
            }
        }
        agents.sort_by_key(|agent| agent["number"].as_u64());
        Value::Array(agents)
    }

    pub(super) fn answer_status(&self, started: Instant) -> Value {
        let standing = &self.desk.standing;
        json!({
            "pid": std::process::id(),
            "ephemeral": self.options.ephemeral,
            "mode": standing.mode.name(),
            "degraded": standing.degraded,
            "notes": standing.notes,
            "agents": self.desk.agents.len(),
            "uptime_s": started.elapsed().as_secs(),
            "ledger": self.options.config.ledger_dir.to_string_lossy(),
        })
    }
}

fn describe(agent: &Agent, standing: &Standing, live: u32) -> Value {
    let run = agent.recorder.run();
    let counts = &agent.counts;
    let started = agent.started_wall.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    json!({
        "number": agent.number,
        "agent_id": run.agent_id,
        "run_id": run.run_id,
        "trace_id": run.trace_id,
        "instance": run.instance,
        "principal": run.principal,
        "pid": agent.root,
        "phase": match agent.phase {
            Phase::Running => "running",
            Phase::Leftover { .. } => "left",
            Phase::Killed { .. } => "killed",
        },
        "mode": standing.mode_of(&agent.table).name(),
        "policy": agent.table.name,
        "policy_hash": agent.table.hash,
        "ledger": agent.ledger.to_string_lossy(),
        "tasks": live,
        "started": started,
        "uptime_s": agent.started.elapsed().as_secs(),
        "risk": agent.recorder.risk(),
        "approvals": agent.approvals.iter().map(Approval::to_json).collect::<Vec<Value>>(),
        "attempts": counts.attempts,
        "rate": counts.rate,
        "allow": counts.allow,
        "deny": counts.deny,
        "challenge": counts.challenge,
        "blocked": counts.blocked,
        "dropped": counts.dropped,
    })
}
