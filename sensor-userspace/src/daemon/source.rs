//! Where events come from: the kernel, or in tests a script.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sensor_common::event::Ring;

use crate::kernel::{AgentNo, Event, Standing, Stood, Totals};
use crate::policy::{Circumstances, Table};

pub trait EventSource: Sized {
    fn standing(&self) -> &Standing;
    /// Tasks moved into this cgroup or below it, or made there, are the agent's from now on.
    fn govern(&mut self, agent: AgentNo, cgroup: &Path) -> Result<()>;
    /// A process came in with descriptors that it had opened before.
    fn inherit(&mut self, _agent: AgentNo, _pid: u32) {}
    fn release(&mut self, agent: AgentNo) -> Result<()>;
    /// Guards a directory or a file of rgt's from the next policy on; `keys`: its reading as well.
    fn guard_place(&mut self, _path: &Path, _keys: bool) {}
    /// Puts it in force in place of the agent's policy before: its generation, 0 where nothing judges.
    fn set_policy(&mut self, agent: AgentNo, table: &Table, observe: bool) -> Result<u64>;
    /// Whether an attempt under way may be judged by this generation.
    fn holds_policy(&self, _generation: u64) -> bool {
        false
    }
    /// How the agent stands from now on; labels are added, for the kernel side sets some itself.
    fn stand(&mut self, agent: AgentNo, how: &Circumstances);
    /// Labels that are no longer set, a bit each.
    fn forget_labels(&mut self, agent: AgentNo, labels: u32);
    /// Tries a denial: the errno that it met, EACCES if it denied. None where nothing can deny.
    fn try_denial(&mut self) -> Result<Option<i32>>;
    /// Nobody is governed: calls need not be looked at until somebody is.
    fn rest(&mut self) -> Result<()>;
    /// Waits up to `timeout`, then hands over the events that are ripe, in the kernel's order.
    fn drain(&mut self, timeout: Duration, each: &mut dyn FnMut(Event)) -> Result<()>;
    /// Hands over everything made up to now.
    fn drain_all(&mut self, each: &mut dyn FnMut(Event)) -> Result<()>;
    /// Exact after `drain_all`.
    fn totals(&mut self, agent: AgentNo, ring: Ring) -> Result<Totals>;
    /// Whether enforcement goes on when the daemon dies. Where it does not, neither has the rest anything to do.
    fn survives(&self) -> bool {
        false
    }
    /// Where filesystems stand, by the numbers that events bear.
    fn places(&self) -> &[Vec<u8>] {
        &[]
    }
    /// Takes up an agent of the daemon before.
    fn adopt(&mut self, agent: AgentNo, cgroup: &Path) -> Result<()> {
        self.govern(agent, cgroup)
    }
    /// How the daemon before left an agent.
    fn stood_before(&self, _agent: AgentNo) -> Option<Stood> {
        None
    }
    /// What the daemon before put in force is replaced by what this one did.
    fn take_over(&mut self) -> Result<()> {
        Ok(())
    }
    /// Numbers that tasks bear and that are none of `known`.
    fn strangers(&mut self, _known: &HashSet<AgentNo>) -> Vec<AgentNo> {
        Vec::new()
    }
    /// The process of each of an agent's tasks.
    fn tasks(&mut self, _agent: AgentNo) -> Vec<u32> {
        Vec::new()
    }
    /// Whether this process is an agent's, by the kernel side's word.
    fn bears_a_mark(&mut self, _pid: u32) -> bool {
        false
    }
    /// What gap records told of an agent, by ring, as last settled.
    fn told(&self, _agent: AgentNo) -> [Totals; 2] {
        Default::default()
    }
    /// All that was handed over of this agent, and `told`, is written down.
    fn settle(&mut self, _agent: AgentNo, _told: &[Totals; 2]) {}
    /// `leave`: what outlives the daemon stays in force.
    fn end(self, _leave: bool) -> Result<()> {
        Ok(())
    }
    fn live_tasks(&mut self, agent: AgentNo) -> u32;
    /// What the kernel side could not do since it was loaded, by name.
    fn faults(&self) -> Result<Vec<(&'static str, u64)>>;
}
