//! Programs that capture, attached only while somebody is governed: an idle machine pays nothing for its calls.

use std::{
    ffi::{CStr, CString},
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    thread,
    time::{Duration, Instant},
};

use aya::Ebpf;

use super::{
    object::{LoadError, load_raw_tracepoint, refused},
    pins::Pins,
    sys,
};

/// Each on the raw tracepoint of its name. In this order: who is whose is known before calls are looked at.
pub const PROGRAMS: [&str; 8] = [
    "task_newtask", "sched_process_exit", "cgroup_mkdir", "cgroup_rmdir", "cgroup_attach_task", "sched_process_exec",
    "sys_exit", "sys_enter",
];

/// A program that was pinned is let go of this much after it was detached, at the latest.
const LET_GO: Duration = Duration::from_secs(2);

#[derive(Default)]
pub struct Capture {
    programs: Vec<(&'static str, OwnedFd)>,
    /// Dropping a link that is not pinned detaches its program.
    attached: Vec<(&'static str, OwnedFd)>,
}

impl Capture {
    /// Loads every program: what this kernel does not take is told before an agent is there.
    pub fn load(bpf: &mut Ebpf) -> Result<Capture, LoadError> {
        let mut capture = Capture::default();
        for name in PROGRAMS {
            capture.programs.push((name, load_raw_tracepoint(bpf, name)?));
        }
        Ok(capture)
    }

    /// Attaches all of them, or none; they outlive the daemon where there are pins.
    pub fn attach(&mut self, pins: Option<&Pins>) -> Result<(), LoadError> {
        for index in self.attached.len()..self.programs.len() {
            let (name, number) = &self.programs[index];
            let link = CString::new(*name)
                .map_err(io::Error::other)
                .and_then(|tracepoint| attach_soon(number.as_fd(), &tracepoint))
                .and_then(|link| pins.map_or(Ok(()), |pins| pins.pin(name, link.as_fd())).map(|()| link));
            match link {
                Ok(link) => self.attached.push((name, link)),
                Err(error) => {
                    let error = refused(format!("attaching program {name}"))(error);
                    // What led here is the error to tell.
                    let _ = self.detach(pins);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Calls are no longer looked at; then whose tasks are.
    pub fn detach(&mut self, pins: Option<&Pins>) -> io::Result<()> {
        while let Some((name, link)) = self.attached.pop() {
            if let Some(pins) = pins {
                pins.unpin(name)?;
            }
            drop(link);
        }
        Ok(())
    }

    /// How often the kernel skipped one of them.
    pub fn skipped(&self) -> io::Result<u64> {
        self.programs.iter().map(|(_, program)| sys::skipped(program.as_fd())).sum()
    }

    pub fn is_attached(&self) -> bool {
        !self.attached.is_empty()
    }
}

/// The kernel lets go of what was pinned a moment after its name is gone. Until then the program is at its tracepoint,
/// and cannot come to it again.
fn attach_soon(program: BorrowedFd<'_>, tracepoint: &CStr) -> io::Result<OwnedFd> {
    let since = Instant::now();
    loop {
        match sys::attach_to(program, tracepoint) {
            Err(error) if error.raw_os_error() == Some(libc::EEXIST) && since.elapsed() < LET_GO => {
                thread::sleep(Duration::from_millis(5));
            }
            done => return done,
        }
    }
}
