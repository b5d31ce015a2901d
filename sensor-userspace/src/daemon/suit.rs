//! A policy made an agent's own, the same way whenever that is: at its start, at a swap, and under the next daemon.

use anyhow::Result;

use super::contents::contents;
use super::engine::Engine;
use super::hosts::addresses;
use super::source::EventSource;
use crate::config::Config;
use crate::control::protocol::WantedMode;
use crate::policy::{Policy, Table, Variables};

impl<S: EventSource> Engine<S> {
    /// Compiles it with the agent's variables and what host names stand for, relaxes what the agent's settings relax, and
    /// says whether it only records: as `wanted` where that is given, and always where the operator allows no more.
    pub(super) fn suit(
        &self,
        policy: &Policy,
        variables: &Variables,
        config: &Config,
        wanted: Option<WantedMode>,
    ) -> Result<Table> {
        let mut table = policy.compile_with(
            variables,
            &addresses(&self.hosts, policy.host_names()),
            &contents(&self.files, &policy.pinned()),
        )?;
        table.kernel.relaxed |= config.guard_relax;
        match wanted {
            Some(WantedMode::Observe) => table.kernel.observe = 1,
            Some(WantedMode::Enforce) => table.kernel.observe = 0,
            None => {}
        }
        if !self.options.enforce_allowed {
            table.kernel.observe = 1;
        }
        Ok(table)
    }
}
