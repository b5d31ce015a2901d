//! How a run begins: asked for by `exec`, or found where the configuration says.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use super::agent::{Agent, Counts, Phase};
use super::engine::Engine;
use super::processes::Processes;
use super::source::EventSource;
use crate::agent::{Found, User, cgroup, principal};
use crate::attempt::{Mode, Run};
use crate::config::{Config, STATE_DIR, Whose};
use crate::control::protocol::{Answer, ExecRequest, Kind, Refusal, WantedMode};
use crate::control::{Identity, Peer};
use crate::kernel::{AgentNo, Totals};
use crate::policy::{self, Policy, Table, Variables};
use crate::record::{Field, Recorder, RecorderOptions};
use crate::risk;

/// What an ordinary user may set for a command of his: nothing that names files or places to send to.
const OPEN_SETS: &[&str] = &["risk.", "trajectory.", "record."];

/// Longest `--name`.
const MAX_NAME: usize = 200;

/// All that a run needs before its first process is in.
struct Plan {
    run: Run,
    config: Config,
    own_ledger: bool,
    reader_gid: Option<u32>,
    table: Table,
    cgroup: PathBuf,
    own: Option<cgroup::Own>,
    root: Option<u32>,
    uid: u32,
}

impl<S: EventSource> Engine<S> {
    pub(super) fn is_governed(&self, peer: Peer) -> bool {
        let cgroup = cgroup::of(peer.pid).ok().map(|below| self.mount.join(below));
        self.desk.governs(peer.pid, cgroup.as_deref())
    }

    pub(super) fn start_command(&mut self, peer: Peer, request: &ExecRequest) -> Answer {
        if self.is_governed(peer) {
            return Err(Refusal::new(Kind::Forbidden, "a governed process may not start agents of its own; what it runs is governed already"));
        }
        let identity = Identity::of(request.pid).map_err(|cause| Refusal::failed(format!("process {}: {cause}", request.pid)))?;
        if identity.parent != peer.pid || identity.uid != identity.euid || !peer.is_root() && identity.uid != peer.uid {
            return Err(Refusal::new(Kind::Forbidden, format!("process {} is no child of process {} with the same user", request.pid, peer.pid)));
        }
        if !peer.is_root() {
            if request.ledger.is_some() {
                return Err(Refusal::new(Kind::Forbidden, "--ledger is written by the daemon, as root: only root may choose where. Run it under sudo, or leave it out"));
            }
            if let Some(set) = request.set.iter().find(|set| !OPEN_SETS.iter().any(|open| set.trim_start().starts_with(open))) {
                return Err(Refusal::new(Kind::Forbidden, format!("--set {set}: only root may set this for a command; run it under sudo")));
            }
        }
        let number = self.plan_command(request, identity).and_then(|plan| {
            let number = self.begin(plan)?;
            let agent = self.desk.agents.get(&number);
            let moved = match agent.and_then(|agent| agent.own.as_ref()) {
                Some(own) => own.move_in(request.pid),
                None => Err(anyhow!("the agent has no cgroup")),
            };
            moved.inspect_err(|_| self.abolish(number))?;
            Ok(number)
        });
        let number = number.map_err(|error| Refusal::failed(format!("{error:#}")))?;
        let Some(agent) = self.desk.agents.get(&number) else { return Err(Refusal::failed("the agent is gone")) };
        let run = agent.recorder.run();
        tracing::info!("agent {} ({}) starts in {}", run.agent_id, run.run_id, run.instance);
        Ok(json!({
            "number": number,
            "agent_id": run.agent_id,
            "run_id": run.run_id,
            "cgroup": agent.cgroup.to_string_lossy(),
            "ledger": agent.ledger.to_string_lossy(),
            "mode": self.desk.standing.mode.name(),
            "observing": agent.table.kernel.observe != 0 || self.desk.standing.mode == Mode::Observe,
            "degraded": self.desk.standing.degraded,
            "notes": self.desk.standing.notes,
            "ephemeral": self.options.ephemeral,
        }))
    }

    fn plan_command(&self, request: &ExecRequest, identity: Identity) -> Result<Plan> {
        if request.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
            bail!("--name takes 1 to {MAX_NAME} bytes");
        }
        if request.mode == Some(WantedMode::Enforce) {
            if !self.options.enforce_allowed {
                bail!("--enforce: the daemon was started with --observe; leave --enforce out to observe");
            }
            if self.desk.standing.mode == Mode::Observe {
                bail!("--enforce: nothing can deny on this kernel: {}", self.why_not());
            }
        }
        let run_id = random_hex(16)?;
        let base = &self.options.config;
        let mut config = base.clone();
        config.set_all(&request.set)?;
        if config.outcome_wait < base.outcome_wait || config.heartbeat != base.heartbeat {
            bail!("--set record.outcome_wait below the daemon's, and record.heartbeat, hold for all agents of a daemon: set them for `rgt run`");
        }
        let mut own_ledger = true;
        if let Some(dir) = &request.ledger {
            config.ledger_dir = PathBuf::from(dir);
        } else if config.ledger_dir == base.ledger_dir {
            // Settings of a whole ledger, for one agent alone: it gets a ledger of its own.
            let (given, ours) = ((&config.seal, &config.kafka, &config.type_prefix, &config.node_name), (&base.seal, &base.kafka, &base.type_prefix, &base.node_name));
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
        let mut table = match &request.policy {
            Some(text) => compile(request.policy_name.as_deref().unwrap_or("policy"), text, &variables)?,
            None => Policy::allow_all().compile(&variables)?,
        };
        match request.mode {
            Some(WantedMode::Observe) => table.kernel.observe = 1,
            Some(WantedMode::Enforce) => table.kernel.observe = 0,
            None => {}
        }
        let agent_id = match &request.name {
            Some(name) => name.clone(),
            None => format!("exec/{}/{}", identity.uid, request.command),
        };
        let directory = format!("{}-{}", cgroup::plain_name(request.name.as_deref().unwrap_or(&request.command)), &run_id[..8]);
        let own = cgroup::Own::make(&self.mount, &directory)?;
        let path = own.path().to_path_buf();
        Ok(Plan {
            run: Run {
                agent_id,
                instance: cgroup::below(&self.mount, &path),
                trace_id: request.traceparent.as_deref().and_then(trace_id).map_or_else(|| random_hex(16), Ok)?,
                principal: principal(request.pid, identity.uid),
                environment: config.environment.clone(),
                container: None,
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
        })
    }

    fn why_not(&self) -> String {
        let notes = &self.desk.standing.notes;
        let why = if notes.is_empty() { "see `rgt doctor`".to_owned() } else { notes.join("; ") };
        format!("{why}. Leave --enforce out to observe")
    }

    /// Makes the agent: numbers it, governs its cgroup, opens its ledger, tells its start.
    fn begin(&mut self, plan: Plan) -> Result<AgentNo> {
        let number = self.numbers.take().ok_or_else(|| anyhow!("{} agents run already: no more can be governed at once", sensor_common::event::MAX_AGENTS - 2));
        let number = number.inspect_err(|_| discard(plan.own.as_ref()))?;
        let own = plan.own.as_ref().map(|own| own.path().to_path_buf());
        let result = self.begin_as(number, plan);
        if result.is_err() {
            // Not governed, or only in part: either way it must not stay so.
            let _ = self.source.release(number);
            self.desk.agents.remove(&number);
            if let Some(path) = own {
                let _ = fs::remove_dir(path);
            }
            self.numbers.give_back(number);
        }
        result
    }

    fn begin_as(&mut self, number: AgentNo, plan: Plan) -> Result<AgentNo> {
        let Plan { run, config, own_ledger, reader_gid, mut table, cgroup, own, root, uid } = plan;
        if !self.options.enforce_allowed {
            table.kernel.observe = 1;
        }
        let options = RecorderOptions {
            trajectory_length: config.trajectory_length,
            risk_profile: risk::Profile::Article,
        };
        let recorder = Recorder::new(run, options)?;
        let ledger = self.desk.ledgers.join(&config, reader_gid)?;
        let mut agent = Agent {
            number,
            recorder,
            table,
            processes: Processes::default(),
            pending: HashMap::new(),
            held: HashMap::new(),
            longer: config.outcome_wait.saturating_sub(self.options.config.outcome_wait),
            counts: Counts::default(),
            ledger: ledger.clone(),
            own_ledger,
            own,
            cgroup,
            root,
            uid,
            started: Instant::now(),
            started_wall: SystemTime::now(),
            phase: Phase::Running,
            waiting: None,
            told: [Totals::default(); 2],
        };
        let begun = self.introduce(number, &mut agent);
        match begun {
            Ok(()) => {
                self.desk.agents.insert(number, agent);
                let path = self.desk.agents.get(&number).map(|agent| agent.cgroup.clone()).unwrap_or_default();
                // The policy first: the first task that is the agent's is under it.
                let governed = self.source.govern(number, &path).with_context(|| format!("cannot govern the cgroup {}", path.display()));
                governed.inspect_err(|_| drop(self.desk.ledgers.leave(&ledger)))?;
                Ok(number)
            }
            Err(error) => {
                let _ = self.desk.ledgers.leave(&ledger);
                Err(error)
            }
        }
    }

    fn introduce(&mut self, number: AgentNo, agent: &mut Agent) -> Result<()> {
        let observe = agent.table.kernel.observe != 0;
        self.source.set_policy(number, &agent.table, observe).context("the policy could not be loaded into the kernel")?;
        let standing = &self.desk.standing;
        let mode = if observe { "observe" } else { standing.mode.name() };
        let ledger = self.desk.ledgers.writing(&agent.ledger, true).ok_or_else(|| anyhow!("the ledger is closed"))?;
        let policy = [
            ("policy", Field::Str(&agent.table.name)),
            ("policy_hash", Field::Str(&agent.table.hash)),
            ("uid", Field::Uint(u64::from(agent.uid))),
        ];
        let run = agent.recorder.run().clone();
        ledger.identity(&run, "registered", &policy)?;
        let notes: Vec<&str> = standing.notes.iter().map(String::as_str).collect();
        let start = [
            ("mode", Field::Str(mode)),
            ("degraded", Field::Bool(standing.degraded)),
            ("policy", Field::Str(&agent.table.name)),
            ("policy_hash", Field::Str(&agent.table.hash)),
            ("notes", Field::Strings(notes)),
        ];
        agent.recorder.sandbox("start", &start, ledger)?;
        Ok(())
    }

    /// Cgroups of configured agents that have come, and agents whose cgroups are gone.
    pub(super) fn look_for_agents(&mut self) {
        if self.watch.is_empty() {
            return;
        }
        let (found, _gone) = self.watch.look(&self.mount);
        for found in found {
            if let Err(error) = self.start_configured(&found) {
                tracing::error!("agent in {}: {error:#}; it is tried again", found.below);
                self.watch.forget(&found.path);
            }
        }
        self.settle_configured();
    }

    fn start_configured(&mut self, found: &Found) -> Result<()> {
        let rule = self.watch.rule(found.rule).ok_or_else(|| anyhow!("its rule is gone"))?.clone();
        if self.desk.agents.values().any(|agent| agent.cgroup == found.path) {
            return Ok(());
        }
        let table = match &rule.policy {
            Some(file) => {
                let text = fs::read_to_string(file).with_context(|| format!("policy {}", file.display()))?;
                compile(&file.to_string_lossy(), &text, &Variables::default())?
            }
            None => Policy::allow_all().compile(&Variables::default())?,
        };
        let unit = match &rule.whose {
            Whose::Unit(unit) => Some(unit.clone()),
            Whose::Cgroup(_) => None,
        };
        let config = self.options.config.clone();
        let number = self.begin(Plan {
            run: Run {
                agent_id: rule.name.clone().or_else(|| unit.clone()).unwrap_or_else(|| found.below.clone()),
                run_id: random_hex(16)?,
                instance: found.below.clone(),
                trace_id: random_hex(16)?,
                principal: match unit {
                    Some(unit) => format!("unit:{unit}"),
                    None => "uid:0".to_owned(),
                },
                environment: config.environment.clone(),
                container: None,
            },
            config,
            own_ledger: false,
            reader_gid: None,
            table,
            cgroup: found.path.clone(),
            own: None,
            root: None,
            uid: 0,
        })?;
        tracing::info!("agent {number} found in {}", found.below);
        Ok(())
    }

    /// An agent that got no further than its cgroup.
    fn abolish(&mut self, number: AgentNo) {
        self.stopped(number, "its process could not be moved into its cgroup", &[]);
        if let Some(key) = self.desk.ledger_of(number) {
            // The error that led here is the one to tell.
            let _ = self.desk.ledgers.leave(&key);
        }
        self.dismiss(number);
    }

}

fn discard(own: Option<&cgroup::Own>) {
    if let Some(own) = own {
        own.remove();
    }
}

fn compile(name: &str, text: &str, variables: &Variables) -> Result<Table> {
    Ok(policy::parse(name, text)?.compile(variables)?)
}

fn same_directory(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    real(one) == real(other)
}

fn random_hex(bytes: usize) -> Result<String> {
    let mut room = vec![0_u8; bytes];
    // SAFETY: `room` is a live buffer of the length given.
    let read = unsafe { libc::getrandom(room.as_mut_ptr().cast(), room.len(), 0) };
    if usize::try_from(read) != Ok(bytes) {
        return Err(std::io::Error::last_os_error()).context("getrandom");
    }
    Ok(hex::encode(room))
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
