//! Waits for the command as its caller would: passes signals on, stops when it stops.

use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::child::{Running, awaited, read_number};

/// How the command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Exited(u8),
    Killed(i32),
    /// It never became the command: execve's error.
    NotRun(i32),
}

impl Ended {
    pub fn describe(self) -> String {
        match self {
            Ended::Exited(code) => format!("exit {code}"),
            Ended::Killed(signal) => format!("signal {signal}"),
            Ended::NotRun(error) => format!("not run: error {error}"),
        }
    }

    pub fn code(self, path: &Path) -> u8 {
        match self {
            Ended::Exited(code) => code,
            Ended::Killed(signal) => u8::try_from(128 + signal).unwrap_or(255),
            Ended::NotRun(error) => {
                eprintln!("rgt exec: cannot run {}: {}", path.display(), io::Error::from_raw_os_error(error));
                if error == libc::ENOENT { 127 } else { 126 }
            }
        }
    }
}

/// Sleeps until the command has ended.
pub fn until_end(running: Running) -> Result<Ended> {
    // Read to its end at the execve, whichever way that goes.
    let failed = loop {
        match read_number(&running.failure) {
            Some(fd) if fd < 0 => eprintln!(
                "rgt exec: the policy refuses inherited descriptor {}: it is /dev/null for the command; its record \
                 (`receive`) names the rule",
                -fd
            ),
            failed => break failed,
        }
    };
    let set = awaited();
    let ended = loop {
        if let Some(ended) = look(running.pid)? {
            break ended;
        }
        // SAFETY: the set is initialised, `info` is written by the kernel before it is read.
        let (signal, info) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            (libc::sigwaitinfo(&set, &mut info), info)
        };
        // Below zero: EINTR, continued after a stop.
        if signal > 0 {
            pass_on(signal, &info, running.pid);
        }
    };
    Ok(failed.map_or(ended, Ended::NotRun))
}

fn pass_on(signal: i32, info: &libc::siginfo_t, pid: libc::pid_t) {
    // A write to a closed pipe, or beyond a file's limit: the kernel signs it with the writer's own number.
    // SAFETY: every signal of this code has a sender.
    let by_itself = info.si_code == libc::SI_USER && unsafe { info.si_pid() }.unsigned_abs() == std::process::id();
    if by_itself || !is_the_commands(signal, info.si_code) {
        return;
    }
    // SAFETY: both take integers, and the value, which SI_QUEUE says is there, as it came; `pid` is a child that has not
    // been awaited to its end.
    unsafe {
        match info.si_code {
            libc::SI_QUEUE => libc::sigqueue(pid, signal, info.si_value()),
            _ => libc::kill(pid, signal),
        }
    };
}

/// Whether the command is to have it and has it not. What the terminal sends, it sends to the whole foreground group; a
/// child's end and a limit of this process's are its own. A timer that was set before this program began would have been
/// the command's.
fn is_the_commands(signal: i32, code: i32) -> bool {
    let by_a_process = code <= 0;
    by_a_process || matches!(signal, libc::SIGALRM | libc::SIGVTALRM | libc::SIGPROF)
}

fn look(pid: libc::pid_t) -> Result<Option<Ended>> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is a live integer.
        let got = unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG | libc::WUNTRACED) };
        if got == 0 {
            return Ok(None);
        }
        if got < 0 {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(error).context("the command could not be awaited");
        }
        if libc::WIFEXITED(status) {
            return Ok(Some(Ended::Exited(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(255))));
        }
        if libc::WIFSIGNALED(status) {
            return Ok(Some(Ended::Killed(libc::WTERMSIG(status))));
        }
        if libc::WIFSTOPPED(status) {
            stop_with(pid);
        }
    }
}

/// The caller's shell waits for this process, not for the command: it must see the stop too.
fn stop_with(pid: libc::pid_t) {
    // A terminal's stop and its continuation reach both; the command may be on its way again.
    std::thread::sleep(Duration::from_millis(10));
    if !is_stopped(pid) {
        return;
    }
    // SAFETY: raise(3) and kill(2) take integers; SIGSTOP returns here when somebody continues us. That SIGCONT waits, in
    // a set that is initialised; the command gets one in its place.
    unsafe {
        libc::raise(libc::SIGSTOP);
        let (mut set, at_once): (libc::sigset_t, libc::timespec) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCONT);
        libc::sigtimedwait(&set, std::ptr::null_mut(), &at_once);
        libc::kill(pid, libc::SIGCONT);
    }
}

fn is_stopped(pid: libc::pid_t) -> bool {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; the state is the first word behind it.
    let state = stat.iter().rposition(|byte| *byte == b')').and_then(|at| stat.get(at + 2));
    state == Some(&b'T')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_terminal_sends_is_not_sent_twice() {
        const SI_KERNEL: i32 = 0x80;
        for signal in [libc::SIGINT, libc::SIGWINCH, libc::SIGCONT, libc::SIGHUP, libc::SIGXCPU] {
            assert!(!is_the_commands(signal, SI_KERNEL), "{signal}");
            assert!(is_the_commands(signal, libc::SI_USER), "{signal}");
        }
        assert!(!is_the_commands(libc::SIGCHLD, libc::CLD_EXITED));
        assert!(is_the_commands(libc::SIGALRM, SI_KERNEL));
        assert!(is_the_commands(libc::SIGRTMIN(), libc::SI_QUEUE));
    }
}
