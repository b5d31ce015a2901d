//! One daemon a machine: who holds the lock is it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::config::RUNTIME_DIR;
use crate::control::client::Client;
use crate::control::protocol::Request;

fn path() -> PathBuf {
    Path::new(RUNTIME_DIR).join("lock")
}

/// The daemon that holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    pub ephemeral: bool,
}

/// Held as long as the daemon lives; the kernel frees it with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// A permanent daemon waits for an ephemeral one to end; beside a permanent one there is no other.
    pub fn take(ephemeral: bool) -> Result<Lock> {
        let mut file = open(&path())?;
        let mut told = false;
        while !try_lock(&file)? {
            let held = read_holder(&mut file);
            match held {
                Some(Holder { pid, ephemeral: true }) if !ephemeral => {
                    if !told {
                        eprintln!(
                            "rgt run: an `rgt exec` started a daemon (process {pid}) that ends after its last agent; asking it to hand over, or waiting for it"
                        );
                        // Where nothing outlives it, it refuses, and is waited for.
                        let _ = Client::connect().map(|mut client| client.ask(&Request::Yield {}));
                        told = true;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Some(Holder { pid, .. }) => bail!(
                    "a daemon runs already: process {pid}; there is one a machine. `rgt agents` shows what it governs, `rgt unload` ends it"
                ),
                // Between taking the lock and writing its pid.
                None => std::thread::sleep(Duration::from_millis(20)),
            }
        }
        let kind = if ephemeral { "ephemeral" } else { "permanent" };
        let write = |file: &mut File| -> io::Result<()> {
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            writeln!(file, "{} {kind}", std::process::id())
        };
        write(&mut file).with_context(|| format!("cannot write {}", path().display()))?;
        Ok(Lock { _file: file })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A pid that is no daemon's must not stand there.
        let _ = self._file.set_len(0);
    }
}

/// Who holds the daemon's lock now. Only root may look.
pub fn holder() -> Option<Holder> {
    let mut file = OpenOptions::new().read(true).write(true).open(path()).ok()?;
    match try_lock(&file) {
        Ok(false) => read_holder(&mut file).or(Some(Holder { pid: 0, ephemeral: true })),
        _ => None,
    }
}

/// Whoever holds it may start a daemon: of two hundred `exec` at once only one does.
#[derive(Debug)]
pub struct StartLock {
    _file: File,
}

impl StartLock {
    pub fn take() -> Result<StartLock> {
        let path = Path::new(RUNTIME_DIR).join("start.lock");
        let dir = Path::new(RUNTIME_DIR);
        fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let file = open(&path)?;
        loop {
            // SAFETY: flock(2) takes a descriptor that is open and an integer.
            if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } == 0 {
                return Ok(StartLock { _file: file });
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
    }
}

/// Readable by root alone: whoever can open a file can lock it.
fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot open {}", path.display()))
}

fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: flock(2) takes a descriptor that is open and an integer.
    if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
        return Ok(true);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        error => Err(error),
    }
}

fn read_holder(file: &mut File) -> Option<Holder> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(64).read_to_string(&mut text).ok()?;
    let (pid, kind) = text.trim().split_once(' ')?;
    Some(Holder { pid: pid.parse().ok()?, ephemeral: kind == "ephemeral" })
}
