//! Links of proc that lead to what a process has open, or mapped, whatever that is. What has a place is judged when it is
//! opened by them; a pipe, or memory that bears no name, has none.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::Slot,
    guard::{Guard, kind},
};

use crate::{
    found::{guarded, word},
    guard::{kind_at, stranger_of_proc},
    kernel::{off, read},
    slot,
};

/// Beginnings of the names of the directories that hold such links, and the bytes that tell them.
const FD: (u64, u64) = (u64::from_le_bytes(*b"fd\0\0\0\0\0\0"), 0xff_ffff);
const MAP_FILES: (u64, u64) = (u64::from_le_bytes(*b"map_file"), u64::MAX);

#[lsm(hook = "inode_follow_link")]
pub fn inode_follow_link(ctx: LsmContext) -> i32 {
    let (dentry, inode) = (word(&ctx, 0), word(&ctx, 1));
    if kind_at(dentry) != kind::PROC {
        return 0;
    }
    slot::in_hook(|slot, index| follows(slot, index, dentry, inode))
}

#[inline(always)]
fn follows(slot: *mut Slot, index: u32, dentry: u64, inode: u64) -> u32 {
    let parent = read::<u64>(dentry + off::off_dentry_parent()).unwrap_or(0);
    let name = read::<u64>(parent + off::off_dentry_name()).and_then(read::<u64>).unwrap_or(0);
    if name & FD.1 != FD.0 && name & MAP_FILES.1 != MAP_FILES.0 {
        return 0;
    }
    match stranger_of_proc(slot, inode) {
        false => 0,
        true => guarded(slot, index, Action::ProcPtrace, Guard::Processes.word()),
    }
}
