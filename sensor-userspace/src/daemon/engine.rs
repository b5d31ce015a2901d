//! The loop: events, requests, and what falls due.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Result;
use sensor_common::event::Ring;

use super::canary::Canary;
use super::contents::{self, Files};
use super::desk::Desk;
use super::hosts::{self, Names};
use super::source::EventSource;
use super::state::{self, State};
use super::{Options, ledgers};
use crate::agent::{Numbers, Watch};
use crate::control::Peer;
use crate::control::protocol::{Answer, Kind, Refusal};
use crate::control::server::{Ask, Command};
use crate::kernel::{AgentNo, Totals};
use crate::record::Field;

/// Longest wait for events while an agent lives: what a request may have to wait.
const ROUND: Duration = Duration::from_millis(20);
/// The same while there is no agent: only signals are waited for beside requests.
const IDLE: Duration = Duration::from_millis(200);
const SECOND: Duration = Duration::from_secs(1);
/// An ephemeral daemon waits so long for a first agent, or for another after its last.
const FIRST: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_millis(300);

pub const RINGS: [(Ring, &str); 2] = [(Ring::Rare, "rare"), (Ring::Flood, "flood")];

pub struct Engine<S> {
    pub(super) source: S,
    pub(super) options: Options,
    /// Where cgroup v2 is mounted.
    pub(super) mount: PathBuf,
    pub(super) desk: Desk,
    pub(super) numbers: Numbers,
    pub(super) watch: Watch,
    pub(super) canary: Canary,
    /// Threads that finish what ended agents left to do.
    pub(super) beside: Vec<JoinHandle<()>>,
    pub(super) hosts: Names,
    pub(super) files: Files,
    /// Some agent's policy goes by earlier answers.
    answers_lag: bool,
    /// Asked for, and waiting until host names are known.
    deferred: Vec<Command>,
    /// A reload waits for them as well.
    pub(super) reload_again: bool,
    pub(super) state: State,
    pub(super) state_file: PathBuf,
    commands: Receiver<Command>,
    stopping: Option<Sender<Answer>>,
    told_to_stop: bool,
    /// Another daemon goes on with the agents.
    yields: bool,
    started: Instant,
    last_agent: Option<Instant>,
    second: Instant,
    heartbeat: Instant,
    heartbeats: u64,
    /// What the kernel side could not do, as last told.
    faults: Vec<(&'static str, u64)>,
}

impl<S: EventSource> Engine<S> {
    pub fn new(source: S, options: Options, mount: PathBuf, commands: Receiver<Command>) -> Result<Engine<S>> {
        let mut desk = Desk::new(source.standing().clone());
        if !options.ephemeral {
            // Better now than at the first record.
            desk.ledgers.join(&options.config, None)?;
        }
        for note in &desk.standing.notes {
            tracing::warn!("{note}");
        }
        let now = Instant::now();
        Ok(Engine {
            watch: Watch::new(&options.config.agents),
            canary: Canary::new(source.standing()),
            hosts: hosts::names(options.config.hosts_refresh),
            files: contents::files(),
            answers_lag: false,
            deferred: Vec::new(),
            reload_again: false,
            source,
            options,
            mount,
            desk,
            numbers: Numbers::default(),
            beside: Vec::new(),
            state: State::new(),
            state_file: state::path(),
            commands,
            stopping: None,
            told_to_stop: false,
            yields: false,
            started: now,
            last_agent: None,
            second: now,
            heartbeat: now,
            heartbeats: 0,
            // What is not told yet; a fault at the load is told at once.
            faults: Vec::new(),
        })
    }

    pub fn run(&mut self, stop: &AtomicBool, reload: &AtomicBool) -> Result<()> {
        self.look_for_agents();
        while !stop.load(Ordering::Relaxed) && !self.told_to_stop && !self.yields && !self.is_finished() {
            if self.desk.agents.is_empty() {
                let wait = if self.hosts.is_awaited() || self.files.is_awaited() { ROUND } else { IDLE };
                match self.commands.recv_timeout(wait.min(self.desk.ledgers.commit())) {
                    Ok(command) => self.obey(command),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
            } else {
                let desk = &mut self.desk;
                self.source.drain(ROUND, &mut |event| desk.event(event))?;
                self.end_approvals();
                self.stand();
            }
            while let Ok(command) = self.commands.try_recv() {
                self.obey(command);
            }
            if reload.swap(false, Ordering::Relaxed) {
                self.reload();
            }
            self.follow_answers();
            self.desk.tell_held(false);
            self.settle();
            if self.second.elapsed() >= SECOND {
                self.second = Instant::now();
                self.each_second();
            }
            self.desk.ledgers.commit();
            self.settle_accounts();
        }
        Ok(())
    }

    /// Tells what is under way, closes the ledgers, lets the kernel side go.
    pub fn end(mut self) -> Result<()> {
        let desk = &mut self.desk;
        let drained = self.source.drain_all(&mut |event| desk.event(event));
        self.desk.tell_held(true);
        let numbers: Vec<AgentNo> = self.desk.agents.keys().copied().collect();
        // Agents run on: enforcement ends with a daemon only where it was told so, or was there for them alone.
        let leave = self.source.survives()
            && (!self.options.ephemeral || self.yields)
            && !self.told_to_stop
            && !numbers.is_empty();
        for number in numbers {
            self.tell_losses(number, true);
            if !leave {
                self.stopped(number, "the daemon ended", &[]);
            }
        }
        let told: Vec<_> = self.desk.agents.values().map(|agent| (agent.number, agent.told)).collect();
        let closed = self.desk.ledgers.close_all();
        if closed.is_ok() {
            for (number, told) in told {
                self.source.settle(number, &told);
            }
        }
        for thread in self.beside.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a sink's last delivery died; what it had not delivered is in its ledger");
            }
        }
        let gone = Refusal::new(Kind::Ending, "the daemon has ended");
        for command in self.deferred.drain(..) {
            let _ = command.reply.send(Err(gone.clone()));
        }
        while let Ok(command) = self.commands.try_recv() {
            // Whoever asked may be gone as well.
            let _ = command.reply.send(Err(gone.clone()));
        }
        let Engine { source, stopping, state_file, .. } = self;
        let let_go = source.end(leave);
        if leave {
            tracing::info!("enforcement stays in force for the agents that live; `rgt unload` ends it");
        } else if let_go.is_ok() {
            state::remove(&state_file);
        }
        if let Some(reply) = stopping {
            let _ = reply.send(Ok(serde_json::json!({ "stopped": std::process::id() })));
        }
        drained.and(closed).and(let_go)
    }

    fn is_finished(&self) -> bool {
        self.options.ephemeral
            && self.desk.agents.is_empty()
            && self.deferred.is_empty()
            && self.beside.iter().all(JoinHandle::is_finished)
            && match self.last_agent {
                Some(at) => at.elapsed() >= LINGER,
                None => self.started.elapsed() >= FIRST,
            }
    }

    pub(super) fn agent_ended(&mut self) {
        self.last_agent = Some(Instant::now());
    }

    fn obey(&mut self, command: Command) {
        let Command { peer, ask, reply } = command;
        let answer = match ask {
            Ask::Exec(request) => match self.start_command(peer, &request) {
                Some(answer) => answer,
                None => return self.deferred.push(Command { peer, ask: Ask::Exec(request), reply }),
            },
            Ask::Apply(request) => match self.apply(peer, &request) {
                Some(answer) => answer,
                None => return self.deferred.push(Command { peer, ask: Ask::Apply(request), reply }),
            },
            Ask::Approve(request) => self.approve(peer, &request),
            Ask::Ended { agent, run_id, status } => {
                self.command_ended(agent, &run_id, &status, Some(reply));
                return;
            }
            Ask::Abandoned { agent, run_id } => {
                self.command_abandoned(agent, &run_id);
                return;
            }
            Ask::Resumed { .. } if self.is_governed(peer) => {
                Err(Refusal::new(Kind::Forbidden, "a governed process may not tell of its own end"))
            }
            Ask::Resumed { run_id, status } => {
                self.resumed_ended(peer, &run_id, &status, reply);
                return;
            }
            Ask::Yield => self.hand_over(peer),
            Ask::Agents => Ok(self.answer_agents(peer)),
            Ask::Status => Ok(self.answer_status(self.started)),
            Ask::Stop => match self.only_operators(
                peer,
                "only root may end enforcement: sudo rgt unload",
                "a governed process may not end its own governance",
            ) {
                Err(refusal) => Err(refusal),
                Ok(()) => {
                    self.told_to_stop = true;
                    self.stopping = Some(reply);
                    return;
                }
            },
        };
        // Whoever asked may be gone; an agent just started is then abandoned.
        let _ = reply.send(answer);
    }

    /// To the daemon that is to come after this one.
    fn hand_over(&mut self, peer: Peer) -> Answer {
        let refused = "only root outside every agent may take over from a daemon";
        self.only_operators(peer, refused, refused)?;
        if !self.options.ephemeral || !self.source.survives() {
            return Err(Refusal::failed("this daemon has nothing to hand over"));
        }
        self.yields = true;
        Ok(serde_json::json!({ "yields": std::process::id() }))
    }

    /// Takes in what the resolver said, and what files hold: what has changed is put in force, and who waited is served.
    fn follow_answers(&mut self) {
        let now = Instant::now();
        let moved = self.hosts.look(now) | self.files.look(now);
        if moved.changed {
            if let Err(error) = self.keep() {
                tracing::error!("{error:#}");
            }
            self.answers_lag = !self.swap_answers();
        }
        if moved.settled {
            if std::mem::take(&mut self.reload_again) {
                self.reload();
            }
            for command in std::mem::take(&mut self.deferred) {
                self.obey(command);
            }
        }
    }

    fn each_second(&mut self) {
        self.beside.retain(|thread| !thread.is_finished());
        self.look_for_agents();
        let numbers: Vec<AgentNo> = self.desk.agents.keys().copied().collect();
        for number in numbers {
            if let Some(agent) = self.desk.agents.get_mut(&number) {
                agent.counts.tick();
                agent.look_at_facts();
            }
            self.tell_losses(number, false);
            self.desk.tell_unrecorded(number, false);
        }
        if self.answers_lag {
            self.answers_lag = !self.swap_answers();
        }
        self.forget_earlier();
        self.forget_unasked();
        self.tell_faults();
        if !self.desk.agents.is_empty() {
            self.watch_denials();
        } else if let Err(error) = self.source.rest() {
            tracing::error!("calls are still looked at, though nobody is governed: {error:#}");
        }
        if self.heartbeat.elapsed() >= self.options.config.heartbeat {
            self.heartbeat = Instant::now();
            self.beat();
        }
    }

    /// Tells the kernel side how agents stand where that changed.
    pub(super) fn stand(&mut self) {
        for agent in self.desk.agents.values_mut() {
            let over = agent.expire_labels();
            if over != 0 {
                self.source.forget_labels(agent.number, over);
            }
            if agent.how_told != Some(agent.how) {
                self.source.stand(agent.number, &agent.how);
                agent.how_told = Some(agent.how);
            }
        }
    }

    /// Writes a record where the kernel side met one of its limits since the last look.
    pub(super) fn tell_faults(&mut self) {
        let faults = match self.source.faults() {
            Ok(faults) => faults,
            Err(error) => return tracing::error!("the kernel's faults could not be read: {error:#}"),
        };
        let known = |name: &str| self.faults.iter().find(|(told, _)| *told == name).map_or(0, |(_, count)| *count);
        if faults.iter().all(|(name, count)| *count == known(name)) {
            return;
        }
        let fields: Vec<_> =
            faults.iter().filter(|(_, count)| *count > 0).map(|(name, count)| (*name, Field::Uint(*count))).collect();
        self.desk.ledgers.each(|ledger| {
            if let Err(error) = ledger.audit("faults", &fields) {
                tracing::error!("ledger {}: {error:#}", ledger.dir().display());
            }
        });
        self.faults = faults;
    }

    fn beat(&mut self) {
        self.heartbeats += 1;
        let node = ledgers::node_name(&self.options.config);
        let fields = [
            ("node_name", Field::Str(&node)),
            ("agents", Field::Uint(self.desk.agents.len() as u64)),
            ("beat", Field::Uint(self.heartbeats)),
            ("uptime_s", Field::Uint(self.started.elapsed().as_secs())),
            ("mode", Field::Str(self.desk.standing.mode.name())),
            ("degraded", Field::Bool(self.desk.standing.degraded)),
            ("stray_events", Field::Uint(self.desk.strays)),
        ];
        self.desk.ledgers.each(|ledger| {
            if let Err(error) = ledger.heartbeat(&fields) {
                tracing::error!("ledger {}: {error:#}", ledger.dir().display());
            }
        });
    }

    pub(super) fn totals(&mut self, number: AgentNo, ring: Ring) -> Option<Totals> {
        let totals = self.source.totals(number, ring);
        totals.inspect_err(|error| tracing::error!("the kernel's counts could not be read: {error:#}")).ok()
    }

    /// Writes a gap record where the kernel made more than arrived. `drained`: all that was made has been
    /// handed over, so that the numbers are exact.
    pub(super) fn tell_losses(&mut self, number: AgentNo, drained: bool) {
        let mut drained = drained;
        for (index, (ring, _)) in RINGS.into_iter().enumerate() {
            let Some(told) = self.desk.agents.get(&number).map(|agent| agent.told[index]) else {
                return;
            };
            let Some(mut now) = self.totals(number, ring) else {
                return;
            };
            if !drained {
                if now.dropped == told.dropped {
                    continue;
                }
                let desk = &mut self.desk;
                if let Err(error) = self.source.drain_all(&mut |event| desk.event(event)) {
                    tracing::error!("events could not be read: {error:#}");
                    return;
                }
                drained = true;
                let Some(again) = self.totals(number, ring) else {
                    return;
                };
                now = again;
            }
            let reason = if now.dropped > told.dropped { "the ring was full" } else { "events did not arrive" };
            self.tell_gap(number, index, now, reason);
        }
    }

    /// Writes a gap record of what is missing in `now` and was not told before.
    pub(super) fn tell_gap(&mut self, number: AgentNo, index: usize, now: Totals, reason: &str) {
        let Some(agent) = self.desk.agents.get_mut(&number) else {
            return;
        };
        let told = agent.told[index];
        let Some(gap) = difference(told, now) else {
            return;
        };
        let (_, name) = RINGS[index];
        agent.told[index] = now;
        agent.counts.dropped += gap.made.saturating_sub(gap.received);
        let run = agent.recorder.run().clone();
        let Some(ledger) = self.desk.ledgers.writing(&agent.ledger, true) else {
            return;
        };
        if let Err(error) = ledger.gap(Some(&run), name, gap.made, gap.dropped, gap.received, reason) {
            tracing::error!("a loss of {} events could not be told: {error:#}", gap.dropped);
            agent.told[index] = told;
        }
    }
}

/// What was lost since `told`; none if all that was made arrived.
pub(super) fn difference(told: Totals, now: Totals) -> Option<Totals> {
    let gap = Totals {
        made: now.made.saturating_sub(told.made),
        dropped: now.dropped.saturating_sub(told.dropped),
        received: now.received.saturating_sub(told.received),
    };
    (gap.dropped > 0 || gap.made != gap.received + gap.dropped).then_some(gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_told_once() {
        let told = Totals { made: 10, dropped: 1, received: 9 };
        assert_eq!(difference(told, Totals { made: 12, dropped: 1, received: 11 }), None);
        let gap = Totals { made: 5, dropped: 2, received: 3 };
        assert_eq!(difference(told, Totals { made: 15, dropped: 3, received: 12 }), Some(gap));
        // Neither dropped nor received.
        let gap = Totals { made: 1, dropped: 0, received: 0 };
        assert_eq!(difference(told, Totals { made: 11, dropped: 1, received: 9 }), Some(gap));
    }
}
