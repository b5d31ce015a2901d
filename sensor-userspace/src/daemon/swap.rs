//! Another policy for agents that run: compiled and loaded beside the one in force, put in its place by one write an
//! agent, and told in a signed record. What cannot be compiled, loaded or written down changes nothing.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use super::engine::Engine;
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

/// Why a policy is replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Cause {
    /// `rgt policy apply`.
    Operator(Peer),
    /// SIGHUP.
    Reload,
    /// Its host names stand for other addresses.
    Hosts,
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
        if !self.names_are_known(&policy)? {
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
        let Some(ledger) = self.desk.ledgers.writing(&agent.ledger, true) else { return };
        if let Err(error) = ledger.identity(&run, "policy", &fields) {
            tracing::error!("agent {}: the change of its policy could not be recorded: {error:#}", run.agent_id);
        }
    }

    /// Asks for the policy's names; whether an answer, or none in time, is there for each.
    pub(super) fn names_are_known(&mut self, policy: &Policy) -> Result<bool> {
        self.hosts.want(&policy.host_names(), Instant::now())
    }

    /// Names stand for other addresses: agents whose policies speak of them get tables that know it.
    pub(super) fn swap_hosts(&mut self) {
        if let Err(error) = self.keep() {
            tracing::error!("{error:#}");
        }
        let speaking = self.desk.agents.values().filter(|agent| !agent.table.hosts.is_empty());
        let numbers: Vec<AgentNo> = speaking.map(|agent| agent.number).collect();
        for number in numbers {
            if let Err(error) = self.swap_hosts_of(number) {
                tracing::error!("agent number {number}: its host names keep their old addresses: {error:#}");
            }
        }
    }

    fn swap_hosts_of(&mut self, number: AgentNo) -> Result<()> {
        let kept = self.state.agents.iter().find(|kept| kept.number == number);
        let Some(written) = kept.and_then(|kept| kept.policy.as_ref()) else { return Ok(()) };
        let policy = written.parse()?;
        let stand_for = self.hosts.addresses(&policy);
        if self.desk.agents.get(&number).is_some_and(|agent| agent.table.hosts == stand_for) {
            return Ok(());
        }
        let next = self.next(number, &policy, None)?;
        self.swap(next, Cause::Hosts).map(|_| ())
    }

    /// Names that no agent's policy speaks of any more are no longer asked for.
    pub(super) fn forget_names(&mut self) {
        let used = self.desk.agents.values().flat_map(|agent| agent.table.hosts.names()).collect();
        self.hosts.forget_but(&used, Instant::now());
    }

    /// Forgets earlier policies that no attempt to come was judged by.
    pub(super) fn forget_earlier(&mut self) {
        let source = &self.source;
        for agent in self.desk.agents.values_mut() {
            agent.forget_earlier(|generation| source.holds_policy(generation));
        }
    }
}
