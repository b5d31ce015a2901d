//! The child that becomes the command.
//!
//! It does all that it has to do before it is an agent's; then it waits at a pipe. Between the move into
//! the agent's cgroup and its execve it makes no call that is recorded.

use std::ffi::{CString, OsString, c_char, c_int};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, anyhow, bail};

use super::inherited::Inherited;
use crate::agent::{User, we_are_root};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// What SIGPIPE did when this program started: the runtime sets it to be ignored before `main`.
static SIGPIPE_INHERITED: AtomicUsize = AtomicUsize::new(libc::SIG_DFL);

extern "C" fn note_sigpipe() {
    // SAFETY: an all-zero sigaction is a valid value, and the call only reads into it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        if libc::sigaction(libc::SIGPIPE, std::ptr::null(), &mut action) == 0 {
            SIGPIPE_INHERITED.store(action.sa_sigaction, Ordering::Relaxed);
        }
    }
}

/// Runs before the runtime's own start.
#[used]
#[unsafe(link_section = ".init_array")]
static NOTE_SIGPIPE: extern "C" fn() = note_sigpipe;

/// What the gate says.
const RUN: i32 = 1;
const JUDGED: i32 = 2;

/// Whom the command is to run as.
#[derive(Debug)]
struct Target {
    uid: libc::uid_t,
    gid: libc::gid_t,
    groups: Vec<libc::gid_t>,
}

/// Under sudo, the one who called sudo; else no change.
fn target() -> Result<Option<Target>> {
    if !we_are_root() {
        return Ok(None);
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok());
    let (Some(uid), Some(gid)) = (number("SUDO_UID"), number("SUDO_GID")) else {
        return Ok(None);
    };
    if uid == 0 {
        return Ok(None);
    }
    let groups = match User::by_uid(uid).context("the user database")? {
        Some(user) => User { gid, ..user }.groups().context("the user's groups")?,
        None => vec![gid],
    };
    Ok(Some(Target { uid, gid, groups }))
}

/// A child that waits.
#[derive(Debug)]
pub struct Child {
    pid: libc::pid_t,
    gate: OwnedFd,
    /// Says which descriptors were replaced, below zero, and the error number of an execve that failed; closed by one that did not.
    failure: OwnedFd,
    signals: Signals,
}

/// A child that is the command now, or will be at once.
#[derive(Debug)]
pub struct Running {
    pub pid: libc::pid_t,
    pub failure: OwnedFd,
}

/// How signals stood when this program was started.
#[derive(Clone, Copy)]
pub struct Signals {
    pub mask: libc::sigset_t,
    sigchld: libc::sighandler_t,
}

impl std::fmt::Debug for Signals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signals").field("sigchld", &self.sigchld).finish_non_exhaustive()
    }
}

/// What is not passed on: by the first three this process stops as any other does, the rest are faults of its own.
const OWN: [c_int; 9] = [
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
];

/// Those that `wait` waits for: whatever else can be caught. One that was forgotten would end this process and leave the
/// command running.
pub fn awaited() -> libc::sigset_t {
    // SAFETY: sigfillset initialises the set that it is given; sigdelset takes valid signal numbers out.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut set);
        for signal in OWN {
            libc::sigdelset(&mut set, signal);
        }
        set
    }
}

impl Signals {
    /// From here on the awaited ones wait until they are asked for.
    fn hold() -> Signals {
        let set = awaited();
        // SAFETY: both sets are live and initialised; SIGCHLD ignored would reap the child unseen.
        unsafe {
            let mut mask: libc::sigset_t = std::mem::zeroed();
            libc::sigprocmask(libc::SIG_BLOCK, &set, &mut mask);
            let sigchld = libc::signal(libc::SIGCHLD, libc::SIG_DFL);
            Signals { mask, sigchld }
        }
    }

    /// As they were.
    pub fn restore(&self) {
        // SAFETY: the mask was filled in by the kernel, the dispositions were read from it.
        unsafe {
            libc::signal(libc::SIGCHLD, self.sigchld);
            libc::signal(libc::SIGPIPE, SIGPIPE_INHERITED.load(Ordering::Relaxed));
            libc::sigprocmask(libc::SIG_SETMASK, &self.mask, std::ptr::null_mut());
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error()).context("pipe");
    }
    // SAFETY: both descriptors are new and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| anyhow!("an argument holds a NUL byte"))
}

/// Reads one number; none at the pipe's end.
pub fn read_number(from: &OwnedFd) -> Option<i32> {
    let mut bytes = [0_u8; 4];
    loop {
        // SAFETY: `bytes` has room for four bytes; a write of four to a pipe is read whole.
        let read = unsafe { libc::read(from.as_raw_fd(), bytes.as_mut_ptr().cast(), 4) };
        match read {
            4 => return Some(i32::from_ne_bytes(bytes)),
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}

fn write_number(to: &OwnedFd, number: i32) {
    let bytes = number.to_ne_bytes();
    // SAFETY: `bytes` is four live bytes. If nobody reads any more there is nobody to tell.
    unsafe { libc::write(to.as_raw_fd(), bytes.as_ptr().cast(), 4) };
}

impl Child {
    /// Forks a child that is ready for its execve and waits. `judged`: the kernel may come to judge what it inherits;
    /// `no_new_privs`: what it runs gains no rights.
    pub fn prepare(path: &Path, command: &[OsString], judged: bool, no_new_privs: bool) -> Result<Child> {
        let target = target()?;
        let program = c_string(path.as_os_str().as_bytes())?;
        let args: Vec<CString> = command.iter().map(|arg| c_string(arg.as_bytes())).collect::<Result<_>>()?;
        // A file that is no program the kernel knows is a script, as execvp has it.
        let shell = c_string(b"/bin/sh")?;
        let script: Vec<CString> =
            [shell.clone(), program.clone()].into_iter().chain(args.iter().skip(1).cloned()).collect();
        let (gate_read, gate) = pipe()?;
        let (failure, failure_write) = pipe()?;
        let (ready, ready_write) = pipe()?;
        let signals = Signals::hold();

        // SAFETY: this process has one thread: the child may do what the parent could.
        let pid = unsafe { libc::fork() };
        if pid < 0 {
            let error = io::Error::last_os_error();
            signals.restore();
            return Err(error).context("fork");
        }
        if pid == 0 {
            drop((gate, failure, ready));
            let outcome = become_user(target.as_ref()).and_then(|()| renounce(no_new_privs));
            if let Err(error) = outcome {
                write_number(&ready_write, error.raw_os_error().unwrap_or(libc::EPERM));
                exit_child();
            }
            signals.restore();
            let argv = pointers(&args);
            let script_argv = pointers(&script);
            let offered = if judged { Inherited::send() } else { Ok(None) };
            let inherited = match offered {
                Ok(inherited) => inherited,
                Err(error) => {
                    write_number(&ready_write, error.raw_os_error().unwrap_or(libc::EMFILE));
                    exit_child();
                }
            };
            write_number(&ready_write, 0);
            drop(ready_write);
            match (read_number(&gate_read), inherited) {
                (None, _) => exit_child(),
                (Some(JUDGED), Some(inherited)) => {
                    for fd in inherited.receive() {
                        // Below zero: no errno.
                        write_number(&failure_write, -fd);
                    }
                }
                (Some(_), _) => {}
            }
            // SAFETY: every array ends with a null pointer and its strings live; `environ` is the
            // process's own. It returns only on failure.
            unsafe {
                libc::execve(program.as_ptr(), argv.as_ptr(), environ);
                if *libc::__errno_location() == libc::ENOEXEC {
                    libc::execve(shell.as_ptr(), script_argv.as_ptr(), environ);
                }
                write_number(&failure_write, *libc::__errno_location());
            }
            exit_child();
        }
        drop((gate_read, failure_write, ready_write));
        let child = Child { pid, gate, failure, signals };
        match read_number(&ready) {
            Some(0) => Ok(child),
            Some(error) => {
                child.abandon();
                Err(io::Error::from_raw_os_error(error)).context("cannot become the user whose command it is")
            }
            None => {
                child.abandon();
                bail!("the child ended before it could run the command")
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Lets it run. `judged`: the kernel refuses what a policy denies, inherited descriptors too.
    pub fn release(self, judged: bool) -> Result<Running> {
        write_number(&self.gate, if judged { JUDGED } else { RUN });
        Ok(Running { pid: self.pid, failure: self.failure })
    }

    /// It will not run: it ends at the closed gate.
    pub fn abandon(self) {
        let Child { pid, gate, failure, signals } = self;
        drop((gate, failure));
        let mut status = 0;
        // SAFETY: `status` is a live integer; `pid` is a child of ours that has not been awaited.
        while unsafe { libc::waitpid(pid, &mut status, 0) } < 0
            && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
        {}
        signals.restore();
        // SAFETY: as at the start of `exec`.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    }
}

fn exit_child() -> ! {
    // SAFETY: _exit(2) ends the process without running anything of the parent's.
    unsafe { libc::_exit(127) }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
}

/// A set-user-ID program under its caller's policy could be made to fail in the middle of its work.
fn renounce(no_new_privs: bool) -> io::Result<()> {
    // SAFETY: prctl(2) with this option takes integers only.
    if no_new_privs && unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn become_user(target: Option<&Target>) -> io::Result<()> {
    let Some(Target { uid, gid, groups }) = target else {
        return Ok(());
    };
    // SAFETY: `groups` is a live array of that length; the others take integers. The order matters:
    // without root's rights none of the earlier ones would succeed.
    let done = unsafe {
        libc::setgroups(groups.len(), groups.as_ptr()) == 0
            && libc::setresgid(*gid, *gid, *gid) == 0
            && libc::setresuid(*uid, *uid, *uid) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
