//! What operators approve for agents that run: given, taken back, and over by itself. Each is told in a signed record.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::agent::Agent;
use super::engine::Engine;
use super::source::EventSource;
use crate::attempt::WallNs;
use crate::control::Peer;
use crate::control::protocol::{Answer, ApproveRequest, Refusal};
use crate::kernel::{AgentNo, uptime_ns};
use crate::policy::{MAX_NAME, is_name};
use crate::record::Field;
use crate::record::time::{format, now};

/// Approvals of one agent at once.
const MAX_APPROVALS: usize = 64;
/// Bytes of an operator's reason.
const MAX_REASON: usize = 256;
/// Who wants more approves for the run.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Approval {
    pub name: String,
    /// None: with the run.
    pub ends: Option<Ends>,
    /// The id of the record that says so; without one no daemon takes it up.
    pub record: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Ends {
    /// By the time since the machine came up: setting the clock does not lengthen it.
    pub up: u64,
    /// What that is by the wall's clock, for people.
    pub wall: WallNs,
}

impl Approval {
    pub fn is_over(&self, up: u64) -> bool {
        self.ends.is_some_and(|ends| ends.up <= up)
    }

    pub fn to_json(&self) -> Value {
        json!({ "name": self.name, "until": self.until() })
    }

    fn until(&self) -> Option<String> {
        self.ends.map(|ends| format(ends.wall))
    }
}

/// Why an agent's approvals are others now.
#[derive(Clone, Copy)]
enum Change<'a> {
    Given(Peer, Option<&'a str>),
    Revoked(Peer, Option<&'a str>),
    Expired,
}

impl<S: EventSource> Engine<S> {
    /// `rgt approve`.
    pub(super) fn approve(&mut self, peer: Peer, request: &ApproveRequest) -> Answer {
        self.only_operators(
            peer,
            "only root may approve something for an agent: use sudo",
            "a governed process may not approve anything, neither for itself nor for others",
        )?;
        // What was attempted before this is told by what was approved then.
        self.drain_all();
        let done = if request.revoke { self.revoke(peer, request) } else { self.give(peer, request) };
        done.map_err(|error| Refusal::failed(format!("{error:#}")))
    }

    fn give(&mut self, peer: Peer, request: &ApproveRequest) -> Result<Value> {
        let name = &request.approval;
        if !is_name(name) {
            bail!("an approval's name has up to {MAX_NAME} letters, digits, `_`, `-` and `.`; `{name}` is none");
        }
        let reason = reason(request)?;
        let lasts = request.lasts_ms.map(Duration::from_millis);
        if lasts.is_some_and(|lasts| lasts.is_zero() || lasts > LONGEST) {
            bail!("an approval lasts from 1 ms to 365 days; leave the time out to approve for the run");
        }
        let ends = lasts.map(|lasts| {
            let more = lasts.as_nanos() as u64;
            Ends { up: uptime_ns() + more, wall: now() + more }
        });
        let approval = Approval { name: name.clone(), ends, record: None };
        let (asking, others): (Vec<AgentNo>, Vec<AgentNo>) =
            self.known(&request.agent)?.into_iter().partition(|number| self.asks_for(*number, name));
        if asking.is_empty() {
            bail!("{}", self.asked_instead(&others, name));
        }
        let mut given = Vec::new();
        for number in asking {
            self.give_one(number, &approval, Change::Given(peer, reason)).with_context(|| partly(given.len()))?;
            given.push(self.told_of(number));
        }
        Ok(json!({ "approval": name, "state": "given", "until": approval.until(), "agents": given }))
    }

    fn give_one(&mut self, number: AgentNo, approval: &Approval, change: Change) -> Result<()> {
        let agent = self.agent(number)?;
        let before = agent.approvals.clone();
        agent.approvals.retain(|known| known.name != approval.name);
        if agent.approvals.len() >= MAX_APPROVALS {
            agent.approvals = before;
            bail!("the agent has {MAX_APPROVALS} approvals already; revoke one of them");
        }
        agent.approvals.push(approval.clone());
        // What is not written down is not approved.
        let told = self.keep_approvals(number).and_then(|()| self.tell_approval(number, approval, change));
        match &told {
            Ok(record) => {
                let given = self.agent(number)?.approvals.last_mut();
                given.into_iter().for_each(|given| given.record = Some(record.clone()));
            }
            Err(_) => self.agent(number)?.approvals = before,
        }
        // With the record's id, or without it again. Where that fails the next daemon gives it to nobody.
        self.keep_approvals(number).unwrap_or_else(|error| tracing::error!("{error:#}"));
        told?;
        self.look_again(number)
    }

    fn revoke(&mut self, peer: Peer, request: &ApproveRequest) -> Result<Value> {
        let (name, reason) = (&request.approval, reason(request)?);
        if request.lasts_ms.is_some() {
            bail!("a revocation has no time: leave --for out");
        }
        let mut revoked = Vec::new();
        let mut sound = Ok(());
        for number in self.known(&request.agent)? {
            match self.revoke_one(number, name, Change::Revoked(peer, reason)) {
                Ok(true) => revoked.push(self.told_of(number)),
                Ok(false) => {}
                // The others first.
                Err(error) => sound = Err(error),
            }
        }
        sound?;
        if revoked.is_empty() {
            bail!("`{name}` is not approved for {}; `rgt agents --json` says what is", request.agent);
        }
        Ok(json!({ "approval": name, "state": "revoked", "agents": revoked }))
    }

    /// In force before anything else: what cannot be written down is taken back all the same.
    fn revoke_one(&mut self, number: AgentNo, name: &str, change: Change) -> Result<bool> {
        let agent = self.agent(number)?;
        let Some(index) = agent.approvals.iter().position(|approval| approval.name == name) else { return Ok(false) };
        let approval = agent.approvals.remove(index);
        self.look_again(number)?;
        let (kept, told) = (self.keep_approvals(number), self.tell_approval(number, &approval, change));
        kept.and(told.map(|_| ())).context("it is taken back, and holds no longer, but")?;
        Ok(true)
    }

    /// Ends those whose time has come.
    pub(super) fn end_approvals(&mut self) {
        let up = uptime_ns();
        let over = |agent: &Agent| {
            let over = agent.approvals.iter().filter(|approval| approval.is_over(up));
            over.map(|approval| (agent.number, approval.name.clone())).collect::<Vec<_>>()
        };
        let over: Vec<(AgentNo, String)> = self.desk.agents.values().flat_map(over).collect();
        if !over.is_empty() {
            self.drain_all();
        }
        for (number, name) in over {
            if let Err(error) = self.revoke_one(number, &name, Change::Expired) {
                tracing::error!("agent number {number}: the time of the approval `{name}` is over: {error:#}");
            }
        }
    }

    fn agent(&mut self, number: AgentNo) -> Result<&mut Agent> {
        self.desk.agents.get_mut(&number).ok_or_else(|| anyhow!("the agent is gone"))
    }

    fn known(&self, name: &str) -> Result<Vec<AgentNo>> {
        let numbers = self.agents_named(name);
        if numbers.is_empty() {
            bail!("no agent is called `{name}`; `rgt agents` says who runs");
        }
        Ok(numbers)
    }

    fn asks_for(&self, number: AgentNo, name: &str) -> bool {
        self.desk.agents.get(&number).is_some_and(|agent| agent.table.approvals().contains(&name))
    }

    /// Nobody asks for it: what is asked for.
    fn asked_instead(&self, numbers: &[AgentNo], name: &str) -> String {
        let tables = numbers.iter().filter_map(|number| self.desk.agents.get(number)).map(|agent| &agent.table);
        let policies: Vec<&str> = tables.clone().map(|table| table.name.as_str()).collect();
        let mut asked: Vec<&str> = tables.flat_map(|table| table.approvals()).collect();
        asked.sort_unstable();
        asked.dedup();
        let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
        format!("no rule of policy {} asks for the approval `{name}`; asked for: {asked}", policies.join(", "))
    }

    fn told_of(&self, number: AgentNo) -> Value {
        let run_id = self.desk.agents.get(&number).map(|agent| agent.recorder.run().run_id.clone());
        json!({ "number": number, "run_id": run_id })
    }

    /// In force when this returns.
    fn look_again(&mut self, number: AgentNo) -> Result<()> {
        self.agent(number)?.look_at_facts();
        self.stand();
        Ok(())
    }

    /// For the daemon that may come after this one.
    fn keep_approvals(&mut self, number: AgentNo) -> Result<()> {
        let approvals = self.agent(number)?.approvals.clone();
        for kept in self.state.agents.iter_mut().filter(|kept| kept.number == number) {
            kept.approvals.clone_from(&approvals);
        }
        self.keep()
    }

    fn tell_approval(&mut self, number: AgentNo, approval: &Approval, change: Change) -> Result<String> {
        let agent = self.desk.agents.get_mut(&number).ok_or_else(|| anyhow!("the agent is gone"))?;
        let run = agent.recorder.run().clone();
        let (state, by) = match change {
            Change::Given(peer, reason) => ("given", Some((peer, reason))),
            Change::Revoked(peer, reason) => ("revoked", Some((peer, reason))),
            Change::Expired => ("expired", None),
        };
        let until = approval.until();
        let mut fields = vec![
            ("approval", Field::Str(&approval.name)),
            ("state", Field::Str(state)),
            ("by", Field::Str(if by.is_some() { "operator" } else { "time" })),
        ];
        fields.extend(until.as_deref().map(|until| ("until", Field::Str(until))));
        if let Some((peer, reason)) = by {
            fields.push(("uid", Field::Uint(peer.uid.into())));
            fields.push(("pid", Field::Uint(peer.pid.into())));
            fields.extend(reason.map(|reason| ("reason", Field::Str(reason))));
        }
        let ledger = self.desk.ledgers.writing(&agent.ledger, true).ok_or_else(|| anyhow!("the ledger is closed"))?;
        let told = ledger.identity(&run, "approval", &fields);
        // On the disk, not only on its way.
        let told = told.and_then(|id| ledger.flush(true).map(|()| id));
        let id = told.context("the approval could not be recorded")?;
        tracing::info!("agent {}: the approval `{}` is {state}", run.agent_id, approval.name);
        Ok(id.to_string())
    }
}

fn reason(request: &ApproveRequest) -> Result<Option<&str>> {
    let reason = request.reason.as_deref().filter(|reason| !reason.is_empty());
    if reason.is_some_and(|reason| reason.len() > MAX_REASON) {
        bail!("a reason takes {MAX_REASON} bytes; say it shorter");
    }
    Ok(reason)
}

fn partly(done: usize) -> String {
    match done {
        0 => "nothing is approved".to_owned(),
        done => format!("it is approved for {done} agents, and not for the others of this name"),
    }
}

#[cfg(test)]
#[path = "approve/tests.rs"]
mod tests;
