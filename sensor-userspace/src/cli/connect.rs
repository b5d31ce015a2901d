//! Finds the daemon, or starts one for `exec`.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::config::{Config, RUNTIME_DIR};
use crate::control::client::Client;
use crate::control::protocol::{Answer, Request};
use crate::control::socket_path;
use crate::daemon::{self, StartLock};

/// Loading the programs takes seconds on an emulated machine.
const STARTING: Duration = Duration::from_secs(120);
const STEP: Duration = Duration::from_millis(15);
/// An ordinary user cannot see whether a daemon is about to be ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// One question to a daemon that is ready.
pub fn ask(request: &Request) -> Result<Value> {
    let answer = try_ask(request).map_err(|cause| no_daemon(&cause))?;
    answer.map_err(|refusal| anyhow!("{}", refusal.error))
}

/// An error: there is none to ask.
pub fn try_ask(request: &Request) -> io::Result<Answer> {
    Ok(Client::connect()?.ask(request))
}

pub fn no_daemon(cause: &io::Error) -> anyhow::Error {
    anyhow!(
        "no daemon is ready at {}: {cause}. Start one with `sudo rgt run`, or let `sudo rgt exec -- CMD` start its own",
        socket_path().display()
    )
}

/// A connection for `exec`: to the daemon that runs, to one just starting, or to one started here.
/// What is set for a whole daemon goes to one that is started here.
pub fn join_or_start(set: &[String]) -> Result<Client> {
    if let Ok(client) = Client::connect() {
        return Ok(client);
    }
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        return wait_as_user();
    }
    let _alone = StartLock::take()?;
    let deadline = Instant::now() + STARTING;
    loop {
        if let Some(client) = join(deadline)? {
            return Ok(client);
        }
        if let Some(client) = start(set, deadline)? {
            return Ok(client);
        }
    }
}

/// Waits for a daemon that is on its way: another `exec` may have started one, or somebody a permanent one.
fn join(deadline: Instant) -> Result<Option<Client>> {
    loop {
        match Client::connect() {
            Ok(client) => return Ok(Some(client)),
            Err(_) if daemon::holder().is_none() => return Ok(None),
            Err(cause) if Instant::now() >= deadline => {
                bail!("a daemon holds the lock but does not answer at {}: {cause}", socket_path().display())
            }
            Err(_) => std::thread::sleep(STEP),
        }
    }
}

fn wait_as_user() -> Result<Client> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match Client::connect() {
            Ok(client) => return Ok(client),
            Err(cause) if Instant::now() >= deadline || cause.kind() == io::ErrorKind::NotFound => {
                bail!(
                    "no daemon is ready at {}: {cause}. Loading programs into the kernel needs root: start the daemon with `sudo rgt run`, or use `sudo rgt exec`, which runs the command as you",
                    socket_path().display()
                )
            }
            Err(_) => std::thread::sleep(STEP),
        }
    }
}

fn log_path() -> PathBuf {
    Path::new(RUNTIME_DIR).join("ephemeral.log")
}

/// None: another came in between, and has the lock.
fn start(set: &[String], deadline: Instant) -> Result<Option<Client>> {
    let log = log_path();
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&log)
        .with_context(|| format!("cannot open {}", log.display()))?;
    let mut child = spawn(set, &file).context("the daemon could not be started")?;
    loop {
        if let Ok(client) = Client::connect() {
            return Ok(Some(client));
        }
        if let Some(status) = child.try_wait().context("the daemon could not be awaited")? {
            if daemon::holder().is_some() {
                return Ok(None);
            }
            bail!("the daemon could not start ({status}): {}", last_words(&log));
        }
        if Instant::now() >= deadline {
            bail!("the daemon was not ready after {} s; see {}", STARTING.as_secs(), log.display());
        }
        std::thread::sleep(STEP);
    }
}

fn spawn(set: &[String], log: &File) -> io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("rgt")
        .args(["run", "--ephemeral"])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?);
    for given in set.iter().filter(|given| Config::is_of_all(given)) {
        command.args(["--set", given]);
    }
    for name in ["PATH", "RUST_LOG", "TZ"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    let detach = || {
        // A session of its own: neither the terminal's signals nor its end reach it.
        // SAFETY: setsid(2) and umask(2) are async-signal-safe and touch no memory.
        let session = unsafe {
            libc::umask(0o022);
            libc::setsid()
        };
        if session < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    };
    // SAFETY: `detach` makes only async-signal-safe calls between fork and exec.
    unsafe { command.pre_exec(detach) };
    command.spawn()
}

/// The end of the log, as far as it says why.
fn last_words(log: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2_000)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let line = text.lines().rev().find(|line| line.starts_with("rgt run: ")).or_else(|| text.lines().last());
    match line {
        Some(line) => line.trim_start_matches("rgt run: ").to_owned(),
        None => format!("see {}", log.display()),
    }
}
