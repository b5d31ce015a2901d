//! Programs that capture, attached only while somebody is governed: an idle machine pays nothing for its calls.

use aya::{
    Ebpf,
    programs::{RawTracePoint, raw_trace_point::RawTracePointLinkId},
};

use super::load::{LoadError, missing, refused};

/// Each on the raw tracepoint of its name. In this order: who is whose is known before calls are looked at.
pub const PROGRAMS: [&str; 8] = [
    "task_newtask",
    "sched_process_exit",
    "cgroup_mkdir",
    "cgroup_rmdir",
    "cgroup_attach_task",
    "sched_process_exec",
    "sys_exit",
    "sys_enter",
];

#[derive(Default)]
pub struct Capture {
    attached: Vec<(&'static str, RawTracePointLinkId)>,
}

impl Capture {
    /// Loads every program: what this kernel does not take is told before an agent is there.
    pub fn load(bpf: &mut Ebpf) -> Result<Capture, LoadError> {
        for name in PROGRAMS {
            program(bpf, name)?.load().map_err(refused(format!("loading program {name}")))?;
        }
        Ok(Capture::default())
    }

    /// Attaches all of them, or none.
    pub fn attach(&mut self, bpf: &mut Ebpf) -> Result<(), LoadError> {
        for name in PROGRAMS.iter().skip(self.attached.len()) {
            let link = program(bpf, name)
                .and_then(|program| program.attach(name).map_err(refused(format!("attaching program {name}"))));
            match link {
                Ok(link) => self.attached.push((name, link)),
                Err(error) => {
                    // What led here is the error to tell.
                    let _ = self.detach(bpf);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Calls are no longer looked at; then whose tasks are.
    pub fn detach(&mut self, bpf: &mut Ebpf) -> Result<(), LoadError> {
        while let Some((name, link)) = self.attached.pop() {
            program(bpf, name)?.detach(link).map_err(refused(format!("detaching program {name}")))?;
        }
        Ok(())
    }

    pub fn is_attached(&self) -> bool {
        !self.attached.is_empty()
    }
}

fn program<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut RawTracePoint, LoadError> {
    bpf.program_mut(name)
        .ok_or_else(|| missing(format!("program {name}")))?
        .try_into()
        .map_err(refused(format!("program {name}")))
}
