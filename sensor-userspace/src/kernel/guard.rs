//! The guard's names as the kernel side looks them up, and the places that are guarded by what they are.

use std::{
    collections::HashMap,
    fs, io,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStringExt as _, fs::MetadataExt as _, fs::OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use sensor_common::{
    guard::{EDGE_READS, FIRST_STATE, NAMES, STATES, kind, of_kind},
    hash::{self, Secret},
    table::EdgeKey,
};

use crate::config::{DEFAULT_FILE, RUNTIME_DIR, STATE_DIR};

/// Directories and files that are guarded at once; beyond it the one that was added first is let go.
pub const MAX_PLACES: usize = 256;

/// What cron, at and anacron read.
const SCHEDULES: [&str; 9] = [
    "/etc/crontab", "/etc/anacrontab", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly",
    "/etc/cron.monthly", "/var/spool/cron", "/var/spool/at",
];

/// What the kernel runs of itself. Links are followed: what they lead to is guarded as well.
const HELPERS: [&str; 3] = ["/sbin/modprobe", "/sbin/request-key", "/sbin/bridge-stp"];

/// Every edge of the guard's names.
pub fn edges(secret: Secret) -> Vec<(EdgeKey, u32)> {
    // By state and name: the edge's value, and the state behind it.
    let mut edges: HashMap<(u32, &str), (u32, u32)> = HashMap::new();
    let mut next = FIRST_STATE;
    for each in NAMES {
        let mut state = each.kind;
        let mut above = of_kind(each.kind).1;
        let mut parts = each.path.split('/').peekable();
        while let Some(part) = parts.next() {
            let edge = edges.entry((state, part)).or_insert((above, 0));
            if parts.peek().is_none() {
                edge.0 = each.guard.map_or(0, |guard| guard.word()) | if each.reads { EDGE_READS } else { 0 };
            } else if edge.1 == 0 {
                edge.1 = next;
                next += 1;
            }
            (above, state) = *edge;
        }
    }
    edges
        .into_iter()
        .map(|((state, name), (value, behind))| {
            let key = EdgeKey { state: STATES + u64::from(state), name: hash::component(secret, name.as_bytes()) };
            (key, value | behind << 16)
        })
        .collect()
}

/// The kind of a filesystem by the name that mountinfo has for it.
pub fn kind_named(name: &[u8]) -> u32 {
    match name {
        b"proc" => kind::PROC,
        b"sysfs" => kind::SYSFS,
        b"cgroup" => kind::CGROUP1,
        b"cgroup2" => kind::CGROUP2,
        b"tracefs" | b"debugfs" => kind::TRACING,
        b"bpf" => kind::BPF,
        b"binfmt_misc" => kind::BINFMT,
        b"securityfs" | b"efivarfs" | b"configfs" => kind::KERNEL,
        _ => 0,
    }
}

/// A guarded directory or file, held so that its inode stays what it is.
pub struct Held {
    pub file: fs::File,
    /// Where it stands, links followed.
    pub place: Vec<u8>,
    pub number: u64,
    pub kind: u32,
}

/// What is guarded by what it is.
pub struct Places {
    wanted: Vec<(PathBuf, u32)>,
    /// How many of them stay whatever is added.
    lasting: usize,
}

impl Default for Places {
    fn default() -> Places {
        let own = |path: &str| (PathBuf::from(path), kind::OWN);
        let mut wanted = vec![own(STATE_DIR), own(RUNTIME_DIR), (Path::new(STATE_DIR).join("keys"), kind::KEYS)];
        wanted.extend(Path::new(DEFAULT_FILE).parent().map(|dir| (dir.to_path_buf(), kind::OWN)));
        wanted.extend(std::env::current_exe().map(|program| (program, kind::OWN)));
        // Who may open it can hold it, and the next daemon would take that for a daemon.
        wanted.push((Path::new(RUNTIME_DIR).join("lock"), kind::KEYS));
        wanted.extend(HELPERS.iter().map(|path| (PathBuf::from(path), kind::BINFMT)));
        wanted.extend(["/sbin", "/usr/sbin"].map(|path| (PathBuf::from(path), kind::SBIN)));
        wanted.extend(SCHEDULES.iter().map(|path| (PathBuf::from(path), kind::SCHEDULES)));
        Places { lasting: wanted.len(), wanted }
    }
}

impl Places {
    pub fn add(&mut self, path: &Path, kind: u32) {
        if self.wanted.iter().any(|(known, _)| known == path) {
            return;
        }
        if self.wanted.len() >= MAX_PLACES {
            self.wanted.remove(self.lasting);
        }
        self.wanted.push((path.to_path_buf(), kind));
    }

    pub fn wanted(&self) -> &[(PathBuf, u32)] {
        &self.wanted
    }

    /// Those that are there now.
    pub fn held(&self) -> Vec<Held> {
        self.wanted.iter().filter_map(|(path, kind)| hold(path, *kind).ok()).collect()
    }
}

fn hold(path: &Path, kind: u32) -> io::Result<Held> {
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
    let place = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let number = file.metadata()?.ino();
    Ok(Held { file, place: place.into_os_string().into_vec(), number, kind })
}

#[cfg(test)]
mod tests {
    use sensor_common::guard::{EDGE_RULE, Guard};

    use super::*;

    /// As the kernel side walks them.
    fn rule(edges: &HashMap<EdgeKey, u32>, secret: Secret, kind: u32, path: &str) -> Option<u32> {
        let (mut state, mut met) = (kind, None);
        for name in path.split('/') {
            let key = EdgeKey { state: STATES + u64::from(state), name: hash::component(secret, name.as_bytes()) };
            let Some(edge) = edges.get(&key) else { break };
            met = Some(edge & 0xffff);
            state = edge >> 16;
            if state == 0 {
                break;
            }
        }
        met
    }

    #[test]
    fn names_lead_to_their_rules() {
        let secret = Secret::new(7);
        let edges: HashMap<EdgeKey, u32> = edges(secret).into_iter().collect();
        for each in NAMES {
            let found = rule(&edges, secret, each.kind, each.path);
            let expected = each.guard.map_or(0, Guard::word) | if each.reads { EDGE_READS } else { 0 };
            assert_eq!(found, Some(expected), "{}", each.path);
        }
        let word = |path| rule(&edges, secret, kind::PROC, path).map(|edge| edge & EDGE_RULE);
        assert_eq!(word("sys/kernel/panic"), Some(Guard::Settings.word()));
        assert_eq!(word("sys/net/core/somaxconn"), Some(0));
        assert_eq!(word("sys/kernel/usermodehelper/bset"), Some(Guard::Helpers.word()));
        assert_eq!(word("cpuinfo"), None);
        let word = |path| rule(&edges, secret, kind::SYSFS, path).map(|edge| edge & EDGE_RULE);
        // Above what is named stands what holds of all.
        assert_eq!(word("kernel/rcu_expedited"), Some(Guard::Settings.word()));
        assert_eq!(word("power/state"), Some(Guard::Reboot.word()));
    }

    #[test]
    fn places_added_have_an_end() {
        let mut places = Places::default();
        for number in 0..2 * MAX_PLACES {
            places.add(Path::new(&format!("/ledger/{number}")), kind::OWN);
        }
        assert_eq!(places.wanted.len(), MAX_PLACES);
        assert_eq!(places.wanted[0].0, Path::new(STATE_DIR));
        assert_eq!(places.wanted.last().unwrap().0, Path::new("/ledger/511"));
    }
}
