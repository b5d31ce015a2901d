//! Going on with the agents of a daemon that ended before them.

use std::collections::HashSet;
use std::time::{Duration, Instant, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow};
use sensor_common::table::MAX_LABELS;

use super::agent::Phase;
use super::begin::new_agent;
use super::engine::{Engine, RINGS, difference};
use super::source::EventSource;
use super::state::{self, Kept, State, Written};
use crate::agent::cgroup;
use crate::control::protocol::WantedMode;
use crate::kernel::{AgentNo, Totals};
use crate::policy::{Busy, Policy};
use crate::record::Field;

/// Looks at the counts while agents go on: the fewer events are on their way, the nearer the truth.
const LOOKS: u32 = 5;

impl<S: EventSource> Engine<S> {
    /// Takes up what the daemon before left, puts it under this daemon's programs, and tells what was lost.
    pub fn adopt(&mut self) -> Result<()> {
        if !self.source.survives() {
            state::remove(&self.state_file);
            return Ok(());
        }
        let left = State::read(&self.state_file)?;
        let known: HashSet<AgentNo> = left.agents.iter().map(|kept| kept.number).collect();
        let strangers = self.source.strangers(&known);
        if !strangers.is_empty() {
            tracing::warn!("tasks bear the marks of {} agents that nobody knows: they run ungoverned", strangers.len());
        }
        for number in known.iter().chain(&strangers) {
            self.numbers.reserve(*number);
        }
        self.state = left.clone();
        self.hosts.take_up(left.hosts.clone(), Instant::now());
        self.files.take_up(left.files(), Instant::now());
        for kept in left.agents {
            let (number, name) = (kept.number, kept.run.agent_id.clone());
            self.take_up(kept).with_context(|| {
                format!(
                    "agent {name} of the daemon before cannot be taken up; it stays governed as it was. Mend the cause \
                     and start again, or end enforcement with `sudo rgt unload`"
                )
            })?;
            tracing::info!("agent {name} ({number}) is taken up from the daemon before");
        }
        self.source.take_over()?;
        for number in known {
            self.tell_missed(number);
        }
        self.keep()
    }

    fn take_up(&mut self, kept: Kept) -> Result<()> {
        let number = kept.number;
        let mut config = self.options.config.clone();
        config.set_all(&kept.sets)?;
        config.ledger_dir = kept.ledger.clone();
        let variables = kept.variables();
        let policy = kept.policy.as_ref().map_or_else(|| Ok(Policy::allow_all()), Written::parse)?;
        // What is not known yet is swapped in when it is.
        self.ask_in_passing(&policy);
        // As it stood, whatever the policy says of itself.
        let stood = if kept.observe { WantedMode::Observe } else { WantedMode::Enforce };
        let mut table = self.suit(&policy, &variables, &config, Some(stood))?;
        // Hooks of the daemon before set labels by their bits.
        let all = kept.labels.len().min(MAX_LABELS);
        let busy = Busy { labels: (1_u64 << all).wrapping_sub(1) as u32, facts: 0 };
        table.renumber(&kept.labels, &[], busy).map_err(|error| anyhow!(error))?;
        let observe = table.observes();
        let ledger = self.desk.ledgers.join(&config, kept.reader_gid)?;
        self.guard_places(&config, &ledger);
        let mut agent = new_agent(number, kept.run, table, &config, &self.options.config, ledger)?;
        agent.own_ledger = kept.own_ledger;
        agent.own = kept.own.then(|| cgroup::Own::of(&kept.cgroup));
        // Nobody waits for its command any more; a configured one lasts as long as its cgroup.
        agent.phase = if kept.own { Phase::Leftover { until: None } } else { Phase::Running };
        agent.cgroup = kept.cgroup;
        agent.root = kept.root;
        agent.uid = kept.uid;
        agent.role = kept.role;
        agent.task = kept.task;
        // What no record tells of is nobody's. One whose time has come holds no longer; that is told as ever.
        agent.approvals = kept.approvals;
        agent.approvals.retain(|approval| approval.record.is_some());
        agent.look_at_facts();
        agent.started_wall = UNIX_EPOCH + Duration::from_secs(kept.started);
        let ago = agent.started_wall.elapsed().unwrap_or_default();
        agent.started = Instant::now().checked_sub(ago).unwrap_or_else(Instant::now);
        agent.generation = self.source.set_policy(number, &agent.table, observe).context("its policy")?;
        // Read once the policy is in force here as well: what is labelled from now on is labelled under both.
        let before = self.source.stood_before(number);
        if let Some(before) = before {
            agent.how.labels = before.labels;
            // Whoever brings a daemon down must not cool off by it.
            agent.recorder.go_on_from(before.risk);
        }
        agent.how.risk = agent.recorder.risk();
        self.source.stand(number, &agent.how);
        self.source.adopt(number, &agent.cgroup).context("its marks")?;
        for pid in self.source.tasks(number) {
            if agent.processes.contains(pid) {
                agent.processes.fork(pid, pid, true);
            } else {
                agent.processes.join(pid);
            }
        }
        agent.told = self.source.told(number);
        let standing = &self.desk.standing;
        let (actions, trajectory) = agent.recorder.so_far();
        let reason = match before {
            Some(_) => "another daemon goes on with it, from the score that stood; the trajectory begins anew",
            None => {
                "another daemon goes on with it; how it stood cannot be told, so that score and trajectory begin anew"
            }
        };
        let fields = [
            ("reason", Field::Str(reason)),
            ("actions", Field::Uint(actions)),
            ("behavioral_trajectory", Field::Raw(&trajectory)),
            ("mode", Field::Str(standing.mode_of(&agent.table).name())),
            ("degraded", Field::Bool(standing.degraded)),
            ("policy", Field::Str(&agent.table.name)),
            ("policy_hash", Field::Str(&agent.table.hash)),
            ("tasks", Field::Uint(agent.processes.len() as u64)),
        ];
        let ledger = self.desk.ledgers.writing(&agent.ledger, true).ok_or_else(|| anyhow!("the ledger is closed"))?;
        agent.recorder.sandbox("adopt", &fields, ledger)?;
        self.desk.agents.insert(number, agent);
        Ok(())
    }

    /// Declares what the kernel made and neither the daemon before wrote nor this one receives.
    fn tell_missed(&mut self, number: AgentNo) {
        let Some(told) = self.desk.agents.get(&number).map(|agent| agent.told) else { return };
        let missing =
            |told: Totals, now: Totals| difference(told, now).map_or(0, |gap| gap.made.saturating_sub(gap.received));
        let mut best: [Option<Totals>; 2] = [None; 2];
        for _ in 0..LOOKS {
            self.drain_all();
            for (index, (ring, _)) in RINGS.into_iter().enumerate() {
                let Some(now) = self.totals(number, ring) else { return };
                if best[index].is_none_or(|best| missing(told[index], now) < missing(told[index], best)) {
                    best[index] = Some(now);
                }
            }
        }
        for (index, now) in best.into_iter().enumerate() {
            let Some(now) = now else { continue };
            let reason = if now.dropped > told[index].dropped {
                "the ring was full while no daemon read it"
            } else {
                "the daemon before ended before it had written them"
            };
            self.tell_gap(number, index, now, reason);
        }
    }

    /// Writes down whose the marks are.
    pub(super) fn keep(&mut self) -> Result<()> {
        if !self.source.survives() {
            return Ok(());
        }
        self.state.set_places(self.source.places());
        self.state.hosts = self.hosts.known();
        self.state.set_files(self.files.known());
        self.state.write(&self.state_file)
    }

    /// Before the agent's first mark is set.
    pub(super) fn remember(&mut self, kept: Kept) -> Result<()> {
        self.state.agents.push(kept);
        self.keep()
    }

    /// After its last is gone.
    pub(super) fn forget(&mut self, number: AgentNo) {
        let before = self.state.agents.len();
        self.state.agents.retain(|kept| kept.number != number);
        if self.state.agents.len() != before
            && let Err(error) = self.keep()
        {
            tracing::error!("{error:#}");
        }
    }

    /// Counts of what is in the ledgers' files, where the daemon's end does not reach them.
    pub(super) fn settle_accounts(&mut self) {
        if self.desk.ledgers.is_written() {
            for agent in self.desk.agents.values() {
                self.source.settle(agent.number, &agent.told);
            }
        }
    }
}
