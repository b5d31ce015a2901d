//! Saying no: which way this kernel has, the policies in force, and the proof that a denial denies.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CString,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

use sensor_common::{event::Governed, hash::Secret};

use super::{
    AgentNo, Probe,
    counts::Counts,
    filesystems::Filesystems,
    hooks::{self, Hooks},
    pins::Pins,
    policies::Policies,
    standing::Standings,
    written::Written,
};
use crate::{attempt::Mode, policy::Table};

pub struct Enforcer {
    pub mode: Mode,
    pub degraded: bool,
    pub notes: Vec<String>,
    hooks: Option<Hooks>,
    /// Hooks that were refused, with the way tried and the reason.
    probes: Vec<(String, Mode, String)>,
    pub standings: Standings,
    policies: Policies,
    pub filesystems: Filesystems,
    pub written: Written,
    pub counts: Counts,
    /// Policy number of each agent.
    in_force: HashMap<AgentNo, u32>,
}

/// The ways worth trying, best first. A kernel without `bpf` in its LSM list takes LSM programs and never runs them.
fn ways(notes: &mut Vec<String>) -> Vec<Mode> {
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) if list.trim().split(',').any(|lsm| lsm == "bpf") => vec![Mode::Lsm, Mode::FmodRet],
        Ok(list) => {
            notes.push(format!("bpf is not in the kernel's LSM list ({}): hooks are carried by fmod_ret", list.trim()));
            vec![Mode::FmodRet]
        }
        Err(_) => vec![Mode::Lsm, Mode::FmodRet],
    }
}

/// Whether tracing programs are skipped when their task is preempted in the middle of one.
fn preempts() -> bool {
    match fs::read_to_string("/sys/kernel/debug/sched/preempt") {
        Ok(text) => text.contains("(full)") || text.contains("(lazy)"),
        // Without debugfs only the version tells: from 7.0 on there is no other way to preempt.
        Err(_) => hooks::is_at_least((7, 0)),
    }
}

impl Enforcer {
    pub fn new(
        from: &hooks::Source<'_>,
        standings: Standings,
        policies: Policies,
        filesystems: Filesystems,
        written: Written,
        counts: Counts,
    ) -> io::Result<Enforcer> {
        let mut enforcer = Enforcer {
            mode: Mode::Observe,
            degraded: false,
            notes: Vec::new(),
            hooks: None,
            probes: Vec::new(),
            standings,
            policies,
            filesystems,
            written,
            counts,
            in_force: HashMap::new(),
        };
        for mode in ways(&mut enforcer.notes) {
            match hooks::load(from, mode) {
                Ok(hooks) if hooks.refused.is_empty() => {
                    enforcer.hooks = Some(hooks);
                    enforcer.mode = mode;
                    break;
                }
                // A hole in the fence is no fence: all hooks, or none.
                Ok(hooks) => enforcer.refused(mode, hooks.refused, hooks.loaded.is_empty()),
                Err(error) => enforcer.notes.push(format!("hooks by {}: {error}", mode.name())),
            }
        }
        if preempts() {
            enforcer.degraded = true;
            enforcer.notes.push(match enforcer.mode {
                Mode::FmodRet => "this kernel preempts: attempts can go unrecorded and hooks be skipped; boot with \
                                  preempt=voluntary, or with bpf in the LSM list (lsm=…,bpf)",
                _ => "this kernel preempts: attempts can go unrecorded; boot with preempt=voluntary where there is one",
            }.to_owned());
        }
        if enforcer.mode != Mode::Observe {
            enforcer.policies.fill_guard()?;
            enforcer.filesystems.refresh()?;
        }
        Ok(enforcer)
    }

    /// Says why a way is closed: each reason once, with the hooks that met it unless `all` did.
    fn refused(&mut self, mode: Mode, refused: Vec<(String, String)>, all: bool) {
        let mut by_reason: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (hook, reason) in refused {
            let reason = reason.trim_end_matches([':', ' ']).to_owned();
            self.probes.push((hook.clone(), mode, reason.clone()));
            by_reason.entry(reason).or_default().push(hook);
        }
        let same = all && by_reason.len() == 1;
        for (reason, mut hooks) in by_reason {
            hooks.sort();
            let which = if same { format!("each of {} hooks", hooks.len()) } else { hooks.join(", ") };
            self.notes.push(format!("{} refused for {which}: {reason}", mode.name()));
        }
    }

    /// Each hook, the way it was tried, and what stood in its way.
    pub fn probes(&self) -> Vec<Probe> {
        let mut probes: Vec<Probe> = self
            .probes
            .iter()
            .map(|(hook, mode, reason)| Probe { name: hook.clone(), kind: mode.name(), trouble: Some(reason.clone()) })
            .collect();
        if let Some(hooks) = &self.hooks {
            let probe = |name: &String, trouble| Probe { name: name.clone(), kind: self.mode.name(), trouble };
            probes.extend(hooks.loaded.iter().map(|name| probe(name, None)));
            probes.extend(hooks.absent.iter().map(|(name, meaning)| probe(name, Some(meaning.clone()))));
        }
        probes.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
        probes
    }

    pub fn pin(&self, pins: &Pins) -> io::Result<()> {
        self.hooks.as_ref().map_or(Ok(()), |hooks| hooks.pin(pins))
    }

    /// Gives up on denying: what the canary found.
    pub fn give_up(&mut self, reason: String, pins: Option<&Pins>) {
        if let (Some(hooks), Some(pins)) = (&self.hooks, pins) {
            for name in &hooks.loaded {
                // What stays refuses nothing, as was just seen.
                let _ = pins.unpin(name);
            }
        }
        self.hooks = None;
        self.mode = Mode::Observe;
        self.notes.push(reason);
    }

    pub fn hooks(&self) -> &[String] {
        self.hooks.as_ref().map_or(&[], |hooks| &hooks.loaded)
    }

    /// How often the kernel skipped a hook.
    pub fn skipped(&self) -> io::Result<u64> {
        self.hooks.as_ref().map_or(Ok(0), Hooks::skipped)
    }

    /// Puts a policy in force for an agent, whole, at one moment: its generation, 0 where nothing judges. `stood`: how the
    /// agent stood under the daemon before.
    pub fn set_policy(
        &mut self,
        agent: AgentNo,
        table: &Table,
        observe: bool,
        stood: Option<Governed>,
        pins: Option<&Pins>,
    ) -> io::Result<u64> {
        if self.mode == Mode::Observe {
            return Ok(0);
        }
        self.filesystems.refresh()?;
        let (number, generation) = self.policies.load(table)?;
        if self.policies.refuse_sends()
            && let Some(hooks) = &mut self.hooks
            && let Err(error) = hooks.watch_sends(pins)
        {
            self.policies.release(number);
            return Err(error);
        }
        self.standings.begin(agent, stood);
        if self.written.ask(agent, table.kernel.written != 0) {
            self.standings.know_written_by_time(agent);
        }
        self.standings.set_lanes(agent, &table.lanes, self.policies.secret());
        self.standings.judge_by(agent, Some(number), observe);
        if let Some(old) = self.in_force.insert(agent, number) {
            self.policies.release(old);
        }
        Ok(generation)
    }

    /// What names are hashed with.
    pub fn secret(&self) -> Secret {
        self.policies.secret()
    }

    /// Whether an attempt under way may be judged by this generation.
    pub fn holds(&self, generation: u64) -> bool {
        self.policies.holds(generation)
    }

    /// The agent's last task is gone.
    pub fn release(&mut self, agent: AgentNo) {
        self.standings.reset(agent);
        self.written.forget(agent);
        self.counts.forget_all(|of| of == agent);
        if let Some(number) = self.in_force.remove(&agent) {
            self.policies.release(number);
        }
    }

    /// Takes away policies that nobody is judged by any more; `in_use` tells of attempts under way by generation.
    pub fn sweep(&mut self, in_use: impl Fn(u64) -> bool, pins: Option<&Pins>) -> io::Result<()> {
        self.policies.sweep(in_use);
        self.counts.sweep();
        match &mut self.hooks {
            Some(hooks) if !self.policies.refuse_sends() => hooks.leave_sends(pins),
            _ => Ok(()),
        }
    }
}

/// A child that waits in `cgroup` and then tries to unlink `file`; returns the errno it met, 0 for success.
pub fn canary(cgroup: &Path, file: &Path, govern: impl FnOnce() -> io::Result<()>) -> io::Result<i32> {
    let target = CString::new(file.as_os_str().as_bytes()).map_err(io::Error::other)?;
    fs::write(file, b"")?;
    let (mut go_read, mut go_write) = io::pipe()?;
    // SAFETY: the child calls only what is safe after a fork: read, unlink, _exit.
    let child = unsafe { libc::fork() };
    match child {
        -1 => return Err(io::Error::last_os_error()),
        0 => {
            let mut byte = [0_u8; 1];
            let _ = go_read.read(&mut byte);
            // SAFETY: a C string that lives on; _exit runs nothing of ours.
            unsafe {
                let failed = libc::unlink(target.as_ptr());
                let errno = if failed == 0 { 0 } else { *libc::__errno_location() };
                libc::_exit(errno & 0xff);
            }
        }
        _ => {}
    }
    let prepared = fs::write(cgroup.join("cgroup.procs"), child.to_string()).and_then(|()| govern());
    let _ = go_write.write_all(b"x");
    let mut status = 0;
    // SAFETY: our own child, waited for once.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    let _ = fs::remove_file(file);
    prepared?;
    if libc::WIFEXITED(status) { Ok(libc::WEXITSTATUS(status)) } else { Err(io::Error::other("the canary died")) }
}
