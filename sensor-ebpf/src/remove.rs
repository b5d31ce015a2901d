//! Removing: unlink, rmdir, renaming away and over, cutting to nothing.
//!
//! The path hooks come before the kernel's own permission test, so they see what it would refuse, too.

use aya_ebpf::{EbpfContext as _, macros::lsm, programs::LsmContext};
use sensor_common::{action::Action, event::Slot};

use crate::{
    judge::judge,
    kernel::{off, read},
    slot::{self, DENIED},
};

#[inline(always)]
fn word(ctx: &LsmContext, index: usize) -> u64 {
    // SAFETY: a hook's context is an array of its arguments as words; the verifier knows how many.
    unsafe { ctx.as_ptr().cast::<u64>().add(index).read() }
}

#[inline(always)]
fn removes(dentry: u64) -> i32 {
    slot::in_hook(|slot, index| judge(slot, index, Action::FileDelete as u8, dentry))
}

#[lsm(hook = "path_unlink")]
pub fn path_unlink(ctx: LsmContext) -> i32 {
    removes(word(&ctx, 1))
}

#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(ctx: LsmContext) -> i32 {
    removes(word(&ctx, 1))
}

#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    let path = word(&ctx, 0);
    match read::<u64>(path + off::off_path_dentry()) {
        Some(dentry) => removes(dentry),
        None => DENIED,
    }
}

/// An open with O_TRUNC, or ftruncate; from 6.2 on, before that path_truncate sees both.
#[lsm(hook = "file_truncate")]
pub fn file_truncate(ctx: LsmContext) -> i32 {
    let file = word(&ctx, 0);
    match read::<u64>(file + off::off_file_path() + off::off_path_dentry()) {
        Some(dentry) => removes(dentry),
        None => DENIED,
    }
}

#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    let (from, to) = (word(&ctx, 1), word(&ctx, 3));
    slot::in_hook(|slot: *mut Slot, index| {
        let away = judge(slot, index, Action::FileDelete as u8, from);
        // Only what stands there can be renamed over.
        let over = if read::<u64>(to + off::off_dentry_inode()).unwrap_or(0) != 0 {
            judge(slot, index, Action::FileDelete as u8, to)
        } else {
            judge(slot, index, Action::FileCreate as u8, to)
        };
        away | over
    })
}
