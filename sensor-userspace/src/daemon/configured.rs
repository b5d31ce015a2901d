//! How a run begins that the configuration names: its cgroup is found.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use super::asked::For;
use super::begin::{Plan, random_hex};
use super::engine::Engine;
use super::source::EventSource;
use super::state::Written;
use super::swap::Cause;
use crate::agent::{Found, cgroup};
use crate::attempt::Run;
use crate::config::Whose;
use crate::kernel::AgentNo;
use crate::policy::{self, Policy, Variables};

impl<S: EventSource> Engine<S> {
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

    /// Reads the policies of configured agents again; those whose text is another are put in force.
    pub(super) fn reload(&mut self) {
        let mut of_file: BTreeMap<PathBuf, Vec<AgentNo>> = BTreeMap::new();
        for agent in self.desk.agents.values().filter(|agent| agent.own.is_none()) {
            let rule = self.watch.rule_of(&agent.recorder.run().instance);
            if let Some(file) = rule.and_then(|rule| rule.policy.clone()) {
                of_file.entry(file).or_default().push(agent.number);
            }
        }
        tracing::info!("the policies of configured agents are read again: {} files", of_file.len());
        for (file, numbers) in of_file {
            if let Err(error) = self.reload_file(&file, &numbers) {
                tracing::error!("policy {}: {error:#}; what was in force stays in force", file.display());
            }
        }
    }

    fn reload_file(&mut self, file: &Path, numbers: &[AgentNo]) -> Result<()> {
        let (policy, written) = read_policy(file)?;
        if !self.answers_are_known(&policy, For::Operators)? {
            // Read again once they are: nothing waits here.
            self.reload_again = true;
            return Ok(());
        }
        let mut next = Vec::new();
        for number in numbers {
            let kept = self.state.agents.iter().find(|kept| kept.number == *number);
            if kept.is_some_and(|kept| kept.policy.as_ref() != Some(&written)) {
                next.push(self.next(*number, &policy, Some(written.clone()))?);
            }
        }
        next.into_iter().try_for_each(|next| self.swap(next, Cause::Reload).map(|_| ()))
    }

    fn start_configured(&mut self, found: &Found) -> Result<()> {
        let rule = self.watch.rule(found.rule).ok_or_else(|| anyhow!("its rule is gone"))?.clone();
        if self.desk.agents.values().any(|agent| agent.cgroup == found.path) {
            return Ok(());
        }
        let (policy, written) = match &rule.policy {
            Some(file) => {
                let (policy, text) = read_policy(file)?;
                (policy, Some(text))
            }
            None => (Policy::allow_all(), None),
        };
        // Its processes run already: what is not known yet is swapped in when it is.
        self.ask_in_passing(&policy);
        let config = self.options.config.clone();
        let table = self.suit(&policy, &Variables::default(), &config, None)?;
        let unit = match &rule.whose {
            Whose::Unit(unit) => Some(unit.clone()),
            Whose::Cgroup(_) => None,
        };
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
                container: cgroup::container(&found.below),
            },
            config,
            own_ledger: false,
            reader_gid: None,
            table,
            cgroup: found.path.clone(),
            own: None,
            root: None,
            uid: 0,
            policy: written,
            variables: Variables::default(),
            sets: Vec::new(),
            role: rule.role.clone(),
            task: rule.task.clone(),
            wanted: None,
        })?;
        tracing::info!("agent {number} found in {}", found.below);
        Ok(())
    }
}

fn read_policy(file: &Path) -> Result<(Policy, Written)> {
    let text = policy::read_text(file).map_err(|cause| anyhow!("policy {}: {cause}", file.display()))?;
    let name = file.to_string_lossy().into_owned();
    let (policy, includes) = policy::parse_file(&name, &text)?;
    Ok((policy, Written { name, text, includes }))
}
