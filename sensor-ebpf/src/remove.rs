//! Removing: unlink, rmdir, renaming away and over, cutting to nothing.
//!
//! The path hooks come before the kernel's own permission test, so they see what it would refuse, too.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    guard::keeps_nothing,
    syscalls::{IO_URING, RENAMEAT2, TRUNCATIONS},
};

use crate::{
    found::{of_cgroups, placed, word},
    guard,
    kernel::{off, read},
    slot,
    written::note_written,
};

#[inline(always)]
fn removes(dentry: u64) -> i32 {
    slot::in_hook(|slot, index| placed(slot, index, Action::FileDelete, dentry))
}

/// Cutting to nothing deletes, where files keep what is in them; a call that cuts also writes. What an open writes,
/// `file_open` has judged.
#[inline(always)]
fn cuts(path: u64) -> i32 {
    slot::in_hook(|slot, index| {
        let Some(dentry) = read::<u64>(path + off::off_path_dentry()) else { return 1 };
        // SAFETY: `slot` points to a whole map value.
        let (call, args) = unsafe { ((*slot).attempt.syscall, (*slot).attempt.args) };
        let truncates = TRUNCATIONS.contains(&call);
        // i386's 64-bit lengths come in two words.
        let high = if call >= TRUNCATIONS[2] && TRUNCATIONS[2..].contains(&call) { args[2] } else { 0 };
        let mut refused = 0;
        if truncates {
            refused |= placed(slot, index, Action::FileWrite, dentry);
        }
        if (!truncates || (args[1] | high) == 0) && !keeps_nothing(guard::kind_at(dentry)) {
            refused |= placed(slot, index, Action::FileDelete, dentry);
        }
        if refused == 0
            && let Some(inode) = read::<u64>(dentry + off::off_dentry_inode())
        {
            // SAFETY: as above.
            note_written(unsafe { (*slot).attempt.head.agent }, inode);
        }
        refused
    })
}

#[lsm(hook = "path_unlink")]
pub fn path_unlink(ctx: LsmContext) -> i32 {
    removes(word(&ctx, 1))
}

#[lsm(hook = "path_rmdir")]
pub fn path_rmdir(ctx: LsmContext) -> i32 {
    let dentry = word(&ctx, 1);
    slot::in_hook(|slot, index| placed(slot, index, Action::FileDelete, dentry) | of_cgroups(slot, index, dentry))
}

#[lsm(hook = "path_truncate")]
pub fn path_truncate(ctx: LsmContext) -> i32 {
    cuts(word(&ctx, 0))
}

/// An open with O_TRUNC, or ftruncate; from 6.2 on, before that path_truncate sees both.
#[lsm(hook = "file_truncate")]
pub fn file_truncate(ctx: LsmContext) -> i32 {
    cuts(word(&ctx, 0) + off::off_file_path())
}

const RENAME_EXCHANGE: u64 = 2;
const RENAME_WHITEOUT: u64 = 4;

#[lsm(hook = "path_rename")]
pub fn path_rename(ctx: LsmContext) -> i32 {
    let (from, to) = (word(&ctx, 1), word(&ctx, 3));
    slot::in_hook(|slot, index| {
        let over = read::<u64>(to + off::off_dentry_inode()).unwrap_or(0) != 0;
        // SAFETY: `slot` points to a whole map value.
        let (call, flags) = unsafe { ((*slot).attempt.syscall, (*slot).attempt.args[4]) };
        // A ring's flags are not told to every hook: what may be an exchange is judged as one.
        let flags = match call {
            RENAMEAT2 => flags,
            IO_URING if over => RENAME_EXCHANGE,
            IO_URING => RENAME_WHITEOUT,
            _ => 0,
        };
        let mut refused = placed(slot, index, Action::FileRename, from) | placed(slot, index, Action::FileDelete, from);
        if flags & (RENAME_EXCHANGE | RENAME_WHITEOUT) != 0 {
            refused |= placed(slot, index, Action::FileCreate, from);
        }
        if flags & RENAME_EXCHANGE != 0 {
            refused |= placed(slot, index, Action::FileRename, to);
        }
        refused |= placed(slot, index, Action::FileCreate, to);
        // Only what stands there can be renamed over.
        if over {
            refused |= placed(slot, index, Action::FileDelete, to);
        }
        refused
    })
}
