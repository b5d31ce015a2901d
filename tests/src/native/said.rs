//! What `rgt` says to whom, and the exit code with it.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Dir, daemon, rgt, wait_for};

pub const NOBODY: [&str; 3] = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/// Exit code and what was said; what does not end is ended after 20 s.
pub fn told<A: AsRef<OsStr>>(args: impl IntoIterator<Item = A>) -> (i32, String) {
    let done = Command::new("timeout").args(["-k", "2", "20"]).args(args).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code().unwrap_or(-1), text)
}

#[track_caller]
pub fn says(found: (i32, String), code: i32, parts: &[&str]) {
    assert_eq!(found.0, code, "{}", found.1);
    for part in parts {
        assert!(found.1.contains(part), "no {part:?} in: {}", found.1);
    }
    println!("exit {code}: {}", found.1.trim());
}

/// `rgt ARGS…`.
pub fn by_root(args: &[&str]) -> (i32, String) {
    told([rgt().as_os_str()].into_iter().chain(args.iter().map(OsStr::new)))
}

/// The same as nobody, of a copy that nobody can reach.
pub fn by_nobody(copy: &Path, args: &[&str]) -> (i32, String) {
    let setpriv = [OsStr::new("setpriv")].into_iter().chain(NOBODY.map(OsStr::new));
    told(setpriv.chain([copy.as_os_str()]).chain(args.iter().map(OsStr::new)))
}

pub fn copy_for_nobody(dir: &Dir) -> PathBuf {
    let copy = dir.join("rgt");
    fs::copy(rgt(), &copy).unwrap();
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

/// Looks while no daemon runs, neither before nor after.
pub fn without_daemon<T>(mut look: impl FnMut() -> T) -> T {
    wait_for("a moment without a daemon", || {
        if daemon::ready() {
            return None;
        }
        let found = look();
        (!daemon::ready()).then_some(found)
    })
}
