//! What runs have written: the kernel side notes it; here it begins and ends.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::{Path, PathBuf},
};

use aya::maps::{HashMap as KernelMap, MapData};
use sensor_common::event::WrittenKey;

use super::{
    AgentNo,
    pod::{Pod, remove_where},
    sys,
};

pub struct Written {
    map: KernelMap<MapData, Pod<WrittenKey>, u32>,
    /// Notes, given an agent, what a descriptor of ours leads to.
    describe: OwnedFd,
    /// Agents that a policy judges: whether some rule of it asks.
    asked: HashMap<AgentNo, bool>,
    /// Agents of which something may be noted.
    noted: HashSet<AgentNo>,
}

impl Written {
    pub fn new(map: KernelMap<MapData, Pod<WrittenKey>, u32>, describe: OwnedFd) -> Written {
        Written { map, describe, asked: HashMap::new(), noted: HashSet::new() }
    }

    /// Whether the agent's policy asks from now on. True: it does, and the one before did not, so that what was written under
    /// that was not noted.
    pub fn ask(&mut self, agent: AgentNo, asks: bool) -> bool {
        if asks {
            self.noted.insert(agent);
        }
        self.asked.insert(agent, asks) == Some(false) && asks
    }

    /// Notes what the process holds open for writing: it was opened before anybody looked.
    pub fn inherit(&self, agent: AgentNo, pid: u32) {
        if !self.noted.contains(&agent) {
            return;
        }
        // A process that has ended, or a descriptor closed meanwhile, writes nothing.
        let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return };
        for entry in entries.flatten() {
            let about = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(entry.file_name());
            if fs::read_to_string(about).is_ok_and(|about| writes(&about)) {
                let _ = self.note(agent, &entry.path());
            }
        }
    }

    fn note(&self, agent: AgentNo, path: &PathBuf) -> io::Result<()> {
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
        sys::test_run(self.describe.as_fd(), &[file.as_raw_fd() as u64, agent.into()])
    }

    /// The agent's run is over.
    pub fn forget(&mut self, agent: AgentNo) {
        self.asked.remove(&agent);
        if self.noted.remove(&agent) {
            self.forget_all(|of| of == agent);
        }
    }

    /// Forgets what was noted of these agents.
    pub fn forget_all(&mut self, which: impl Fn(AgentNo) -> bool) {
        remove_where(&mut self.map, |key| which(key.agent));
    }
}

/// Whether a descriptor's `fdinfo` says that it is open for writing.
fn writes(about: &str) -> bool {
    let flags = about.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    flags.is_none_or(|flags| flags & libc::O_ACCMODE != libc::O_RDONLY && flags & libc::O_PATH == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_known_by_what_they_are_open_for() {
        for (flags, expected) in [
            ("0100000", false),
            ("0100001", true),
            ("0102", true),
            // O_PATH: neither.
            ("010000001", false),
        ] {
            assert_eq!(writes(&format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t22\n")), expected, "{flags}");
        }
        assert!(writes("pos:\t0\n"), "what cannot be told is on the safe side");
    }
}
