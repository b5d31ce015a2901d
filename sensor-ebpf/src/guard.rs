//! The guard: what no policy allows an agent. A hook says which rule its action would break, or the object's place
//! does; `judge.rs` asks before it asks the policy.

use sensor_common::{
    event::{Above, MAX_DEPTH, Slot},
    guard::{
        EDGE_READS, EDGE_RULE, Guard, MAX_NAMES, MOVES, STATES, kind, kind_of, of_character_device, of_itself, of_kind,
        of_name,
    },
    table::EdgeKey,
};

use crate::{
    kernel::{current_task, off, read},
    maps,
    walk::{is_that, may_be_registered},
    who,
};

const S_IFMT: u16 = 0o170_000;
const S_IFBLK: u16 = 0o060_000;
const S_IFCHR: u16 = 0o020_000;

/// What is judged next breaks this rule; 0 is none.
#[inline(always)]
pub fn expect(slot: *mut Slot, rule: u32) {
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.guard = rule };
}

/// The rule that a hook named, once.
#[inline(always)]
pub fn taken(slot: *mut Slot) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let rule = (*slot).walk.guard;
        (*slot).walk.guard = 0;
        rule
    }
}

/// `guard` where the task is no task of the slot's agent.
#[inline(always)]
pub fn against_stranger(slot: *mut Slot, task: u64, guard: Guard) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    let agent = unsafe { (*slot).attempt.head.agent };
    if is_stranger(task, agent) != 0 { guard.word() } else { 0 }
}

/// 1: alive, and not of this agent.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn is_stranger(task: u64, agent: u32) -> u64 {
    u64::from(who::is_stranger(task, agent))
}

/// What opening a device breaks.
#[inline(always)]
pub fn of_device(inode: u64, mode: u16) -> u32 {
    match mode & S_IFMT {
        S_IFBLK => Guard::Devices.word(),
        S_IFCHR => of_character_device(read::<u32>(inode + off::off_inode_device()).unwrap_or(0)),
        _ => 0,
    }
}

/// What making a node breaks. A character device numbered 0 is an overlay's mark for what is not there.
#[inline(always)]
pub fn of_node(mode: u64, device: u64) -> u32 {
    match mode as u16 & S_IFMT {
        S_IFBLK => Guard::Devices.word(),
        S_IFCHR if device as u32 != 0 => Guard::Devices.word(),
        _ => 0,
    }
}

/// The kind of filesystem that a dentry lies in …
#[inline(always)]
pub fn kind_at(dentry: u64) -> u32 {
    read::<u64>(dentry + off::off_dentry_sb()).map_or(0, kind_of_superblock)
}

/// … or an inode.
#[inline(always)]
pub fn kind_of_inode(inode: u64) -> u32 {
    read::<u64>(inode + off::off_inode_sb()).map_or(0, kind_of_superblock)
}

#[inline(always)]
fn kind_of_superblock(superblock: u64) -> u32 {
    read::<u64>(superblock + off::off_sb_magic()).map_or(0, kind_of)
}

#[inline(always)]
fn inode_of(dentry: u64) -> u64 {
    read::<u64>(dentry + off::off_dentry_inode()).unwrap_or(0)
}

/// The task whose file in proc this is; 0 where it is no task's.
#[inline(always)]
fn task_of_proc(inode: u64) -> u64 {
    if inode == 0 {
        return 0;
    }
    let Some(pid) = read::<u64>(inode - off::off_proc_inode_vfs() + off::off_proc_inode_pid()) else { return 0 };
    task_of(pid)
}

/// Whether a file in proc is that of a process which is alive, and not of the slot's agent.
#[inline(always)]
pub fn stranger_of_proc(slot: *mut Slot, inode: u64) -> bool {
    against_stranger(slot, task_of_proc(inode), Guard::Processes) != 0
}

/// The task that bears this number.
#[inline(always)]
pub fn task_of(pid: u64) -> u64 {
    if pid == 0 {
        return 0;
    }
    match read::<u64>(pid + off::off_pid_tasks()) {
        Some(node) if node != 0 => node - off::off_task_pid_links(),
        _ => 0,
    }
}

/// Whether the directory that the dentry lies in is a cgroup of the agent's. In the v2 hierarchy a directory's inode
/// number is the cgroup's.
#[inline(always)]
fn in_own_cgroup(dentry: u64, agent: u32) -> bool {
    let Some(parent) = read::<u64>(dentry + off::off_dentry_parent()) else { return false };
    let Some(number) = read::<u64>(inode_of(parent) + off::off_inode_number()) else { return false };
    // SAFETY: the value is read at once.
    unsafe { maps::CGROUPS.get(&number) }.is_some_and(|owner| *owner == agent)
}

/// Directories that are looked at from a file upwards.
const LEVELS: u32 = 32;

/// Whether a file lies in a place that is guarded by its inode, or may. A function of its own, for it is a loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn lies_in_guarded(file: u64) -> u64 {
    let mut dentry = file;
    for _ in 0..LEVELS {
        let inode = inode_of(dentry);
        // SAFETY: the value is read at once.
        if let Some(place) = unsafe { maps::FILESYSTEMS.get(&inode) } {
            return u64::from(place.kind != 0);
        }
        match read::<u64>(dentry + off::off_dentry_parent()) {
            Some(parent) if parent != dentry => dentry = parent,
            // A filesystem that nobody has registered.
            Some(_) => return 0,
            None => return 1,
        }
    }
    1
}

/// The rule that the action breaks on the object that was walked, by where it lies; 0 for none.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn guard_place(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: `slot` points to a whole map value.
    let (mut kind, dentry, agent) = unsafe { ((*slot).walk.kind, (*slot).walk.first, (*slot).attempt.head.agent) };
    if kind == kind::PROC {
        let task = task_of_proc(inode_of(dentry));
        if task != 0 && is_stranger(task, agent) != 0 {
            kind = kind::PROC_TASK;
        }
    }
    if kind == kind::CGROUP2 && in_own_cgroup(dentry, agent) {
        kind = kind::OWN_CGROUP;
    }
    // SAFETY: as above.
    let action = 1 << (unsafe { (*slot).walk.action } & 31);
    let (mut actions, rule) = of_kind(kind);
    // SAFETY: as above.
    if unsafe { (*slot).walk.depth } == 0 {
        actions |= of_itself(kind);
    }
    let named = match kind {
        kind::PROC | kind::SYSFS | kind::SBIN => guard_names(index, kind, 0),
        kind::PROC_TASK | kind::OWN_CGROUP => guard_names(index, kind, 1),
        _ => NOT_NAMED,
    };
    if named == NOT_NAMED {
        return if actions & action != 0 { u64::from(rule) } else { 0 };
    }
    if of_name(actions, named as u32 & EDGE_READS != 0) & action != 0 { named & u64::from(EDGE_RULE) } else { 0 }
}

/// The rule that the action breaks by moving what leads to something guarded; 0 for none.
#[inline(always)]
pub fn of_what_is_below(action: u8, dentry: u64) -> u32 {
    if MOVES & 1 << (action & 31) == 0 {
        return 0;
    }
    above(dentry).map_or(0, |above| above.rule)
}

/// The rule that is broken by mounting over what leads to something guarded, or by taking a mount away there, where the
/// daemon would see it; 0 for none. `mount` is the `struct vfsmount` that it was reached by.
#[inline(always)]
pub fn of_cover(mount: u64, dentry: u64) -> u32 {
    // What happens in a mount that has peers happens in all of them.
    let peers = read::<u32>(mount - off::off_mount_mnt() + off::off_mount_group()).unwrap_or(1);
    if peers != 0 { above(dentry).map_or(0, |above| above.rule) } else { of_cover_here(mount, dentry) }
}

/// The same where a mount's peers do not matter: a copy has those of what it was made of.
#[inline(always)]
pub fn of_cover_here(mount: u64, dentry: u64) -> u32 {
    match above(dentry) {
        Some(above) if namespace_of(mount) == above.namespace => above.rule,
        _ => 0,
    }
}

/// The namespace that a `struct vfsmount` is in.
#[inline(always)]
pub fn namespace_of(mount: u64) -> u64 {
    read::<u64>(mount - off::off_mount_mnt() + off::off_mount_ns()).unwrap_or(0)
}

#[inline(always)]
fn above(dentry: u64) -> Option<Above> {
    let inode = inode_of(dentry);
    if !may_be_registered(inode) {
        return None;
    }
    // SAFETY: the value is copied at once.
    let above = unsafe { maps::ABOVE.get(&inode) }.copied()?;
    is_that(inode, above.ino).then_some(above)
}

/// No name of this kind's was met.
pub const NOT_NAMED: u64 = u64::MAX;

/// The last edge met on the way from the filesystem's root, or by the object's own name alone.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn guard_names(index: u32, kind: u32, last_alone: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return NOT_NAMED };
    let mut state = kind;
    let mut met = NOT_NAMED;
    for step in 0..MAX_NAMES {
        // SAFETY: `slot` points to a whole map value, and the mask keeps the index within the array.
        let name = unsafe {
            let depth = core::ptr::read_volatile(&raw const (*slot).walk.depth);
            if step >= depth {
                break;
            }
            let which = if last_alone != 0 { 0 } else { depth - 1 - step };
            (*slot).walk.hashes[which as usize & (MAX_DEPTH - 1)]
        };
        let key = EdgeKey { state: STATES + u64::from(state), name };
        // SAFETY: the value is read at once.
        let Some(edge) = unsafe { maps::EDGES.get(&key) }.copied() else { break };
        met = u64::from(edge & 0xffff);
        state = edge >> 16;
        if state == 0 {
            break;
        }
    }
    met
}

/// Bytes from one kind of number to the next: the thread's, the process's, its group's, its session's.
const NUMBER: u64 = 8;
/// The same of the links by which tasks hang on their numbers.
const LINK: u64 = 16;

/// Whether a number in a call names the caller: its thread, or its process.
#[inline(always)]
pub fn is_own_number(number: i32) -> bool {
    let task = current_task();
    let Some(signal) = read::<u64>(task + off::off_task_signal()) else { return false };
    let process = signal + off::off_signal_pids() + NUMBER;
    number == 0 || number_of(process) == number || number_of(task + off::off_task_thread_pid()) == number
}

/// The caller's process group, where a number (negative) names it; else 0.
#[inline(always)]
pub fn own_group(number: i32) -> u64 {
    let Some(signal) = read::<u64>(current_task() + off::off_task_signal()) else { return 0 };
    let group = signal + off::off_signal_pids() + 2 * NUMBER;
    if number < 0 && number_of(group) == number.wrapping_neg() { read::<u64>(group).unwrap_or(0) } else { 0 }
}

/// Processes of a group that are looked at; one with more may hold others.
const MEMBERS: u32 = 32;

/// 1: the group may hold a process that is not of this agent. A function of its own, for it is a loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn group_holds_stranger(group: u64, agent: u32) -> u64 {
    let mut link = read::<u64>(group + off::off_pid_tasks() + 2 * NUMBER).unwrap_or(0);
    for _ in 0..MEMBERS {
        if link == 0 {
            return 0;
        }
        if is_stranger(link - off::off_task_pid_links() - 2 * LINK, agent) != 0 {
            return 1;
        }
        link = read::<u64>(link).unwrap_or(0);
    }
    1
}

/// The number that the `struct pid` pointed to from `address` has in its own namespace.
#[inline(always)]
fn number_of(address: u64) -> i32 {
    let Some(pid) = read::<u64>(address) else { return 0 };
    let Some(level) = read::<u32>(pid + off::off_pid_level()) else { return 0 };
    // A number and its namespace take sixteen bytes.
    read::<i32>(pid + off::off_pid_numbers() + u64::from(level & 63) * 16).unwrap_or(0)
}
