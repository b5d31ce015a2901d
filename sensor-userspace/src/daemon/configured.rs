//! How a run begins that the configuration names: its cgroup is found.

use anyhow::{Result, anyhow};

use super::begin::{Plan, random_hex};
use super::engine::Engine;
use super::source::EventSource;
use crate::agent::{Found, cgroup};
use crate::attempt::Run;
use crate::config::Whose;
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

    fn start_configured(&mut self, found: &Found) -> Result<()> {
        let rule = self
            .watch
            .rule(found.rule)
            .ok_or_else(|| anyhow!("its rule is gone"))?
            .clone();
        if self
            .desk
            .agents
            .values()
            .any(|agent| agent.cgroup == found.path)
        {
            return Ok(());
        }
        let table = match &rule.policy {
            Some(file) => {
                let text = policy::read_text(file)
                    .map_err(|cause| anyhow!("policy {}: {cause}", file.display()))?;
                let (policy, _) = policy::parse_file(&file.to_string_lossy(), &text)?;
                policy.compile(&Variables::default())?
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
                agent_id: rule
                    .name
                    .clone()
                    .or_else(|| unit.clone())
                    .unwrap_or_else(|| found.below.clone()),
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
        })?;
        tracing::info!("agent {number} found in {}", found.below);
        Ok(())
    }
}
