//! An agent's processes: what each runs, and which made which.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;

/// Programs named of one process's ancestry.
pub const MAX_CHAIN: usize = 32;

/// Processes of one agent known at once; above it those that are gone are looked for.
const MAX_PROCESSES: usize = 32_768;

#[derive(Debug)]
struct Process {
    exe: RefCell<Rc<[u8]>>,
    /// What it ran before its latest exec, until that attempt has been told.
    before: RefCell<Option<Rc<[u8]>>>,
    parent: Option<Rc<Process>>,
    depth: usize,
    threads: RefCell<u32>,
}

/// Processes by pid. A parent that has ended stays known as long as a child of its lives.
#[derive(Debug, Default)]
pub struct Processes {
    by_pid: HashMap<u32, Rc<Process>>,
}

impl Processes {
    /// One that came from outside: the agent's root, or one moved into its cgroup.
    pub fn join(&mut self, pid: u32) {
        self.insert(pid, exe_of(pid), None);
    }

    pub fn fork(&mut self, parent: u32, pid: u32, thread: bool) {
        if thread {
            let process = self.known(parent);
            *process.threads.borrow_mut() += 1;
            return;
        }
        let parent = self.known(parent);
        let exe = parent.exe.borrow().clone();
        self.insert(pid, exe, Some(parent));
    }

    pub fn exec(&mut self, pid: u32, exe: &[u8]) {
        let process = self.known(pid);
        let before = process.exe.replace(exe.into());
        process.before.replace(Some(before));
    }

    pub fn exit(&mut self, pid: u32) {
        let Some(process) = self.by_pid.get(&pid) else {
            return;
        };
        let left = process.threads.borrow().saturating_sub(1);
        *process.threads.borrow_mut() = left;
        if left == 0 {
            self.by_pid.remove(&pid);
        }
    }

    pub fn contains(&self, pid: u32) -> bool {
        self.by_pid.contains_key(&pid)
    }

    pub fn len(&self) -> usize {
        self.by_pid.len()
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_pid.is_empty()
    }

    /// The program of the process, then its ancestors' up to the agent's root. For an attempt that became
    /// `execed`, what the process ran when it made the attempt. Empty where that is not known: an ancestor's program
    /// is not to pass for it.
    pub fn chain(&mut self, pid: u32, execed: Option<&[u8]>) -> Vec<Vec<u8>> {
        let process = self.known(pid);
        let acting = match (execed, process.before.take()) {
            (Some(_), Some(before)) => before,
            // Its exec has not been told, or was lost.
            (Some(exe), None) => process.exe.replace(exe.into()),
            (None, before) => {
                process.before.replace(before);
                process.exe.borrow().clone()
            }
        };
        if acting.is_empty() {
            return Vec::new();
        }
        let mut chain = vec![acting.to_vec()];
        let mut up = process.parent.as_ref();
        while let Some(ancestor) = up.filter(|_| chain.len() < MAX_CHAIN) {
            let exe = ancestor.exe.borrow();
            if !exe.is_empty() {
                chain.push(exe.to_vec());
            }
            up = ancestor.parent.as_ref();
        }
        chain
    }

    fn insert(&mut self, pid: u32, exe: Rc<[u8]>, parent: Option<Rc<Process>>) {
        if self.by_pid.len() >= MAX_PROCESSES {
            self.by_pid.retain(|pid, _| fs::metadata(format!("/proc/{pid}")).is_ok());
        }
        // A chain of processes that fork and end would grow without end: its middle is left out.
        let parent = match parent {
            Some(parent) if parent.depth >= MAX_CHAIN => parent.parent.clone(),
            other => other,
        };
        let depth = parent.as_ref().map_or(0, |parent| parent.depth + 1);
        let process =
            Process { exe: RefCell::new(exe), before: RefCell::new(None), parent, depth, threads: RefCell::new(1) };
        self.by_pid.insert(pid, Rc::new(process));
    }

    /// One whose beginning was not told is asked for in /proc.
    fn known(&mut self, pid: u32) -> Rc<Process> {
        if !self.by_pid.contains_key(&pid) {
            self.join(pid);
        }
        match self.by_pid.get(&pid) {
            Some(process) => Rc::clone(process),
            None => Rc::new(Process {
                exe: RefCell::new(Rc::from(&[][..])),
                before: RefCell::new(None),
                parent: None,
                depth: 0,
                threads: RefCell::new(1),
            }),
        }
    }
}

/// Empty if it cannot be known: the process has ended, or is a kernel thread.
fn exe_of(pid: u32) -> Rc<[u8]> {
    match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(path) => path.into_os_string().into_vec().into(),
        Err(_) => Rc::from(&[][..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pids above the kernel's limit: /proc knows none of them.
    const ROOT: u32 = 5_000_000;

    fn names(chain: Vec<Vec<u8>>) -> Vec<String> {
        chain.into_iter().map(|exe| String::from_utf8(exe).unwrap()).collect()
    }

    #[test]
    fn a_chain_goes_up_to_the_root() {
        let mut processes = Processes::default();
        processes.join(ROOT);
        processes.exec(ROOT, b"/bin/sh");
        processes.fork(ROOT, ROOT + 1, false);
        assert_eq!(names(processes.chain(ROOT + 1, None)), ["/bin/sh", "/bin/sh"]);
        processes.exec(ROOT + 1, b"/bin/ls");
        // The attempt that did it was the shell's.
        assert_eq!(names(processes.chain(ROOT + 1, Some(b"/bin/ls"))), ["/bin/sh", "/bin/sh"]);
        assert_eq!(names(processes.chain(ROOT + 1, None)), ["/bin/ls", "/bin/sh"]);
    }

    #[test]
    fn an_ancestor_does_not_stand_for_a_program_that_is_not_known() {
        let mut processes = Processes::default();
        processes.exec(ROOT, b"/bin/sh");
        processes.fork(ROOT, ROOT + 1, false);
        processes.exec(ROOT + 1, b"");
        assert_eq!(names(processes.chain(ROOT + 1, Some(b""))), ["/bin/sh", "/bin/sh"]);
        assert!(processes.chain(ROOT + 1, None).is_empty());
    }

    #[test]
    fn a_parent_that_has_ended_is_still_named() {
        let mut processes = Processes::default();
        processes.exec(ROOT, b"/bin/a");
        processes.fork(ROOT, ROOT + 1, false);
        processes.exec(ROOT + 1, b"/bin/b");
        processes.fork(ROOT + 1, ROOT + 2, false);
        processes.exit(ROOT);
        processes.exit(ROOT + 1);
        assert!(!processes.contains(ROOT + 1));
        assert_eq!(names(processes.chain(ROOT + 2, None)), ["/bin/b", "/bin/b", "/bin/a"]);
        processes.exit(ROOT + 2);
        assert!(processes.is_empty());
    }

    #[test]
    fn a_process_ends_with_its_last_thread() {
        let mut processes = Processes::default();
        processes.exec(ROOT, b"/bin/a");
        processes.fork(ROOT, ROOT + 1, true);
        processes.exit(ROOT);
        assert!(processes.contains(ROOT));
        processes.exit(ROOT);
        assert!(!processes.contains(ROOT));
    }

    #[test]
    fn an_endless_line_of_forks_stays_short() {
        let mut processes = Processes::default();
        processes.exec(ROOT, b"/bin/a");
        for pid in ROOT..ROOT + 1000 {
            processes.fork(pid, pid + 1, false);
            processes.exit(pid);
        }
        assert_eq!(processes.len(), 1);
        assert_eq!(processes.chain(ROOT + 1000, None).len(), MAX_CHAIN);
    }

    #[test]
    fn our_own_exe_is_found() {
        let mut processes = Processes::default();
        let pid = std::process::id();
        processes.join(pid);
        let exe = std::env::current_exe().unwrap();
        assert_eq!(names(processes.chain(pid, None)), [exe.to_str().unwrap()]);
    }
}
