//! The kernel side as the event source.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use sensor_common::event::Ring;

use super::Options;
use super::source::EventSource;
use super::state::{self, State};
use crate::agent::cgroup;
use crate::config::RUNTIME_DIR;
use crate::kernel::{self, AgentNo, Event, Sensor, Standing, Stood, Totals};
use crate::policy::{Circumstances, Table};

/// Loads the programs, attaches them, and proves that a denial denies.
pub fn load(options: &Options) -> Result<impl EventSource + use<>> {
    let wait = kernel::Options {
        outcome_wait: options.config.outcome_wait,
        pin: true,
        places: State::read(&state::path())?.places(),
        servers: options.config.hosts_servers.clone(),
    };
    let mut sensor = Sensor::load(&wait).map_err(|error| anyhow!("{error}"))?;
    give_memory_back();
    let proven = in_scratch(|cgroup, file| sensor.prove(cgroup, file));
    proven.context("whether a denial denies could not be tried")?;
    Ok(sensor)
}

/// The kernel's types take tens of megabytes to read, once; the allocator would keep them for ever.
fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointer, and touches nothing that is in use.
    unsafe {
        libc::malloc_trim(0)
    };
}

/// With a cgroup, and a file's name, that are there for this alone.
fn in_scratch<T>(work: impl FnOnce(&Path, &Path) -> std::io::Result<T>) -> Result<T> {
    let mount = cgroup::mount_point()?;
    let scratch = cgroup::Own::make(&mount, &format!("canary-{}", std::process::id()))?;
    let file = Path::new(RUNTIME_DIR).join("canary");
    let done = work(scratch.path(), &file);
    scratch.remove();
    // It is there if the denial denied.
    let _ = std::fs::remove_file(&file);
    Ok(done?)
}

impl EventSource for Sensor {
    fn standing(&self) -> &Standing {
        self.standing()
    }

    fn govern(&mut self, agent: AgentNo, cgroup: &Path) -> Result<()> {
        Ok(self.govern(agent, cgroup)?)
    }

    fn inherit(&mut self, agent: AgentNo, pid: u32) {
        Sensor::inherit(self, agent, pid);
    }

    fn release(&mut self, agent: AgentNo) -> Result<()> {
        Ok(self.release(agent)?)
    }

    fn set_policy(&mut self, agent: AgentNo, table: &Table, observe: bool) -> Result<u64> {
        Ok(self.set_policy(agent, table, observe)?)
    }

    fn guard_place(&mut self, path: &Path, keys: bool) {
        Sensor::guard_place(self, path, keys);
    }

    fn holds_policy(&self, generation: u64) -> bool {
        self.holds_policy(generation)
    }

    fn stand(&mut self, agent: AgentNo, how: &Circumstances) {
        Sensor::stand(self, agent, how);
    }

    fn forget_labels(&mut self, agent: AgentNo, labels: u32) {
        Sensor::forget_labels(self, agent, labels);
    }

    fn try_denial(&mut self) -> Result<Option<i32>> {
        in_scratch(|cgroup, file| self.try_denial(cgroup, file))
    }

    fn rest(&mut self) -> Result<()> {
        Ok(self.rest()?)
    }

    fn drain(&mut self, timeout: Duration, each: &mut dyn FnMut(Event)) -> Result<()> {
        Ok(self.drain(timeout, each)?)
    }

    fn drain_all(&mut self, each: &mut dyn FnMut(Event)) -> Result<()> {
        Ok(self.drain_all(each)?)
    }

    fn totals(&mut self, agent: AgentNo, ring: Ring) -> Result<Totals> {
        Ok(self.totals(agent, ring)?)
    }

    fn faults(&self) -> Result<Vec<(&'static str, u64)>> {
        let met = self.faults()?.into_iter().map(|(fault, count)| (fault.name(), count));
        Ok(met.chain([("programs_skipped", self.skipped()?)]).collect())
    }

    fn survives(&self) -> bool {
        self.survives()
    }

    fn places(&self) -> &[Vec<u8>] {
        self.places()
    }

    fn adopt(&mut self, agent: AgentNo, cgroup: &Path) -> Result<()> {
        Ok(self.adopt(agent, cgroup)?)
    }

    fn stood_before(&self, agent: AgentNo) -> Option<Stood> {
        Sensor::stood_before(self, agent)
    }

    fn take_over(&mut self) -> Result<()> {
        Ok(self.take_over()?)
    }

    fn strangers(&mut self, known: &HashSet<AgentNo>) -> Vec<AgentNo> {
        self.strangers(known)
    }

    fn bears_a_mark(&mut self, pid: u32) -> bool {
        Sensor::bears_a_mark(self, pid)
    }

    fn tasks(&mut self, agent: AgentNo) -> Vec<u32> {
        self.tasks(agent)
    }

    fn told(&self, agent: AgentNo) -> [Totals; 2] {
        self.told(agent)
    }

    fn settle(&mut self, agent: AgentNo, told: &[Totals; 2]) {
        self.settle(agent, told);
    }

    fn end(self, leave: bool) -> Result<()> {
        Ok(self.end(leave)?)
    }

    fn live_tasks(&mut self, agent: AgentNo) -> u32 {
        self.live_tasks(agent)
    }
}
