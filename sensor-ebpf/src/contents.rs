//! What the file holds that lies in a pinned place: asked of nothing but its identity, which the daemon has read it by.

use sensor_common::{
    action::Action,
    contents::Identity,
    event::{Slot, pair},
    table::{CONTENTS, EdgeKey, pinned},
};

use crate::{
    kernel::{off, read},
    maps,
    rules::offer_range,
    written::{NANOSECONDS, is_written},
};

/// Offers what asks for the contents of the object's file, or of the program's; unknown where they are not known as of now.
/// `asked` as `State::pinned` has it.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn offer_by_contents(index: u32, number: u32, asked: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (given, action) = unsafe { ((*slot).walk.contents, (*slot).walk.action) };
    let runs = action == Action::ProcExec as u32 || action == Action::FileMapExec as u32;
    if asked == pinned::WHERE_IT_RUNS && !runs {
        return 0;
    }
    let contents = match unsafe { (*slot).walk.first } {
        0 => given,
        dentry => identity_of(slot, dentry),
    };
    let key = EdgeKey { state: u64::from(number) | CONTENTS, name: contents };
    // SAFETY: the value is read at once.
    let Some(to) = (unsafe { maps::EDGES.get(&key) }) else {
        // SAFETY: as above.
        unsafe { (*slot).walk.about |= u32::from(pair::UNKNOWN) };
        return 1;
    };
    let Some(state) = maps::STATES.get(*to) else { return 1 };
    let (first, count) = (state.exact.first, state.exact.count);
    if count != 0 {
        offer_range(index, first, count);
    }
    0
}

/// The identity of the file, hashed; 0 where it cannot be told, or the run itself has written it.
#[inline(always)]
fn identity_of(slot: *mut Slot, dentry: u64) -> u64 {
    let inode = read::<u64>(dentry + off::off_dentry_inode()).unwrap_or(0);
    // SAFETY: `slot` points to a whole map value.
    let (agent, secret) = unsafe { ((*slot).attempt.head.agent, (*slot).walk.secret) };
    if inode == 0 || is_written(agent, inode) != 0 {
        return 0;
    }
    let (Some(superblock), Some(number)) =
        (read::<u64>(inode + off::off_inode_sb()), read::<u64>(inode + off::off_inode_number()))
    else {
        return 0;
    };
    let (Some(seconds), Some(nanoseconds)) =
        (read::<u64>(inode + off::off_inode_changed()), read::<u32>(inode + off::off_inode_changed_ns()))
    else {
        return 0;
    };
    let (Some(generation), Some(device)) =
        (read::<u32>(inode + off::off_inode_generation()), read::<u32>(superblock + off::off_sb_device()))
    else {
        return 0;
    };
    let nanoseconds = nanoseconds & NANOSECONDS;
    Identity { number, seconds, nanoseconds, generation, device, reserved: 0 }.hash(secret)
}
