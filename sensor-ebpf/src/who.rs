//! Whose task this is.
//!
//! A mark is copied when a task is made and set when one moves into an agent's cgroup; nothing but its end
//! takes it away. Cgroups are asked at those moments only.

use aya_ebpf::helpers::generated::bpf_get_current_cgroup_id;
use sensor_common::event::{Fault, Mark, kind};

use crate::{
    emit,
    kernel::{cgroup_id, current_task, off, read},
    maps, slot, turn,
};

const CLONE_THREAD: u64 = 0x0001_0000;
/// Threads marked at once when a process moves; the daemon moves the rest one by one.
const THREADS_AT_ONCE: u32 = 128;

#[inline(always)]
pub fn mark_of(task: u64) -> Option<*mut Mark> {
    maps::MARKS.get_ptr_mut(&task)
}

#[inline(always)]
fn set(task: u64, agent: u32) -> bool {
    let pid = read::<u32>(task + off::off_task_tgid()).unwrap_or(0);
    let mark = Mark { agent, slot: 0, seq: 0, pid, reserved: 0 };
    let set = maps::MARKS.insert(&task, &mark, 0).is_ok();
    if !set {
        emit::fault(Fault::NoMark);
    }
    set
}

#[inline(always)]
fn agent_of_cgroup(cgroup: u64) -> Option<u32> {
    let id = cgroup_id(cgroup);
    if id == 0 {
        return None;
    }
    // SAFETY: the value is read at once; a change in between is as if we had come earlier.
    unsafe { maps::CGROUPS.get(&id) }.copied()
}

/// A task was made and is not running yet; the current one made it.
#[inline(always)]
pub fn born(child: u64, clone_flags: u64) {
    let parent = current_task();
    let inherited = match mark_of(parent) {
        // SAFETY: a pointer into a map value.
        Some(mark) => Some(unsafe { (*mark).agent }),
        None => read::<u64>(child + off::off_task_cgroups())
            .and_then(|set| read::<u64>(set + off::off_css_set_dfl()))
            .and_then(agent_of_cgroup),
    };
    let Some(agent) = inherited else { return };
    // Where an LSM program marks at allocation, the mark is there already.
    let pid = read::<u32>(child + off::off_task_tgid()).unwrap_or(0);
    match mark_of(child) {
        // At allocation the task bore its maker's number still.
        // SAFETY: a pointer into a map value.
        Some(mark) => unsafe { (*mark).pid = pid },
        None if !set(child, agent) => return,
        None => {}
    }
    if !turn::is_ours() {
        return;
    }
    let tid = read::<u32>(child + off::off_task_pid()).unwrap_or(0);
    let maker = read::<u32>(parent + off::off_task_tgid()).unwrap_or(0);
    let thread = u32::from(clone_flags & CLONE_THREAD != 0);
    emit::lifecycle(kind::FORK, agent, pid, tid, maker, thread);
}

/// What a fork returns for which there is no mark: -EAGAIN, as where the kernel has no room for a task.
const NO_ROOM: i32 = -11;

/// A task is being made: it is its maker's from here on, even where later programs are skipped. What cannot be marked
/// is not made where a policy is enforced: it would be nobody's.
#[inline(always)]
pub fn allocated(child: u64) -> i32 {
    let Some(mark) = mark_of(current_task()) else { return 0 };
    // SAFETY: a pointer into a map value.
    let agent = unsafe { (*mark).agent };
    if !set(child, agent) && enforced(agent) { NO_ROOM } else { 0 }
}

/// Whether what cannot be judged is refused to this agent.
#[inline(always)]
pub fn enforced(agent: u32) -> bool {
    maps::GOVERNED.get(agent).is_some_and(|governed| governed.policy != 0 && governed.observe == 0)
}

/// The task's memory goes back: also that of a fork which failed.
#[inline(always)]
pub fn freed(task: u64) {
    let _ = maps::MARKS.remove(&task);
}

/// Whose the current task is, where a hook asks.
pub enum Whose {
    Nobodys,
    Marked(*mut Mark),
    /// Of an agent's cgroup, and there is no room for its mark.
    Unmarked(u32),
}

/// A task of an agent's cgroup that has no mark, for the kernel skips tracing programs when it preempts them,
/// is marked now.
#[inline(always)]
pub fn whose(task: u64) -> Whose {
    if let Some(mark) = mark_of(task) {
        return Whose::Marked(mark);
    }
    // SAFETY: takes nothing.
    let id = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: the value is read at once; a change in between is as if we had come earlier.
    let Some(agent) = unsafe { maps::CGROUPS.get(&id) }.copied() else { return Whose::Nobodys };
    emit::fault(Fault::LateMark);
    join(task, agent);
    match mark_of(task) {
        Some(mark) => Whose::Marked(mark),
        None => Whose::Unmarked(agent),
    }
}

/// Whether a task is alive and none of this agent's.
#[inline(always)]
pub fn is_stranger(task: u64, agent: u32) -> bool {
    if task == 0 {
        return false;
    }
    if let Some(mark) = mark_of(task) {
        // SAFETY: a pointer into a map value.
        return unsafe { (*mark).agent } != agent;
    }
    let cgroup = read::<u64>(task + off::off_task_cgroups()).and_then(|set| read::<u64>(set + off::off_css_set_dfl()));
    if cgroup.and_then(agent_of_cgroup) == Some(agent) {
        return false;
    }
    // A mark goes with its task's end; what is not waited for yet is nobody any more.
    let living =
        read::<u64>(task + off::off_task_signal()).and_then(|signal| read::<u32>(signal + off::off_signal_live()));
    living != Some(0)
}

/// The task ends. An attempt under way is told as such.
#[inline(always)]
pub fn gone(task: u64) {
    let Some(mark) = mark_of(task) else { return };
    // SAFETY: a pointer into a map value.
    let agent = unsafe { (*mark).agent };
    slot::abandon(mark);
    let _ = maps::MARKS.remove(&task);
    let pid = read::<u32>(task + off::off_task_tgid()).unwrap_or(0);
    let tid = read::<u32>(task + off::off_task_pid()).unwrap_or(0);
    emit::lifecycle(kind::EXIT, agent, pid, tid, 0, 0);
}

/// A function of its own, so that the verifier sees it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn join(task: u64, agent: u32) -> u64 {
    // A mark is never taken away: an agent's task that moves to another agent's cgroup stays the first's.
    if mark_of(task).is_some() || !set(task, agent) {
        return 0;
    }
    let pid = read::<u32>(task + off::off_task_tgid()).unwrap_or(0);
    let tid = read::<u32>(task + off::off_task_pid()).unwrap_or(0);
    emit::lifecycle(kind::JOIN, agent, pid, tid, 0, u32::from(pid != tid));
    1
}

/// A task, or its whole process, moved into a cgroup.
#[inline(always)]
pub fn moved(cgroup: u64, task: u64, whole_process: bool) {
    let Some(agent) = agent_of_cgroup(cgroup) else { return };
    join(task, agent);
    if !whole_process {
        return;
    }
    let Some(signal) = read::<u64>(task + off::off_task_signal()) else { return };
    let head = signal + off::off_signal_thread_head();
    let mut node = head;
    for _ in 0..THREADS_AT_ONCE {
        let Some(next) = read::<u64>(node) else { return };
        if next == head {
            return;
        }
        join(next - off::off_task_thread_node(), agent);
        node = next;
    }
}

/// A cgroup was made: below an agent's it is the agent's.
#[inline(always)]
pub fn cgroup_made(cgroup: u64) {
    // `self` is the first member of a cgroup, so a css pointer to it is a pointer to its cgroup.
    let Some(parent) = read::<u64>(cgroup + off::off_cgroup_parent()) else { return };
    if parent == 0 {
        return;
    }
    let Some(agent) = agent_of_cgroup(parent) else { return };
    let id = cgroup_id(cgroup);
    if id != 0 && maps::CGROUPS.insert(&id, &agent, 0).is_err() {
        emit::fault(Fault::NoCgroup);
    }
}

#[inline(always)]
pub fn cgroup_removed(cgroup: u64) {
    let id = cgroup_id(cgroup);
    if id != 0 {
        let _ = maps::CGROUPS.remove(&id);
    }
}
