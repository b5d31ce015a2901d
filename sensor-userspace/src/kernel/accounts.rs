//! How far the daemon has come with each agent's events: in a mapped map, which outlives a killed daemon.

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use sensor_common::event::{Account, MAX_AGENTS, Ring};

use super::AgentNo;

const ENTRIES: usize = MAX_AGENTS as usize * 2;
const LENGTH: usize = size_of::<Account>() * ENTRIES;

pub struct Accounts {
    base: *mut Account,
}

// SAFETY: the mapping lives as long as this value, which alone writes to it.
unsafe impl Send for Accounts {}

impl Accounts {
    pub fn map(fd: BorrowedFd<'_>) -> io::Result<Accounts> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping of the map's own length.
        let base = unsafe { libc::mmap(ptr::null_mut(), LENGTH, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Accounts { base: base.cast() })
    }

    fn entry(&self, agent: AgentNo, ring: Ring) -> *mut Account {
        let index = (agent as usize * 2 + ring as usize).min(ENTRIES - 1);
        // SAFETY: within the mapping.
        unsafe { self.base.add(index) }
    }

    pub fn get(&self, agent: AgentNo, ring: Ring) -> Account {
        // SAFETY: an entry of the mapping; any bytes are a valid one.
        unsafe { self.entry(agent, ring).read_volatile() }
    }

    pub fn set(&mut self, agent: AgentNo, ring: Ring, account: Account) {
        // SAFETY: an entry of the mapping, which nobody else writes.
        unsafe { self.entry(agent, ring).write_volatile(account) };
    }
}

impl Drop for Accounts {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`.
        unsafe { libc::munmap(self.base.cast(), LENGTH) };
    }
}
