//! The steps by which any run begins: number, policy, ledger, cgroup, and the records that say so.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};

use super::agent::{Agent, Counts, Phase};
use super::engine::Engine;
use super::processes::Processes;
use super::source::EventSource;
use super::state::{Kept, Written};
use super::swap::{read_files, tell_files};
use crate::agent::cgroup;
use crate::attempt::Run;
use crate::config::Config;
use crate::control::protocol::WantedMode;
use crate::kernel::{AgentNo, Totals};
use crate::policy::{Circumstances, Table, Tally, Variables};
use crate::record::{Field, Recorder, RecorderOptions};
use crate::risk;

/// All that a run needs before its first process is in.
pub(super) struct Plan {
    pub run: Run,
    pub config: Config,
    pub own_ledger: bool,
    pub reader_gid: Option<u32>,
    pub table: Table,
    pub cgroup: PathBuf,
    pub own: Option<cgroup::Own>,
    pub root: Option<u32>,
    pub uid: u32,
    /// For the daemon that may come after this one: what the table was made from, and what was set.
    pub policy: Option<Written>,
    pub variables: Variables,
    pub sets: Vec<String>,
    /// By the operator's configuration alone.
    pub role: Option<String>,
    pub task: Option<String>,
    /// Asked for, whatever the policy says of itself.
    pub wanted: Option<WantedMode>,
}

impl<S: EventSource> Engine<S> {
    /// Makes the agent: numbers it, governs its cgroup, opens its ledger, tells its start.
    pub(super) fn begin(&mut self, plan: Plan) -> Result<AgentNo> {
        let number = self.numbers.take().ok_or_else(|| {
            anyhow!("{} agents run already: no more can be governed at once", sensor_common::event::MAX_AGENTS - 2)
        });
        let number = number.inspect_err(|_| discard(plan.own.as_ref()))?;
        let own = plan.own.as_ref().map(|own| own.path().to_path_buf());
        let result = self.begin_as(number, plan);
        if result.is_err() {
            // Not governed, or only in part: either way it must not stay so.
            let _ = self.source.release(number);
            self.desk.agents.remove(&number);
            self.forget(number);
            if let Some(path) = own {
                let _ = fs::remove_dir(path);
            }
            self.numbers.give_back(number);
        }
        result
    }

    fn begin_as(&mut self, number: AgentNo, plan: Plan) -> Result<AgentNo> {
        let Plan {
            run,
            config,
            own_ledger,
            reader_gid,
            table,
            cgroup,
            own,
            root,
            uid,
            policy,
            variables,
            sets,
            role,
            task,
            wanted,
        } = plan;
        let ledger = self.desk.ledgers.join(&config, reader_gid)?;
        self.guard_places(&config, &ledger);
        let kept = Kept {
            number,
            run: run.clone(),
            policy,
            workspace: variables.workspace,
            home: variables.home,
            observe: table.observes(),
            sets,
            ledger: ledger.clone(),
            own_ledger,
            reader_gid,
            cgroup: cgroup.clone(),
            own: own.is_some(),
            root,
            uid,
            role: role.clone(),
            task: task.clone(),
            approvals: Vec::new(),
            labels: table.labels.clone(),
            wanted,
            started: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        };
        let agent = new_agent(number, run, table, &config, &self.options.config, ledger.clone());
        let mut agent = agent.inspect_err(|_| drop(self.desk.ledgers.leave(&ledger)))?;
        agent.own_ledger = own_ledger;
        agent.own = own;
        agent.cgroup = cgroup;
        agent.root = root;
        agent.uid = uid;
        agent.role = role;
        agent.task = task;
        agent.look_at_facts();
        agent.how.risk = agent.recorder.risk();
        // Written down before the first mark is set: no daemon finds marks whose agent it cannot know.
        let begun = self.introduce(number, &mut agent).and_then(|()| self.remember(kept));
        match begun {
            Ok(()) => {
                self.desk.agents.insert(number, agent);
                let path = self.desk.agents.get(&number).map(|agent| agent.cgroup.clone()).unwrap_or_default();
                // The policy first: the first task that is the agent's is under it.
                let governed = self
                    .source
                    .govern(number, &path)
                    .with_context(|| format!("cannot govern the cgroup {}", path.display()));
                governed.inspect_err(|_| drop(self.desk.ledgers.leave(&ledger)))?;
                Ok(number)
            }
            Err(error) => {
                let _ = self.desk.ledgers.leave(&ledger);
                Err(error)
            }
        }
    }

    /// What the agent must not touch of this run's.
    pub(super) fn guard_places(&mut self, config: &Config, ledger: &Path) {
        self.source.guard_place(ledger, false);
        if let Some(key) = &config.seal.key_file {
            self.source.guard_place(key, true);
        }
    }

    fn introduce(&mut self, number: AgentNo, agent: &mut Agent) -> Result<()> {
        let observe = agent.table.observes();
        agent.generation = self
            .source
            .set_policy(number, &agent.table, observe)
            .context("the policy could not be loaded into the kernel")?;
        self.source.stand(number, &agent.how);
        let standing = &self.desk.standing;
        let mode = standing.mode_of(&agent.table).name();
        let ledger = self.desk.ledgers.writing(&agent.ledger, true).ok_or_else(|| anyhow!("the ledger is closed"))?;
        let policy = [
            ("policy", Field::Str(&agent.table.name)),
            ("policy_hash", Field::Str(&agent.table.hash)),
            ("uid", Field::Uint(u64::from(agent.uid))),
        ];
        let run = agent.recorder.run().clone();
        ledger.identity(&run, "registered", &policy)?;
        let notes: Vec<&str> = standing.notes.iter().map(String::as_str).collect();
        let read = read_files(&agent.table);
        let mut start = vec![
            ("mode", Field::Str(mode)),
            ("degraded", Field::Bool(standing.degraded)),
            ("policy", Field::Str(&agent.table.name)),
            ("policy_hash", Field::Str(&agent.table.hash)),
            ("notes", Field::Strings(notes)),
        ];
        tell_files(&agent.table, &read, &mut start);
        agent.recorder.sandbox("start", &start, ledger)?;
        Ok(())
    }

    /// An agent that got no further than its cgroup.
    pub(super) fn abolish(&mut self, number: AgentNo) {
        self.stopped(number, "its process could not be moved into its cgroup", &[]);
        if let Some(key) = self.desk.ledger_of(number) {
            // The error that led here is the one to tell.
            let _ = self.desk.ledgers.leave(&key);
        }
        self.dismiss(number);
    }
}

/// A run at its beginning, in nobody's cgroup yet.
pub(super) fn new_agent(
    number: AgentNo,
    run: Run,
    table: Table,
    config: &Config,
    common: &Config,
    ledger: PathBuf,
) -> Result<Agent> {
    let options = RecorderOptions { trajectory_length: config.trajectory_length, risk_profile: risk::Profile::Article };
    Ok(Agent {
        number,
        recorder: Recorder::new(run, options)?,
        table,
        generation: 0,
        answers_put: None,
        earlier: Vec::new(),
        processes: Processes::default(),
        pending: HashMap::new(),
        held: HashMap::new(),
        longer: config.outcome_wait.saturating_sub(common.outcome_wait),
        counts: Counts::default(),
        ledger,
        own_ledger: false,
        own: None,
        cgroup: PathBuf::new(),
        root: None,
        uid: 0,
        started: Instant::now(),
        started_wall: SystemTime::now(),
        phase: Phase::Running,
        waiting: None,
        role: None,
        task: None,
        approvals: Vec::new(),
        how: Circumstances::default(),
        limits: Tally::default(),
        how_told: None,
        lasting: Vec::new(),
        told: [Totals::default(); 2],
    })
}

fn discard(own: Option<&cgroup::Own>) {
    if let Some(own) = own {
        own.remove();
    }
}

pub(super) fn random_hex(bytes: usize) -> Result<String> {
    let mut room = vec![0_u8; bytes];
    // SAFETY: `room` is a live buffer of the length given.
    let read = unsafe { libc::getrandom(room.as_mut_ptr().cast(), room.len(), 0) };
    if usize::try_from(read) != Ok(bytes) {
        return Err(std::io::Error::last_os_error()).context("getrandom");
    }
    Ok(hex::encode(room))
}
