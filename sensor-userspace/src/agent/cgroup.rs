//! Cgroups of version 2: where they are mounted, whose a process is in, making and emptying one's own.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Below it every agent that `exec` starts has its own.
pub const SLICE: &str = "rgt.slice";

/// Where cgroup v2 is mounted: alone, or beside version 1.
pub fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read("/proc/self/mounts").context("/proc/self/mounts")?;
    match find_mount(&mounts) {
        Some(path) => Ok(path),
        None => bail!("no cgroup v2 is mounted; mount one: mount -t cgroup2 none /sys/fs/cgroup"),
    }
}

fn find_mount(mounts: &[u8]) -> Option<PathBuf> {
    mounts.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b' ');
        let (_device, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == b"cgroup2").then(|| PathBuf::from(OsString::from_vec(unescape(place))))
    })
}

/// `/proc/mounts` writes blanks and backslashes as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                out.push(value);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

/// The cgroup of a process, as a path below the v2 root without a leading slash.
pub fn of(pid: u32) -> io::Result<String> {
    let text = fs::read(format!("/proc/{pid}/cgroup"))?;
    let found = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::/")).unwrap_or_default();
    Ok(String::from_utf8_lossy(found).into_owned())
}

/// Whether `path` is `subtree` or lies in it; both below the v2 root.
pub fn within(path: &str, subtree: &str) -> bool {
    path.strip_prefix(subtree).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A name that a directory may bear, made from what a user wrote.
pub fn plain_name(name: &str) -> String {
    let plain: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .take(64)
        .collect();
    // `..` and names that look like the kernel's own files are none.
    if plain.starts_with('.') || plain.is_empty() { format!("agent{plain}") } else { plain }
}

/// A cgroup that the daemon made, and may therefore empty and remove.
#[derive(Debug)]
pub struct Own {
    path: PathBuf,
}

impl Own {
    pub fn make(mount: &Path, name: &str) -> Result<Own> {
        let slice = mount.join(SLICE);
        let path = slice.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot make the cgroup {}", path.display()))?;
        Ok(Own { path })
    }

    /// One that an earlier daemon made.
    pub fn of(path: &Path) -> Own {
        Own { path: path.to_path_buf() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn move_in(&self, pid: u32) -> Result<()> {
        let procs = self.path.join("cgroup.procs");
        fs::write(&procs, pid.to_string())
            .with_context(|| format!("cannot move process {pid} into {}", procs.display()))
    }

    /// Processes in it and below.
    pub fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        collect(&self.path, &mut pids);
        pids
    }

    /// Ends every process in it and below.
    pub fn kill(&self) {
        if fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        // Before Linux 5.14: by process, again and again while a fork wins the race. The pids come from
        // this cgroup alone and are read anew each time.
        for _ in 0..64 {
            let pids = self.pids();
            if pids.is_empty() {
                return;
            }
            for pid in pids {
                // SAFETY: kill(2) takes two integers and touches no memory of ours.
                unsafe { libc::kill(pid as libc::pid_t, libc::SIGKILL) };
            }
        }
    }

    /// Removes it and those that the agent made below it; false while something lives there.
    pub fn remove(&self) -> bool {
        remove_tree(&self.path)
    }
}

fn collect(dir: &Path, pids: &mut Vec<u32>) {
    if let Ok(text) = fs::read_to_string(dir.join("cgroup.procs")) {
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    }
    for child in children(dir) {
        collect(&child, pids);
    }
}

/// Directories directly below, none if it cannot be read.
pub fn children(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn remove_tree(dir: &Path) -> bool {
    for child in children(dir) {
        remove_tree(&child);
    }
    match fs::remove_dir(dir) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Removes the empty cgroups that a daemon left behind that did not end by itself.
pub fn sweep(mount: &Path) {
    for left in children(&mount.join(SLICE)) {
        remove_tree(&left);
    }
}

/// The path below the v2 root, for records.
pub fn below(mount: &Path, path: &Path) -> String {
    let below = path.strip_prefix(mount).unwrap_or(path);
    String::from_utf8_lossy(below.as_os_str().as_bytes()).into_owned()
}

/// The container that a cgroup's path names: the 64 hex digits that every runtime puts there.
pub fn container(below: &str) -> Option<String> {
    below.rsplit('/').find_map(|name| {
        let name = name.strip_suffix(".scope").unwrap_or(name);
        let id = name.rsplit_once('-').map_or(name, |(_, id)| id);
        (id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_beside_version_1() {
        let mounts = b"cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                       cgroup2 /sys/fs/my\\040cgroup cgroup2 rw 0 0\n";
        assert_eq!(find_mount(mounts), Some(PathBuf::from("/sys/fs/my cgroup")));
        assert_eq!(find_mount(b"tmpfs /tmp tmpfs rw 0 0\n"), None);
    }

    #[test]
    fn subtrees_end_at_a_slash() {
        assert!(within("a/b", "a/b"));
        assert!(within("a/b/c", "a/b"));
        assert!(!within("a/bc", "a/b"));
    }

    #[test]
    fn names_become_plain() {
        assert_eq!(plain_name("exec/0/my agent"), "exec-0-my-agent");
        assert_eq!(plain_name(".."), "agent..");
        assert_eq!(plain_name(""), "agent");
    }

    #[test]
    fn containers_are_known_by_their_cgroup() {
        let id = "0123456789abcdef".repeat(4);
        for path in [
            format!("kubepods/burstable/pod1/{id}"),
            format!("system.slice/docker-{id}.scope"),
            format!("kubepods.slice/cri-containerd-{id}.scope/inner"),
        ] {
            assert_eq!(container(&path).as_ref(), Some(&id), "{path}");
        }
        assert_eq!(container("system.slice/cron.service"), None);
    }
}
