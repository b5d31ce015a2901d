//! How a run begins that `exec` asks for.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use serde_json::json;

use super::asked::For;
use super::begin::{Plan, random_hex};
use super::engine::Engine;
use super::naming;
use super::source::EventSource;
use super::state::Written;
use crate::agent::{User, cgroup, principal};
use crate::attempt::{Mode, Run};
use crate::config::STATE_DIR;
use crate::control::protocol::{Answer, ExecRequest, Kind, Refusal, WantedMode};
use crate::control::{Identity, Peer, started};
use crate::policy::{self, Policy, Variables};

/// What an ordinary user may set for a command of his: nothing that names files or places to send to.
const OPEN_SETS: &[&str] = &["risk.", "trajectory.", "record."];

/// Longest name of a file, and longest path.
const MAX_COMMAND: usize = 255;
const MAX_PATH: usize = 4096;

impl<S: EventSource> Engine<S> {
    pub(super) fn is_governed(&mut self, peer: Peer) -> bool {
        // A socket outlives who connected it: whoever holds it now may be anybody's.
        if !peer.is_there() {
            return true;
        }
        let cgroup = cgroup::of(peer.pid).ok().map(|below| self.mount.join(below));
        // And the kernel's own word: a process may be an agent's before the daemon has heard of it.
        self.desk.governs(peer.pid, cgroup.as_deref()) || self.source.bears_a_mark(peer.pid)
    }

    /// Root outside every agent; whoever else asks is refused in these words.
    pub(super) fn only_operators(&mut self, peer: Peer, to_users: &str, to_governed: &str) -> Result<(), Refusal> {
        match peer {
            peer if !peer.is_root() => Err(Refusal::new(Kind::Forbidden, to_users)),
            peer if self.is_governed(peer) => Err(Refusal::new(Kind::Forbidden, to_governed)),
            _ => Ok(()),
        }
    }

    /// None: what the policy's host names stand for, or its files hold, is still being asked.
    pub(super) fn start_command(&mut self, peer: Peer, request: &ExecRequest) -> Option<Answer> {
        self.try_start(peer, request).transpose()
    }

    fn try_start(&mut self, peer: Peer, request: &ExecRequest) -> Result<Option<serde_json::Value>, Refusal> {
        if self.is_governed(peer) {
            return Err(Refusal::new(
                Kind::Forbidden,
                "a governed process may not start agents of its own; what it runs is governed already",
            ));
        }
        let begun = started(request.pid);
        let identity =
            Identity::of(request.pid).map_err(|cause| Refusal::failed(format!("process {}: {cause}", request.pid)))?;
        if identity.parent != peer.pid || identity.uid != identity.euid || !peer.is_root() && identity.uid != peer.uid {
            return Err(Refusal::new(
                Kind::Forbidden,
                format!("process {} is no child of process {} with the same user", request.pid, peer.pid),
            ));
        }
        if !peer.is_root() {
            if request.ledger.is_some() {
                return Err(Refusal::new(
                    Kind::Forbidden,
                    "--ledger is written by the daemon, as root: only root may choose where. Run it under sudo, or leave it out",
                ));
            }
            if let Some(set) =
                request.set.iter().find(|set| !OPEN_SETS.iter().any(|open| set.trim_start().starts_with(open)))
            {
                return Err(Refusal::new(
                    Kind::Forbidden,
                    format!("--set {set}: only root may set this for a command; run it under sudo"),
                ));
            }
        }
        let enforced = request.policy.is_some() && request.mode != Some(WantedMode::Observe);
        // Asked again: a thread that had not renounced may have been there and gone.
        let bound = || identity.bound && Identity::of(request.pid).is_ok_and(|now| now.bound);
        if !peer.is_root() && enforced && !bound() {
            return Err(Refusal::new(
                Kind::Forbidden,
                "a policy of an ordinary user's is enforced only on what gains no rights: set no_new_privs before, \
                 as `rgt exec` does, or only observe",
            ));
        }
        let agent_id = naming::agent_id(
            request.name.as_deref(),
            &request.command,
            peer.is_root(),
            identity.uid,
            &self.options.config.agents,
        )
        .map_err(|why| Refusal::new(Kind::Forbidden, why))?;
        if self.desk.agents.is_empty() {
            // Nobody was governed, and so nothing tried, for who knows how long.
            self.watch_denials();
        }
        let policy = self.policy_of(peer, request).map_err(|error| Refusal::failed(format!("{error:#}")))?;
        let Some(policy) = policy else { return Ok(None) };
        let planned = self.plan_command(request, identity, agent_id, &policy);
        let number = planned.and_then(|plan| {
            let number = self.begin(plan)?;
            let agent = self.desk.agents.get(&number);
            let moved = match agent.and_then(|agent| agent.own.as_ref()) {
                // It may have ended since, and its pid be somebody else's, who would be governed for good.
                Some(_) if begun.is_none() || started(request.pid) != begun => {
                    Err(anyhow!("process {} has ended", request.pid))
                }
                Some(own) => own.move_in(request.pid),
                None => Err(anyhow!("the agent has no cgroup")),
            };
            moved.inspect_err(|_| self.abolish(number))?;
            self.source.inherit(number, request.pid);
            Ok(number)
        });
        let number = number.map_err(|error| Refusal::failed(format!("{error:#}")))?;
        let Some(agent) = self.desk.agents.get(&number) else {
            return Err(Refusal::failed("the agent is gone"));
        };
        let run = agent.recorder.run();
        tracing::info!("agent {} ({}) starts in {}", run.agent_id, run.run_id, run.instance);
        Ok(Some(json!({
            "number": number,
            "agent_id": run.agent_id,
            "run_id": run.run_id,
            "cgroup": agent.cgroup.to_string_lossy(),
            "ledger": agent.ledger.to_string_lossy(),
            "mode": self.desk.standing.mode.name(),
            "observing": self.desk.standing.mode_of(&agent.table) == Mode::Observe,
            "degraded": self.desk.standing.degraded,
            "notes": self.desk.standing.notes,
            "ephemeral": self.options.ephemeral,
        })))
    }

    /// The policy that is asked for, once its host names are known.
    fn policy_of(&mut self, peer: Peer, request: &ExecRequest) -> Result<Option<Policy>> {
        let policy = match &request.policy {
            Some(text) => {
                let name = request.policy_name.as_deref().unwrap_or("policy");
                policy::parse_given(name, text, &request.policy_includes)?
            }
            None => Policy::allow_all(),
        };
        let whose = if peer.is_root() { For::Operators } else { For::Users };
        Ok(self.answers_are_known(&policy, whose)?.then_some(policy))
    }

    fn plan_command(
        &self,
        request: &ExecRequest,
        identity: Identity,
        agent_id: String,
        policy: &Policy,
    ) -> Result<Plan> {
        // Every record of the run shows them.
        if request.command.len() > MAX_COMMAND || request.policy_name.as_ref().is_some_and(|name| name.len() > MAX_PATH)
        {
            bail!("a command's name takes {MAX_COMMAND} bytes, a policy's {MAX_PATH}");
        }
        if request.mode == Some(WantedMode::Enforce) {
            if !self.options.enforce_allowed {
                bail!("--enforce: the daemon was started with --observe; leave --enforce out to observe");
            }
            if self.desk.standing.mode == Mode::Observe || self.is_silent() {
                bail!("--enforce: nothing can deny on this kernel: {}", self.why_not());
            }
        }
        let run_id = random_hex(16)?;
        let base = &self.options.config;
        let mut config = base.clone();
        config.set_all(&request.set)?;
        if config.asks_of_all(base) {
            bail!(
                "--set record.outcome_wait below the daemon's, record.heartbeat, enforce.canary and `hosts` hold for all agents of the daemon that runs: set them for `rgt run`"
            );
        }
        let mut own_ledger = true;
        if let Some(dir) = &request.ledger {
            config.ledger_dir = PathBuf::from(dir);
        } else if config.ledger_dir == base.ledger_dir {
            // Settings of a whole ledger, for one agent alone: it gets a ledger of its own.
            let (given, ours) = (
                (&config.seal, &config.kafka, &config.type_prefix, &config.node_name),
                (&base.seal, &base.kafka, &base.type_prefix, &base.node_name),
            );
            if given != ours {
                config.ledger_dir = Path::new(STATE_DIR).join("runs").join(&run_id);
            } else {
                own_ledger = false;
            }
        }
        if !config.ledger_dir.is_absolute() {
            bail!("ledger {}: an absolute path is wanted", config.ledger_dir.display());
        }
        // Named with --ledger or not: the daemon's own is not closed before the daemon ends.
        if same_directory(&config.ledger_dir, &base.ledger_dir) {
            own_ledger = false;
        }
        let home = User::by_uid(identity.uid).ok().flatten().map(|user| user.home);
        let variables = Variables { workspace: fs::read_link(format!("/proc/{}/cwd", request.pid)).ok(), home };
        let table = self.suit(policy, &variables, &config, request.mode)?;
        let directory =
            format!("{}-{}", cgroup::plain_name(request.name.as_deref().unwrap_or(&request.command)), &run_id[..8]);
        let own = cgroup::Own::make(&self.mount, &directory)?;
        let path = own.path().to_path_buf();
        Ok(Plan {
            run: Run {
                agent_id,
                instance: cgroup::below(&self.mount, &path),
                trace_id: request.traceparent.as_deref().and_then(trace_id).map_or_else(|| random_hex(16), Ok)?,
                principal: principal(request.pid, identity.uid),
                environment: config.environment.clone(),
                // Where it comes from: its own cgroup is not in the container's.
                container: cgroup::of(request.pid).ok().and_then(|below| cgroup::container(&below)),
                run_id,
            },
            reader_gid: request.ledger.is_some().then_some(identity.gid),
            config,
            own_ledger,
            table,
            cgroup: path,
            own: Some(own),
            root: Some(request.pid),
            uid: identity.uid,
            policy: request.policy.as_ref().map(|text| Written {
                name: request.policy_name.clone().unwrap_or_else(|| "policy".to_owned()),
                text: text.clone(),
                includes: request.policy_includes.clone(),
            }),
            variables,
            sets: request.set.clone(),
            // What a caller says of himself gives him no role.
            role: None,
            task: None,
            wanted: request.mode,
        })
    }

    fn why_not(&self) -> String {
        let notes = &self.desk.standing.notes;
        let why = if notes.is_empty() { "see `rgt doctor`".to_owned() } else { notes.join("; ") };
        format!("{why}. Leave --enforce out to observe")
    }
}

fn same_directory(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}

/// The trace of a W3C `traceparent`.
fn trace_id(traceparent: &str) -> Option<String> {
    let mut parts = traceparent.split('-');
    let (_version, trace) = (parts.next()?, parts.next()?);
    let hex = trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (hex && trace.bytes().any(|byte| byte != b'0')).then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_taken_over_when_they_are_some() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        assert_eq!(trace_id("00-00000000000000000000000000000000-1-1"), None);
        assert_eq!(trace_id("x"), None);
        assert_eq!(random_hex(16).unwrap().len(), 32);
    }
}
