//! How a run ends: its command's end, what it left behind, its last record.

use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::agent::Phase;
use super::engine::Engine;
use super::source::EventSource;
use super::stream::{FINISH, Stream};
use crate::config::Config;
use crate::control::Peer;
use crate::control::protocol::{Answer, Kind, Refusal};
use crate::kernel::AgentNo;
use crate::record::Field;

/// What a command leaves behind under an ephemeral daemon gets so long.
const GRACE: Duration = Duration::from_secs(5);
/// What was killed is gone after this, or outside of the cgroup.
const DYING: Duration = Duration::from_secs(2);

impl<S: EventSource> Engine<S> {
    /// The command of `agent` has ended; `reply` hears when all of it is in the ledger.
    pub(super) fn command_ended(&mut self, agent: AgentNo, run_id: &str, status: &str, reply: Option<Sender<Answer>>) {
        self.drain_all();
        let ephemeral = self.options.ephemeral;
        let Some(known) = self.desk.agents.get_mut(&agent).filter(|known| known.recorder.run().run_id == run_id) else {
            if let Some(reply) = reply {
                let _ = reply.send(Err(Refusal::new(Kind::Failed, "the agent is not known any more")));
            }
            return;
        };
        known.waiting = reply;
        known.phase = Phase::Leftover { until: ephemeral.then(|| Instant::now() + GRACE) };
        if self.source.live_tasks(agent) == 0 {
            self.finish(agent, "its command ended", status);
            return;
        }
        let (own_ledger, left) = match self.desk.agents.get(&agent) {
            Some(known) => (known.own_ledger, known.processes.len() as u64),
            None => return,
        };
        let fields = [
            ("reason", Field::Str("its command ended, processes of it live on")),
            ("status", Field::Str(status)),
            ("left", Field::Uint(left)),
        ];
        self.desk.sandbox(agent, "release", &fields);
        match (own_ledger, ephemeral) {
            // What is left is ended first: its ledger is closed after that.
            (true, true) => {}
            (true, false) => self.move_to_common_ledger(agent),
            (false, _) => {
                let flushed = self.desk.ledger_of(agent).map_or(Ok(()), |key| self.desk.ledgers.flush(&key));
                self.answer(agent, flushed.map(|()| None));
            }
        }
    }

    /// The same, told by whoever started it with the daemon before. An agent that is not known has been
    /// finished: all of it is in its ledger.
    pub(super) fn resumed_ended(&mut self, peer: Peer, run_id: &str, status: &str, reply: Sender<Answer>) {
        let known = self
            .desk
            .agents
            .values()
            .find(|agent| agent.recorder.run().run_id == run_id && (peer.is_root() || agent.uid == peer.uid));
        match known.map(|agent| agent.number) {
            Some(number) => self.command_ended(number, run_id, status, Some(reply)),
            None => drop(reply.send(Ok(json!({ "known": false })))),
        }
    }

    /// Whoever waited for the command was killed: the command goes on, and nobody will tell of its end.
    pub(super) fn command_abandoned(&mut self, agent: AgentNo, run_id: &str) {
        let ephemeral = self.options.ephemeral;
        let known = self.desk.agents.get_mut(&agent).filter(|known| known.recorder.run().run_id == run_id);
        if let Some(known) = known.filter(|known| known.phase == Phase::Running) {
            // Without its `exec` it is left over like any other process, but the command itself is not
            // ended for that: only what outlives it.
            let root = known.root;
            known.phase = Phase::Leftover { until: None };
            if ephemeral && root.is_none_or(|pid| !known.processes.contains(pid)) {
                known.phase = Phase::Leftover { until: Some(Instant::now() + GRACE) };
            }
        }
    }

    /// Ends the runs of which nothing lives any more, and what has had its time.
    pub(super) fn settle(&mut self) {
        let numbers: Vec<AgentNo> =
            self.desk.agents.values().filter(|agent| agent.phase != Phase::Running).map(|agent| agent.number).collect();
        for number in numbers {
            if self.source.live_tasks(number) == 0 {
                self.finish(number, "its last process ended", "");
                continue;
            }
            let ephemeral = self.options.ephemeral;
            let Some(agent) = self.desk.agents.get_mut(&number) else {
                continue;
            };
            match agent.phase {
                Phase::Leftover { until: Some(until) } if Instant::now() >= until => self.end_leftovers(number),
                Phase::Leftover { until: None }
                    if ephemeral && agent.root.is_none_or(|pid| !agent.processes.contains(pid)) =>
                {
                    agent.phase = Phase::Leftover { until: Some(Instant::now() + GRACE) };
                }
                Phase::Killed { until, .. } if Instant::now() >= until => {
                    tracing::error!(
                        "agent {}: processes of it live on outside of its cgroup and are no longer governed",
                        agent.recorder.run().agent_id
                    );
                    self.finish(number, "processes outside of its cgroup live on, ungoverned", "");
                }
                _ => {}
            }
        }
    }

    fn end_leftovers(&mut self, number: AgentNo) {
        let Some(agent) = self.desk.agents.get_mut(&number) else {
            return;
        };
        let Some(own) = &agent.own else { return };
        let count = own.pids().len() as u64;
        own.kill();
        agent.phase = Phase::Killed { count, until: Instant::now() + DYING };
        tracing::info!(
            "agent {}: {count} processes that its command left behind were killed",
            agent.recorder.run().agent_id
        );
    }

    /// With a daemon that stays, what is left goes on in the daemon's own ledger: the other one is closed.
    fn move_to_common_ledger(&mut self, number: AgentNo) {
        let config: Config = self.options.config.clone();
        let joined = self.desk.ledgers.join(&config, None);
        let Some(agent) = self.desk.agents.get_mut(&number) else {
            return;
        };
        let (actions, trajectory) = agent.recorder.so_far();
        let answer = match joined {
            Ok(key) => {
                for kept in self.state.agents.iter_mut().filter(|kept| kept.number == number) {
                    kept.ledger.clone_from(&key);
                    kept.own_ledger = false;
                }
                let old = std::mem::replace(&mut agent.ledger, key);
                agent.own_ledger = false;
                // Outcomes would name records of another chain.
                agent.pending.clear();
                self.desk.ledgers.leave(&old)
            }
            Err(error) => Err(error),
        };
        // Whoever has this ledger alone can go on from there.
        let fields = [
            ("reason", Field::Str("the ledger of its command is closed; what the command left behind is told here")),
            ("actions", Field::Uint(actions)),
            ("behavioral_trajectory", Field::Raw(&trajectory)),
        ];
        self.desk.sandbox(number, "adopt", &fields);
        if let Err(error) = self.keep() {
            tracing::error!("{error:#}");
        }
        self.answer(number, answer);
    }

    /// Answers whoever waits for the command's end, once the ledger's sink has delivered what it can.
    fn answer(&mut self, number: AgentNo, left: Result<Option<Stream>>) {
        let Some(agent) = self.desk.agents.get_mut(&number) else {
            return;
        };
        let reply = agent.waiting.take();
        let counts = agent.counts;
        let say = move |reply: Option<Sender<Answer>>, warning: Option<String>| {
            if let Some(reply) = reply {
                // Whoever waited may have been killed by now.
                let _ = reply.send(Ok(json!({ "attempts": counts.attempts, "deny": counts.deny, "dropped": counts.dropped, "warning": warning })));
            } else if let Some(warning) = warning {
                tracing::warn!("{warning}");
            }
        };
        match left {
            Ok(None) => say(reply, None),
            Ok(Some(stream)) => self.aside(move || {
                let late = stream.finish(FINISH).err();
                say(reply, late.map(|error| format!("{error:#}")));
            }),
            Err(error) => {
                if let Some(reply) = reply {
                    let _ = reply.send(Err(Refusal::failed(format!("{error:#}"))));
                }
            }
        }
    }

    /// What may take its time does so beside the loop; the daemon does not end before it.
    fn aside(&mut self, work: impl FnOnce() + Send + 'static) {
        match std::thread::Builder::new().name("finish".to_owned()).spawn(work) {
            Ok(thread) => self.beside.push(thread),
            Err(error) => tracing::error!("a sink could not be finished: {error}"),
        }
    }

    /// Nothing of it lives: its last records, its ledger, its cgroup, its number.
    fn finish(&mut self, number: AgentNo, reason: &str, status: &str) {
        self.drain_all();
        self.tell_losses(number, true);
        self.tell_faults();
        self.desk.tell_unrecorded(number, true);
        let mut fields = Vec::new();
        if !status.is_empty() {
            fields.push(("status", Field::Str(status)));
        }
        let mut reason = reason;
        if let Some(Phase::Killed { count, until }) = self.desk.agents.get(&number).map(|agent| &agent.phase) {
            fields.push(("killed", Field::Uint(*count)));
            if Instant::now() < *until {
                reason = "what its command left behind was killed: there is no daemon that stays";
            }
        }
        self.stopped(number, reason, &fields);
        let left = self.desk.ledger_of(number).map_or(Ok(None), |key| self.desk.ledgers.leave(&key));
        self.answer(number, left);
        self.dismiss(number);
    }

    /// The record of the end.
    pub(super) fn stopped(&mut self, number: AgentNo, reason: &str, more: &[(&str, Field<'_>)]) {
        let Some(agent) = self.desk.agents.get(&number) else {
            return;
        };
        let counts = agent.counts;
        let mut fields = vec![
            ("reason", Field::Str(reason)),
            ("attempts", Field::Uint(counts.attempts)),
            ("allow", Field::Uint(counts.allow)),
            ("deny", Field::Uint(counts.deny)),
            ("challenge", Field::Uint(counts.challenge)),
            ("dropped", Field::Uint(counts.dropped)),
        ];
        fields.extend(more.iter().cloned());
        self.desk.sandbox(number, "stop", &fields);
    }

    /// Forgets an agent whose ledger has been left.
    pub(super) fn dismiss(&mut self, number: AgentNo) {
        let Some(agent) = self.desk.agents.remove(&number) else {
            return;
        };
        if let Err(error) = self.source.release(number) {
            tracing::error!("agent {}: {error:#}", agent.recorder.run().agent_id);
        }
        if let Some(own) = &agent.own
            && !own.remove()
        {
            tracing::warn!("the cgroup {} could not be removed: something lives in it", own.path().display());
        }
        self.forget(number);
        self.numbers.give_back(number);
        self.agent_ended();
    }

    /// Configured agents whose cgroup is gone.
    pub(super) fn settle_configured(&mut self) {
        for agent in self.desk.agents.values_mut() {
            if agent.own.is_none() && agent.phase == Phase::Running && !agent.cgroup.exists() {
                agent.phase = Phase::Leftover { until: None };
            }
        }
    }

    pub(super) fn drain_all(&mut self) {
        let desk = &mut self.desk;
        if let Err(error) = self.source.drain_all(&mut |event| desk.event(event)) {
            tracing::error!("events could not be read: {error:#}");
        }
    }
}
