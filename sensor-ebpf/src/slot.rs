//! The attempt: opened at a call's entry, closed at its return, at the task's end, or at the next entry.

use sensor_common::{
    action::Action,
    event::{Fault, Mark, Ring, Slot, UNREAD, end, flag, kind, pair},
    guard::{Guard, keeps_nothing},
    syscalls::{IO_URING, OPENS, UNLISTED},
    table::effect,
};

use crate::{
    args,
    call::Call,
    emit,
    found::guarded,
    guard,
    kernel::{clear, current_numbers, off, read},
    maps,
    who::{Whose, enforced, whose},
};

/// What the kernel restarts on its own: the attempt is not over.
const ERESTARTSYS: i64 = -512;
const ERESTART_RESTARTBLOCK: i64 = -516;
pub const RESTART_SYSCALL: u32 = 219;
pub const FMODE_WRITE: u32 = 2;
pub const FMODE_CREATED: u32 = 0x0010_0000;
pub const S_IFMT: u16 = 0o170_000;
pub const S_IFREG: u16 = 0o100_000;
pub const S_IFSOCK: u16 = 0o140_000;

#[inline(always)]
fn slot_of(mark: *mut Mark) -> Option<(*mut Slot, u32)> {
    // SAFETY: a pointer into a map value.
    let number = unsafe { (*mark).slot };
    if number == 0 {
        return None;
    }
    let index = number - 1;
    maps::SLOTS.get_ptr_mut(index).map(|slot| (slot, index))
}

#[inline(always)]
fn acquire(mark: *mut Mark) -> Option<(*mut Slot, u32)> {
    if let Some(found) = slot_of(mark) {
        return Some(found);
    }
    let index = maps::FREE.pop().ok()??;
    // SAFETY: a pointer into a map value.
    unsafe { (*mark).slot = index + 1 };
    let slot = maps::SLOTS.get_ptr_mut(index)?;
    // The last owner's: its stack is gone.
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.registers = 0 };
    Some((slot, index))
}

/// Begins an attempt.
#[inline(always)]
pub fn enter(mark: *mut Mark, call: &Call) {
    let Some((slot, index)) = acquire(mark) else {
        emit::fault(Fault::NoSlot);
        // SAFETY: a pointer into a map value.
        emit::lost(unsafe { (*mark).agent });
        return;
    };
    // SAFETY: `slot` and `mark` point to whole map values, here and below.
    unsafe {
        if (*slot).attempt.open != 0 {
            if continues(slot, call) && args::unchanged(slot, index, call) {
                // Under way again: hooks that it comes to are its own.
                (*slot).attempt.result = 0;
                return;
            }
            // Interrupted for good, or its return never came.
            if restarts((*slot).attempt.result) {
                send(slot, end::RETURNED);
            } else {
                emit::fault(Fault::MissedReturn);
                send(slot, end::UNKNOWN);
            }
        }
        let attempt = &raw mut (*slot).attempt;
        (*mark).seq += 1;
        (*attempt).seq = (*mark).seq;
        (*slot).walk.number = call.number;
        (*slot).walk.registers = call.registers;
        (*slot).walk.argument = UNREAD;
        (*attempt).task = call.task;
        (*attempt).syscall = call.spec.id;
        (*attempt).end = end::RETURNED;
        (*attempt).pairs = 0;
        (*slot).walk.judged = 0;
        (*attempt).flags = if call.compat { flag::COMPAT } else { 0 };
        (*attempt).result = 0;
        (*attempt).args = call.args;
        (*attempt).generation = 0;
        (*attempt).sections = 0;
        (*attempt).head.kind = kind::ATTEMPT;
        (*attempt).head.reserved = 0;
        (*attempt).head.agent = (*mark).agent;
        (*attempt).head.emitted = 0;
        ((*attempt).head.tid, (*attempt).head.pid) = current_numbers();
        credentials(slot, call.task);
        args::at_entry(index);
        (*attempt).head.at = emit::now();
        (*attempt).open = 1;
    }
}

#[inline(always)]
fn credentials(slot: *mut Slot, task: u64) {
    let Some(cred) = read::<u64>(task + off::off_task_cred()) else { return };
    // uid, gid, suid, sgid, euid, egid follow one another.
    let ids = read::<[u32; 6]>(cred + off::off_cred_uid()).unwrap_or([u32::MAX; 6]);
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).attempt.uid = ids[0];
        (*slot).attempt.gid = ids[1];
        (*slot).attempt.euid = ids[4];
        (*slot).attempt.egid = ids[5];
        (*slot).attempt.caps = read::<u64>(cred + off::off_cred_caps()).unwrap_or(0);
    }
}

#[inline(always)]
fn restarts(result: i64) -> bool {
    result <= ERESTARTSYS && result >= ERESTART_RESTARTBLOCK && result != -515
}

#[inline(always)]
unsafe fn continues(slot: *mut Slot, call: &Call) -> bool {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        let attempt = &raw const (*slot).attempt;
        restarts((*attempt).result)
            && (*attempt).syscall == call.spec.id
            && (*attempt).args[0] == call.args[0]
            && (*attempt).args[1] == call.args[1]
            && (*attempt).args[2] == call.args[2]
            && (*attempt).args[3] == call.args[3]
    }
}

/// The call returned.
#[inline(always)]
pub fn leave(mark: *mut Mark, task: u64, number: u32, result: i64) {
    let Some((slot, index)) = slot_of(mark) else { return };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if (*slot).attempt.open == 0 {
            return;
        }
        // A signal's handler makes calls of its own while an interrupted one waits to go on. A successful
        // exec may return by another number.
        if number != (*slot).walk.number && (*slot).attempt.flags & flag::EXECED == 0 && number != RESTART_SYSCALL {
            return;
        }
        (*slot).attempt.result = result;
        // Before a restart too: whoever is killed meanwhile does not come back to be asked again.
        if (*slot).attempt.flags & (flag::UNREADABLE | flag::UNREADABLE2) != 0
            && (*slot).attempt.flags & flag::EXECED == 0
        {
            args::at_return(slot, index);
        }
        if restarts(result) {
            return;
        }
        if result >= 0 {
            describe_opened(slot, task, result as u64);
        }
        send(slot, end::RETURNED);
    }
}

/// Says of a successful open whether the file was made by it, and whether it is one.
#[inline(always)]
unsafe fn describe_opened(slot: *mut Slot, task: u64, fd: u64) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        let attempt = &raw mut (*slot).attempt;
        let number = (*attempt).syscall;
        if !OPENS.contains(&number) {
            return;
        }
        let file = crate::kernel::file_of(task, fd);
        if file == 0 {
            return;
        }
        let mode = read::<u32>(file + off::off_file_mode()).unwrap_or(0);
        if mode & FMODE_CREATED != 0 {
            (*attempt).flags |= flag::CREATED;
        }
        let Some(inode) = read::<u64>(file + off::off_file_inode()) else { return };
        let special = read::<u16>(inode + off::off_inode_mode()).is_some_and(|kind| kind & S_IFMT != S_IFREG);
        // Only what may be written could be cut.
        if special || mode & FMODE_WRITE != 0 && keeps_nothing(guard::kind_of_inode(inode)) {
            (*attempt).flags |= flag::SPECIAL;
        }
    }
}

/// The task ends; what it was at is told, and the slot goes back.
#[inline(always)]
pub fn abandon(mark: *mut Mark) {
    let Some((slot, index)) = slot_of(mark) else { return };
    // SAFETY: `slot` and `mark` point to whole map values.
    unsafe {
        if (*slot).attempt.open != 0 {
            send(slot, end::KILLED);
        }
        (*mark).slot = 0;
    }
    let _ = maps::FREE.push(&index, 0);
}

/// A successful exec: the program that now runs, and what could not be read before.
#[inline(always)]
pub fn execed(mark: *mut Mark, task: u64, bprm: u64) {
    let Some((slot, index)) = slot_of(mark) else { return };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if (*slot).attempt.open == 0 {
            return;
        }
        args::of_new_program(slot, index, task, bprm);
        (*slot).attempt.flags |= flag::EXECED;
    }
}

#[inline(always)]
unsafe fn send(slot: *mut Slot, how: u8) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        (*slot).attempt.end = how;
        let mut ring = Ring::Flood;
        for i in 0..sensor_common::event::MAX_PAIRS {
            if i >= (*slot).attempt.pairs as usize {
                break;
            }
            let found = &raw const (*slot).attempt.pair[i];
            if (*found).effect != effect::ALLOW || (*found).flags & pair::BLOCKED != 0 {
                ring = Ring::Rare;
            }
        }
        // Closed first: the daemon, which reads mapped slots, never takes a told attempt for a pending one.
        (*slot).attempt.open = 0;
        emit::attempt(slot, ring);
    }
}

/// What a refused action returns unless its rule says otherwise: -EACCES.
pub const DENIED: i32 = -13;
/// A ring takes this for "try again", and does so without end.
const EAGAIN: i32 = -11;

/// What the hook returns. The bits set are no change, for all errnos of rules are below 128: they show the
/// verifier that it is a negative number in bounds.
#[inline(always)]
fn refusal(slot: *mut Slot) -> i32 {
    // SAFETY: `slot` points to a whole map value.
    let (refusal, call) = unsafe { ((&raw const (*slot).walk.refusal).read_volatile(), (*slot).attempt.syscall) };
    if refusal == 0 || refusal == EAGAIN && call == IO_URING { DENIED } else { refusal | !0x7f }
}

/// Runs a hook's judgement in the task's slot; outside a governed task it is not run.
#[inline(always)]
pub fn in_hook(judge: impl FnOnce(*mut Slot, u32) -> u32) -> i32 {
    in_hook_of(UNLISTED, judge)
}

/// The same; `alone` is the row that it is told as where no captured call is under way.
#[inline(always)]
pub fn in_hook_of(alone: u16, judge: impl FnOnce(*mut Slot, u32) -> u32) -> i32 {
    let task = crate::kernel::current_task();
    let whose = whose(task);
    if matches!(whose, Whose::Nobodys) || crate::turn::is_off() {
        return 0;
    }
    let mark = match whose {
        Whose::Marked(mark) => mark,
        Whose::Nobodys => return 0,
        // Nowhere to keep what would be found: as below.
        Whose::Unmarked(agent) => return if enforced(agent) { DENIED } else { 0 },
    };
    let Some((slot, index)) = acquire(mark) else {
        // Inside a judged agent, what cannot be judged does not happen.
        emit::fault(Fault::NoSlot);
        // SAFETY: a pointer into a map value.
        return if enforced(unsafe { (*mark).agent }) { DENIED } else { 0 };
    };
    // SAFETY: `slot` and `mark` point to whole map values.
    unsafe {
        let bare = (*slot).attempt.open == 0 || restarts((*slot).attempt.result);
        if bare {
            if (*slot).attempt.open != 0 {
                // Interrupted, and now something else: it is told before its slot is used.
                send(slot, end::RETURNED);
            }
            begin_bare(mark, slot, task, alone);
        }
        (*slot).walk.refusal = 0;
        let refused = judge(slot, index);
        // What nothing was found about is no attempt.
        if bare && (*slot).attempt.pairs != 0 {
            // What a call returns without a capability is for the call to say, and it may go on.
            let told = refused != 0 && (*slot).attempt.pair[0].action != Action::SysCapability as u8;
            (*slot).attempt.result = if told { i64::from(refusal(slot)) } else { 0 };
            send(slot, if told { end::RETURNED } else { end::UNKNOWN });
        }
        if refused != 0 { refusal(slot) } else { 0 }
    }
}

/// The same, of an action that has no place and breaks this rule of the guard.
#[inline(always)]
pub fn guards(action: Action, rule: Guard) -> i32 {
    in_hook(|slot, index| guarded(slot, index, action, rule.word()))
}

/// Judges what the call under way means, where `meant` says so of its row and which rule of the guard it breaks, on behalf of a hook that many other
/// things come through: it begins no attempt, and takes no slot.
#[inline(always)]
pub fn in_call(mark: *mut Mark, meant: impl FnOnce(u16) -> Option<(Action, u32)>) -> i32 {
    let Some((slot, index)) = slot_of(mark) else { return 0 };
    // SAFETY: `slot` points to a whole map value.
    let attempt = unsafe { &raw const (*slot).attempt };
    // SAFETY: as above.
    let (open, call, result) = unsafe { ((*attempt).open, (*attempt).syscall, (*attempt).result) };
    if open == 0 || restarts(result) {
        return 0;
    }
    let Some((action, rule)) = meant(call) else { return 0 };
    // SAFETY: as above.
    unsafe { (*slot).walk.refusal = 0 };
    if guarded(slot, index, action, rule) != 0 { refusal(slot) } else { 0 }
}

const PF_IO_WORKER: u32 = 0x10;
/// `orig_ax` in `struct pt_regs`.
const NUMBER_SAVED: u64 = 120;
const IO_URING_ENTER: u64 = 426;

/// Whether the task is a ring's worker, or submits to a ring.
#[inline(always)]
pub unsafe fn works_for_ring(slot: *mut Slot, task: u64) -> bool {
    if read::<u32>(task + off::off_task_flags()).unwrap_or(0) & PF_IO_WORKER != 0 {
        return true;
    }
    // SAFETY: the caller's `slot` points to a whole map value.
    let registers = unsafe { (*slot).walk.registers };
    registers != 0 && read::<u64>(registers + NUMBER_SAVED) == Some(IO_URING_ENTER)
}

/// An attempt without a syscall.
#[inline(always)]
unsafe fn begin_bare(mark: *mut Mark, slot: *mut Slot, task: u64, alone: u16) {
    // SAFETY: the caller's pointers point to whole map values.
    unsafe {
        let ring = works_for_ring(slot, task);
        let attempt = &raw mut (*slot).attempt;
        (*mark).seq += 1;
        (*attempt).seq = (*mark).seq;
        (*attempt).task = task;
        (*attempt).syscall = if ring { IO_URING } else { alone };
        (*attempt).pairs = 0;
        (*slot).walk.judged = 0;
        (*attempt).flags = if ring { flag::WORKER } else { 0 };
        (*attempt).generation = 0;
        clear(&raw mut (*attempt).args);
        (*attempt).sections = 0;
        (*attempt).head.kind = kind::ATTEMPT;
        (*attempt).head.agent = (*mark).agent;
        ((*attempt).head.tid, (*attempt).head.pid) = current_numbers();
        (*attempt).head.at = emit::now();
        credentials(slot, task);
    }
}
