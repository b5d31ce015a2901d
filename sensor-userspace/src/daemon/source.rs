//! Where events come from: the kernel, or in tests a script.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sensor_common::event::Ring;

use crate::kernel::{AgentNo, Event, Standing, Totals};
use crate::policy::Table;

pub trait EventSource: Sized {
    fn standing(&self) -> &Standing;
    /// Tasks moved into this cgroup or below it, or made there, are the agent's from now on.
    fn govern(&mut self, agent: AgentNo, cgroup: &Path) -> Result<()>;
    fn release(&mut self, agent: AgentNo) -> Result<()>;
    fn set_policy(&mut self, agent: AgentNo, table: &Table, observe: bool) -> Result<()>;
    /// Nobody is governed: calls need not be looked at until somebody is.
    fn rest(&mut self) -> Result<()>;
    /// Waits up to `timeout`, then hands over the events that are ripe, in the kernel's order.
    fn drain(&mut self, timeout: Duration, each: &mut dyn FnMut(Event)) -> Result<()>;
    /// Hands over everything made up to now.
    fn drain_all(&mut self, each: &mut dyn FnMut(Event)) -> Result<()>;
    /// Exact after `drain_all`.
    fn totals(&mut self, agent: AgentNo, ring: Ring) -> Result<Totals>;
    /// Whether enforcement goes on when the daemon dies.
    fn survives(&self) -> bool;
    /// Where filesystems stand, by the numbers that events bear.
    fn places(&self) -> &[Vec<u8>];
    /// Takes up an agent of the daemon before.
    fn adopt(&mut self, agent: AgentNo, cgroup: &Path) -> Result<()>;
    /// What the daemon before put in force is replaced by what this one did.
    fn take_over(&mut self) -> Result<()>;
    /// Numbers that tasks bear and that are none of `known`.
    fn strangers(&mut self, known: &HashSet<AgentNo>) -> Vec<AgentNo>;
    /// The process of each of an agent's tasks.
    fn tasks(&mut self, agent: AgentNo) -> Vec<u32>;
    /// What gap records told of an agent, by ring, as last settled.
    fn told(&self, agent: AgentNo) -> [Totals; 2];
    /// All that was handed over of this agent, and `told`, is written down.
    fn settle(&mut self, agent: AgentNo, told: &[Totals; 2]);
    /// `leave`: what outlives the daemon stays in force.
    fn end(self, leave: bool) -> Result<()>;
    fn live_tasks(&mut self, agent: AgentNo) -> u32;
    /// What the kernel side could not do since it was loaded, by name.
    fn faults(&self) -> Result<Vec<(&'static str, u64)>>;
}
