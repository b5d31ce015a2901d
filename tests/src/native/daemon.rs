//! A daemon of a test's own.

use std::fs;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Dir, rgt, wait_for};

const SOCKET: &str = "/run/rgt/control.sock";

/// Whether some daemon listens on this machine.
pub fn ready() -> bool {
    UnixStream::connect(SOCKET).is_ok()
}

/// Killed if the test ends before it.
pub struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn start(dir: &Dir, ledger: &Path) -> Daemon {
        Daemon::start_with(dir, ledger, &[])
    }

    /// With other settings beside its ledger and its key.
    pub fn start_with(dir: &Dir, ledger: &Path, sets: &[&str]) -> Daemon {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let log = dir.join("daemon.log");
            let mut command = Command::new(rgt());
            command.arg("run").arg("--set").arg(format!("ledger.dir={}", ledger.display()));
            command.arg("--set").arg(format!("seal.key_file={}", dir.key().display()));
            for set in sets {
                command.args(["--set", set]);
            }
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
            let mut daemon = Daemon { child: command.process_group(0).spawn().unwrap(), log };
            if daemon.gets_ready() {
                return daemon;
            }
            let said = daemon.said();
            // Somebody else's test on this machine.
            assert!(said.contains("a daemon runs already") && Instant::now() < deadline, "rgt run: {said}");
            thread::sleep(Duration::from_millis(300));
        }
    }

    fn gets_ready(&mut self) -> bool {
        let pid = self.pid();
        wait_for("the daemon", || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let held = fs::read_to_string("/run/rgt/lock").is_ok_and(|text| text.split(' ').next() == Some(&pid));
            (held && ready()).then_some(true)
        })
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    pub fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and what it ends with.
    pub fn stop(mut self) -> i32 {
        // SAFETY: kill(2) takes integers; the pid is our child's, which has not been awaited.
        unsafe { libc::kill(libc::pid_t::try_from(self.child.id()).unwrap(), libc::SIGTERM) };
        let status = wait_for("the daemon's end", || self.child.try_wait().unwrap());
        status.code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
