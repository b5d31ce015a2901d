//! A kernel for tests of the engine: its denials meet what is written, and it remembers how agents stand.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sensor_common::event::Ring;

use super::source::EventSource;
use crate::attempt::Mode;
use crate::kernel::{AgentNo, Event, Standing, Totals};
use crate::policy::{Circumstances, Table};

pub(super) struct Script {
    standing: Standing,
    /// The errnos that trials of a denial meet.
    pub denials: VecDeque<i32>,
    /// The facts that hold of each agent.
    pub facts: HashMap<AgentNo, u64>,
    /// The processes of each agent's tasks.
    pub tasks: HashMap<AgentNo, Vec<u32>>,
}

impl Script {
    pub fn new(denials: impl IntoIterator<Item = i32>) -> Script {
        let standing = Standing { mode: Mode::Lsm, degraded: false, notes: Vec::new(), hooks: Vec::new() };
        Script { standing, denials: denials.into_iter().collect(), facts: HashMap::new(), tasks: HashMap::new() }
    }
}

impl EventSource for Script {
    fn standing(&self) -> &Standing {
        &self.standing
    }

    fn govern(&mut self, _: AgentNo, _: &Path) -> Result<()> {
        Ok(())
    }

    fn release(&mut self, _: AgentNo) -> Result<()> {
        Ok(())
    }

    fn set_policy(&mut self, _: AgentNo, _: &Table, _: bool) -> Result<u64> {
        Ok(1)
    }

    fn stand(&mut self, agent: AgentNo, how: &Circumstances) {
        self.facts.insert(agent, how.facts);
    }

    fn forget_labels(&mut self, _: AgentNo, _: u32) {}

    fn try_denial(&mut self) -> Result<Option<i32>> {
        Ok(Some(self.denials.pop_front().unwrap()))
    }

    fn rest(&mut self) -> Result<()> {
        Ok(())
    }

    fn drain(&mut self, _: Duration, _: &mut dyn FnMut(Event)) -> Result<()> {
        Ok(())
    }

    fn drain_all(&mut self, _: &mut dyn FnMut(Event)) -> Result<()> {
        Ok(())
    }

    fn totals(&mut self, _: AgentNo, _: Ring) -> Result<Totals> {
        Ok(Totals::default())
    }

    fn survives(&self) -> bool {
        true
    }

    fn tasks(&mut self, agent: AgentNo) -> Vec<u32> {
        self.tasks.get(&agent).cloned().unwrap_or_default()
    }

    fn bears_a_mark(&mut self, pid: u32) -> bool {
        self.tasks.values().any(|tasks| tasks.contains(&pid))
    }

    fn live_tasks(&mut self, _: AgentNo) -> u32 {
        0
    }

    fn faults(&self) -> Result<Vec<(&'static str, u64)>> {
        Ok(Vec::new())
    }
}
