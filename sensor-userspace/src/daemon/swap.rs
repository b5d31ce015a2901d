//! Another policy for agents that run: compiled and loaded beside the one in force, put in its place by one write an
//! agent, and told in a signed record. What cannot be compiled, loaded or written down changes nothing.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::asked::For;
use super::contents::contents;
use super::engine::Engine;
use super::hosts::addresses;
use super::source::EventSource;
use super::state::Written;
use crate::control::Peer;
use crate::control::protocol::{Answer, ApplyRequest, Refusal};
use crate::kernel::AgentNo;
use crate::policy::{self, Policy, Table};
use crate::record::Field;
use crate::record::time::now;

/// Addresses of host names that a record shows; it counts the others.
const MAX_TOLD: usize = 64;

/// Answers that change are put in force as often as this, for one agent.
const BETWEEN_ANSWERS: Duration = Duration::from_secs(5);

/// Why a policy is replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// `rgt policy apply`.
    Operator(Peer),
    /// SIGHUP.
    Reload,
    /// Its host names stand for other addresses.
    Hosts,
    /// Files that its rules ask about hold something else.
    Contents,
}

/// An agent's next policy, ready to be put in force.
pub(super) struct Next {
    pub number: AgentNo,
    pub table: Table,
    /// None: the text is the same.
    pub written: Option<Written>,
}

impl<S: EventSource> Engine<S> {
    /// `rgt policy apply`. None: its host names are still being asked for.
    pub(super) fn apply(&mut self, peer: Peer, request: &ApplyRequest) -> Option<Answer> {
        let allowed = self.only_operators(
            peer,
            "only root may put another policy in force for agents that run: use sudo",
            "a governed process may not change what it is governed by",
        );
        if let Err(refusal) = allowed {
            return Some(Err(refusal));
        }
        match self.replace(peer, request) {
            Ok(done) => done.map(Ok),
            Err(error) => Some(Err(Refusal::failed(format!("{error:#}")))),
        }
    }

    fn replace(&mut self, peer: Peer, request: &ApplyRequest) -> Result<Option<serde_json::Value>> {
        let numbers = self.agents_named(&request.agent);
        if numbers.is_empty() {
            return Err(anyhow!("no agent is called `{}`; `rgt agents` says who runs", request.agent));
        }
        let written = Written {
            name: request.policy_name.clone(),
            text: request.policy.clone(),
            includes: request.policy_includes.clone(),
        };
        let policy = written.parse()?;
        if !self.answers_are_known(&policy, For::Operators)? {
            return Ok(None);
        }
        // All are compiled before the first is put in force: a bad policy is nobody's.
        let mut next = Vec::new();
        for number in numbers {
            next.push(self.next(number, &policy, Some(written.clone()))?);
        }
        let mut swapped = Vec::new();
        for next in next {
            let (number, hash) = (next.number, next.table.hash.clone());
            let before = self.swap(next, Cause::Operator(peer)).with_context(|| match swapped.len() {
                0 => "nothing is changed".to_owned(),
                done => format!("the policy is in force for {done} agents, and not for the others of this name"),
            })?;
            let run_id = self.desk.agents.get(&number).map(|agent| agent.recorder.run().run_id.clone());
            swapped.push(json!({ "number": number, "run_id": run_id, "policy_hash": hash, "replaced_hash": before }));
        }
        Ok(Some(json!({ "policy": policy.name, "agents": swapped })))
    }

    pub(super) fn agents_named(&self, name: &str) -> Vec<AgentNo> {
        let named = self.desk.agents.values().filter(|agent| agent.recorder.run().agent_id == name);
        let mut numbers: Vec<AgentNo> = named.map(|agent| agent.number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Compiles a policy as this agent's next one: by its variables, its mode, and its labels' bits.
    pub(super) fn next(&self, number: AgentNo, policy: &Policy, written: Option<Written>) -> Result<Next> {
        let agent = self.desk.agents.get(&number).ok_or_else(|| anyhow!("the agent is gone"))?;
        let kept = self.state.agents.iter().find(|kept| kept.number == number);
        let kept = kept.ok_or_else(|| anyhow!("the agent is gone"))?;
        let mut config = self.options.config.clone();
        config.set_all(&kept.sets)?;
        let mut table = self.suit(policy, &kept.variables(), &config, kept.wanted)?;
        table.renumber(&agent.table.labels, &agent.table.facts, agent.busy()).map_err(|error| anyhow!(error))?;
        Ok(Next { number, table, written })
    }

    /// Puts it in force; the hash of the policy before.
    pub(super) fn swap(&mut self, next: Next, cause: Cause) -> Result<String> {
        let Next { number, table, written } = next;
        let observe = table.observes();
        // Whichever daemon comes next must find what is in force: written down first, taken back where it fails.
        let before = self.state.agents.clone();
        for kept in self.state.agents.iter_mut().filter(|kept| kept.number == number) {
            kept.labels.clone_from(&table.labels);
            kept.observe = observe;
            if let Some(written) = &written {
                kept.policy = Some(written.clone());
            }
        }
        let kept = if self.state.agents == before { Ok(()) } else { self.keep() };
        let set = kept.and_then(|()| self.put_in_force(number, &table, observe));
        let generation = match set {
            Ok(generation) => generation,
            Err(error) => {
                if self.state.agents != before {
                    self.state.agents = before;
                    self.keep().unwrap_or_else(|error| tracing::error!("{error:#}"));
                }
                if let Some(agent) = self.desk.agents.get_mut(&number) {
                    agent.look_at_facts();
                }
                return Err(error);
            }
        };
        let agent = self.desk.agents.get_mut(&number).ok_or_else(|| anyhow!("the agent is gone"))?;
        let (name, hash) = (agent.table.name.clone(), agent.table.hash.clone());
        agent.replace_table(table, generation, now());
        self.tell_swap(number, &name, &hash, cause);
        Ok(hash)
    }

    fn put_in_force(&mut self, number: AgentNo, table: &Table, observe: bool) -> Result<u64> {
        let agent = self.desk.agents.get_mut(&number).ok_or_else(|| anyhow!("the agent is gone"))?;
        // Facts of both policies hold at the moment of the switch: no bit means two things.
        agent.how.facts = agent.facts_of(table);
        self.source.stand(number, &agent.how);
        // A hook sets a label before its call's outcome is known: of one that failed the bit stands, and must not become another's.
        let given = table.labels.iter().enumerate().filter(|(bit, name)| agent.table.labels.get(*bit) != Some(name));
        let given = given.fold(0, |bits, (bit, _)| bits | 1_u32 << bit) & !agent.how.labels;
        self.source.forget_labels(number, given);
        self.source.set_policy(number, table, observe).context("the policy could not be loaded into the kernel")
    }

    fn tell_swap(&mut self, number: AgentNo, name: &str, hash: &str, cause: Cause) {
        let Some(agent) = self.desk.agents.get_mut(&number) else { return };
        let run = agent.recorder.run().clone();
        tracing::info!("agent {}: policy {} is in force in place of {name}", run.agent_id, agent.table.name);
        let mut fields = vec![
            (
                "by",
                Field::Str(match cause {
                    Cause::Operator(_) => "operator",
                    Cause::Reload => "reload",
                    Cause::Hosts => "hosts",
                    Cause::Contents => "contents",
                }),
            ),
            ("policy", Field::Str(&agent.table.name)),
            ("policy_hash", Field::Str(&agent.table.hash)),
            ("replaced", Field::Str(name)),
            ("replaced_hash", Field::Str(hash)),
            ("mode", Field::Str(self.desk.standing.mode_of(&agent.table).name())),
        ];
        if let Cause::Operator(peer) = cause {
            fields.push(("uid", Field::Uint(peer.uid.into())));
            fields.push(("pid", Field::Uint(peer.pid.into())));
        }
        let named = agent.table.named.iter().take(MAX_TOLD);
        let told: Vec<String> = named.map(|(address, names)| policy::told(*address, names)).collect();
        if !told.is_empty() {
            fields.push(("addresses", Field::Uint(agent.table.named.len() as u64)));
            fields.push(("hosts", Field::Strings(told.iter().map(String::as_str).collect())));
        }
        let read = read_files(&agent.table);
        tell_files(&agent.table, &read, &mut fields);
        let Some(ledger) = self.desk.ledgers.writing(&agent.ledger, true) else { return };
        if let Err(error) = ledger.identity(&run, "policy", &fields) {
            tracing::error!("agent {}: the change of its policy could not be recorded: {error:#}", run.agent_id);
        }
    }

    /// Asks for what the policy's names stand for and its files hold; whether an answer, or none in time, is there for each.
    pub(super) fn answers_are_known(&mut self, policy: &Policy, whose: For) -> Result<bool> {
        let (now, places) = (Instant::now(), policy.pinned());
        let hosts = self.hosts.want(&policy.host_names(), whose, now)?;
        Ok(self.files.want(&places.iter().map(String::as_str).collect(), whose, now)? && hosts)
    }

    /// The same for agents that run already, and are governed without an answer until there is one.
    pub(super) fn ask_in_passing(&mut self, policy: &Policy) {
        if let Err(error) = self.answers_are_known(policy, For::Operators) {
            tracing::error!("policy {}: {error:#}; what it asks about is unknown until there is room", policy.name);
        }
    }

    /// Gives agents whose policies go by earlier answers tables that know the new ones; whether all have theirs.
    pub(super) fn swap_answers(&mut self) -> bool {
        let numbers: Vec<AgentNo> = self.desk.agents.keys().copied().collect();
        let mut done = true;
        for number in numbers {
            let Some(agent) = self.desk.agents.get_mut(&number) else { continue };
            let table = &agent.table;
            let hosts = addresses(&self.hosts, table.hosts.names());
            let contents = contents(&self.files, table.contents.keys());
            let cause = match (table.hosts == hosts, table.contents == contents) {
                (true, true) => continue,
                (false, _) => Cause::Hosts,
                (true, false) => Cause::Contents,
            };
            // Whoever changes what an answer is, as often as he can, is followed no faster.
            if agent.answers_put.is_some_and(|put| put.elapsed() < BETWEEN_ANSWERS) {
                done = false;
                continue;
            }
            agent.answers_put = Some(Instant::now());
            if let Err(error) = self.swap_answers_of(number, cause) {
                tracing::error!("agent number {number}: its policy goes by the answers before: {error:#}");
                done = false;
            }
        }
        done
    }

    fn swap_answers_of(&mut self, number: AgentNo, cause: Cause) -> Result<()> {
        let kept = self.state.agents.iter().find(|kept| kept.number == number);
        let Some(written) = kept.and_then(|kept| kept.policy.as_ref()) else { return Ok(()) };
        let next = self.next(number, &written.parse()?, None)?;
        self.swap(next, cause).map(|_| ())
    }

    /// What no agent's policy speaks of any more is no longer asked about.
    pub(super) fn forget_unasked(&mut self) {
        let (now, agents) = (Instant::now(), &self.desk.agents);
        self.hosts.forget_but(&agents.values().flat_map(|agent| agent.table.hosts.names()).collect(), now);
        let places = agents.values().flat_map(|agent| agent.table.contents.keys());
        self.files.forget_but(&places.map(String::as_str).collect(), now);
    }

    /// Forgets earlier policies that no attempt to come was judged by.
    pub(super) fn forget_earlier(&mut self) {
        let source = &self.source;
        for agent in self.desk.agents.values_mut() {
            agent.forget_earlier(|generation| source.holds_policy(generation));
        }
    }
}

/// What is known of the files that the table asks about, as policies have it.
pub(super) fn read_files(table: &Table) -> Vec<String> {
    let read = table.contents.iter().filter_map(|(place, content)| content.map(|content| content.at(place)));
    read.take(MAX_TOLD).collect()
}

/// Adds how many files the table asks about, and what was read of them, to a record.
pub(super) fn tell_files<'a>(table: &Table, read: &'a [String], fields: &mut Vec<(&str, Field<'a>)>) {
    if !table.contents.is_empty() {
        fields.push(("files", Field::Uint(table.contents.len() as u64)));
        fields.push(("contents", Field::Strings(read.iter().map(String::as_str).collect())));
    }
}
