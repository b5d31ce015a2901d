//! How each agent stands, in memory that the kernel side reads: changed without a call, and in force at once.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _},
    ptr,
};

use aya::maps::MapData;
use sensor_common::{
    event::{Governed, MAX_AGENTS},
    hash::{self, Secret},
    table::{LANES, MAX_LABELS},
};

use super::{AgentNo, clock};
use crate::policy::Lanes;

pub struct Standings {
    base: *mut Governed,
    /// Hooks that are loaded later name the map by this descriptor.
    _map: MapData,
}

// SAFETY: the mapping is shared with the kernel alone and lives as long as this value.
unsafe impl Send for Standings {}

const LENGTH: usize = size_of::<Governed>() * MAX_AGENTS as usize;

impl Standings {
    pub fn map(map: MapData) -> io::Result<Standings> {
        let fd = map.fd().as_fd();
        let how = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of the map's own length.
        let base = unsafe { libc::mmap(ptr::null_mut(), LENGTH, how, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Standings { base: base.cast(), _map: map })
    }

    fn of(&self, agent: AgentNo) -> *mut Governed {
        // SAFETY: within the mapping.
        unsafe { self.base.add((agent % MAX_AGENTS) as usize) }
    }

    /// Judged by this policy from now on (none: by none); in one write, so that no hook sees half of it.
    pub fn judge_by(&mut self, agent: AgentNo, policy: Option<u32>, observe: bool) {
        let word = policy.map_or(0, |number| u64::from(number) + 1) | u64::from(observe) << 32;
        // SAFETY: `policy` and `observe` are the first eight bytes, aligned.
        unsafe { self.of(agent).cast::<u64>().write_volatile(word) }
    }

    /// The run is registered, unless it is already; one of the daemon before as it stood under that.
    pub fn begin(&mut self, agent: AgentNo, stood: Option<Governed>) {
        let stood = stood.filter(|stood| stood.since != 0);
        let (since, full) = stood.map_or_else(|| (clock::stamp_ns(), 0), |stood| (stood.since, stood.written_full));
        // SAFETY: fields of an entry within the mapping.
        unsafe {
            let entry = self.of(agent);
            if (&raw const (*entry).since).read_volatile() == 0 {
                (&raw mut (*entry).written_full).write_volatile(full);
                (&raw mut (*entry).since).write_volatile(since);
            }
        }
    }

    /// Not all that the run has written was noted: what was changed since it was registered counts as written.
    pub fn know_written_by_time(&mut self, agent: AgentNo) {
        // SAFETY: a field of an entry within the mapping.
        unsafe { (&raw mut (*self.of(agent)).written_full).write_volatile(1) }
    }

    /// Forgets what the agent before had under this number.
    pub fn reset(&mut self, agent: AgentNo) {
        // SAFETY: a whole entry within the mapping.
        unsafe { self.of(agent).write_volatile(Governed::default()) }
    }

    /// The agent's own directories, which its policies speak of: the same for its whole run.
    pub fn set_lanes(&mut self, agent: AgentNo, lanes: &Lanes, secret: Secret) {
        let mut hashes = [0; LANES];
        for (hash, lane) in hashes.iter_mut().zip(lanes.iter()) {
            *hash = lane.map_or(0, |lane| hash::prefix(secret, lane.iter().map(Vec::as_slice)));
        }
        let depth = lanes.iter().flatten().map(<[Vec<u8>]>::len).max().unwrap_or(0);
        // SAFETY: fields of an entry within the mapping.
        unsafe {
            let entry = self.of(agent);
            (&raw mut (*entry).lanes).write_volatile(hashes);
            (&raw mut (*entry).lane_depth).write_volatile(depth as u32);
        }
    }

    pub fn set_facts(&mut self, agent: AgentNo, facts: u64) {
        // SAFETY: a field of an entry within the mapping.
        unsafe { (&raw mut (*self.of(agent)).facts).write_volatile(facts) }
    }

    pub fn set_risk(&mut self, agent: AgentNo, risk: u8) {
        // SAFETY: as above.
        unsafe { (&raw mut (*self.of(agent)).risk).write_volatile(risk.into()) }
    }

    /// Sets, or takes away, the labels given as bits.
    pub fn change_labels(&mut self, agent: AgentNo, labels: u32, set: bool) {
        for label in (0..MAX_LABELS).filter(|label| labels & (1 << label) != 0) {
            // SAFETY: as above.
            unsafe { (&raw mut (*self.of(agent)).labels[label]).write_volatile(set.into()) }
        }
    }
}

impl Drop for Standings {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`.
        unsafe { libc::munmap(self.base.cast(), LENGTH) };
    }
}
