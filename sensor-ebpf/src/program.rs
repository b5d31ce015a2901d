//! The program that acts: the executable of the task's memory, by its true place like any object.
//!
//! It is walked before the object is, where a rule asks for it. The sets that its path is in stay in the walk; all
//! else of the walk is put back.

use sensor_common::{
    event::{Fault, Slot, pair, program},
    table::PROGRAMS,
};

use crate::{
    automaton::{self, Lanes},
    emit,
    found::has_place,
    judge::{hash_all_given, policy_of},
    kernel::{clear, current_task, dentry_of, off, read},
    maps,
    section::used,
    walk::{NOT_REGISTERED, PLACED, climb},
};

/// Finds out about the program, for what is judged next. A function of its own, called before those that judge and
/// not by them: the kernel allows eight calls deep.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn see_program(index: u32, action: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe {
        clear(&raw mut (*slot).walk.sets);
        (*slot).walk.program = 0;
    }
    let Some(policy) = policy_of(slot) else { return 1 };
    if policy.programs & (1 << (action & 31)) == 0 {
        return 0;
    }
    let (sections, root) = (used(slot), policy.root + PROGRAMS);
    // SAFETY: as above.
    unsafe {
        let (dentry, first) = ((*slot).walk.dentry, (*slot).walk.first);
        if let Some(secret) = maps::SECRET.get(0) {
            (*slot).walk.secret = *secret;
        }
        (*slot).walk.program = u32::from(find(slot, index, root));
        (*slot).walk.dentry = dentry;
        (*slot).walk.first = first;
        (*slot).attempt.sections = sections as u32;
    }
    0
}

/// For tests: the path of the program is what the slot holds already.
#[inline(always)]
pub fn given(slot: *mut Slot, index: u32) -> i32 {
    // SAFETY: `slot` points to a whole map value, here and below.
    let Some(policy) = policy_of(slot) else { return 1 };
    let Some(secret) = maps::SECRET.get(0) else { return 1 };
    let root = policy.root + PROGRAMS;
    // SAFETY: as above.
    unsafe { (*slot).walk.secret = *secret };
    hash_all_given(slot, index);
    let found = enter_sets(slot, index, root);
    // SAFETY: as above.
    unsafe { (*slot).walk.program = u32::from(found) };
    0
}

/// Enters the sets that the program's path is in; `program::*` bits where it has none.
#[inline(always)]
fn find(slot: *mut Slot, index: u32, root: u32) -> u8 {
    let Some(dentry) = executable() else { return program::UNKNOWN };
    if !has_place(dentry) {
        return program::NAMELESS;
    }
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe {
        (*slot).walk.dentry = dentry;
        (*slot).walk.first = dentry;
        (*slot).walk.depth = 0;
        (*slot).walk.cut = 0;
    }
    let state = climb(index);
    if state == NOT_REGISTERED {
        return program::UNKNOWN;
    }
    // SAFETY: as above.
    if state != PLACED || unsafe { (*slot).walk.cut } != 0 {
        emit::fault(Fault::WalkFailed);
        return program::UNKNOWN;
    }
    enter_sets(slot, index, root)
}

#[inline(always)]
fn enter_sets(slot: *mut Slot, index: u32, root: u32) -> u8 {
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe { (*slot).walk.about = 0 };
    automaton::run_from(slot, index, root, Some(Lanes::OfPrograms));
    // More globs at once than a walk holds, or contents that nobody has read.
    // SAFETY: as above.
    if unsafe { (*slot).walk.about } & u32::from(pair::UNKNOWN) != 0 { program::UNKNOWN } else { 0 }
}

/// What the current task runs. Threads share it, and a ring's workers have their submitter's; a kernel thread has none.
#[inline(always)]
fn executable() -> Option<u64> {
    let memory = read::<u64>(current_task() + off::off_task_mm())?;
    let file = read::<u64>(memory + off::off_mm_exe_file())?;
    if memory == 0 || file == 0 { None } else { dentry_of(file) }
}
