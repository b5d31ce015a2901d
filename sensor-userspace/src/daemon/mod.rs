//! The daemon: kernel event → process table → judgement → record → ledger.

mod adopt;
mod agent;
mod answers;
mod approve;
mod argument;
mod asked;
mod begin;
mod canary;
mod configured;
mod contents;
mod desk;
mod engine;
mod hosts;
mod judgement;
mod ledgers;
mod load;
mod lock;
mod mask;
mod naming;
mod notify;
mod processes;
mod resolve;
#[cfg(test)]
mod script;
mod settle;
mod source;
mod start;
pub mod state;
mod stream;
mod suit;
mod swap;
#[cfg(test)]
mod tests;

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::agent::{cgroup, we_are_root};
use crate::config::{Config, RUNTIME_DIR, STATE_DIR};
use crate::control::{self, server};
pub use load::load;
pub use lock::{Holder, Lock, StartLock, holder};
pub use source::EventSource;

/// What a `rgt run` is to be.
#[derive(Clone, Debug)]
pub struct Options {
    pub config: Config,
    /// Started by `exec`: ends after its last agent.
    pub ephemeral: bool,
    /// Whether programs that can deny may be attached.
    pub enforce_allowed: bool,
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Policies of configured agents are to be read again.
static RELOAD: AtomicBool = AtomicBool::new(false);

extern "C" fn on_reload(_signal: libc::c_int) {
    RELOAD.store(true, Ordering::Relaxed);
}

extern "C" fn on_signal(_signal: libc::c_int) {
    STOP.store(true, Ordering::Relaxed);
}

/// Runs until it is told to stop, or until its last agent has ended.
pub fn run<S, L>(options: Options, load: L) -> Result<()>
where
    S: EventSource,
    L: FnOnce(&Options) -> Result<S>,
{
    if !we_are_root() {
        bail!("loading programs into the kernel needs root: run it with sudo, or as a systemd service");
    }
    prepare_directories()?;
    let lock = Lock::take(options.ephemeral)?;
    catch_signals();
    let mount = cgroup::mount_point()?;
    cgroup::sweep(&mount);

    let source = load(&options)?;
    let (commands, asked) = mpsc::channel();
    let mut engine = engine::Engine::new(source, options, mount, asked)?;
    engine.adopt()?;
    let socket = control::socket_path();
    server::listen(&socket, commands).with_context(|| format!("cannot listen at {}", socket.display()))?;
    notify::ready();
    let done = engine.run(&STOP, &RELOAD);
    // Nobody new: whoever finds no socket asks the next daemon.
    let _ = fs::remove_file(&socket);
    notify::stopping();
    let ended = engine.end();
    drop(lock);
    // Let the connections' threads say their last words.
    std::thread::sleep(Duration::from_millis(50));
    done.and(ended)
}

fn prepare_directories() -> Result<()> {
    for (dir, mode) in [(RUNTIME_DIR, 0o755), (STATE_DIR, 0o700)] {
        let dir = Path::new(dir);
        let made = fs::DirBuilder::new().recursive(true).mode(mode).create(dir);
        made.with_context(|| format!("cannot make the directory {}", dir.display()))?;
        // Whatever the umask was.
        fs::set_permissions(dir, fs::Permissions::from_mode(mode))
            .with_context(|| format!("cannot set the mode of {}", dir.display()))?;
    }
    Ok(())
}

fn catch_signals() {
    for (signal, handler) in [
        (libc::SIGTERM, on_signal as *const () as libc::sighandler_t),
        (libc::SIGINT, on_signal as *const () as libc::sighandler_t),
        (libc::SIGPIPE, libc::SIG_IGN),
        (libc::SIGHUP, on_reload as *const () as libc::sighandler_t),
    ] {
        // SAFETY: each handler only stores into an atomic, which is async-signal-safe.
        unsafe { libc::signal(signal, handler) };
    }
}
