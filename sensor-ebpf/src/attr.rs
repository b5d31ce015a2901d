//! Attributes: mode, owner, times, extended ones, access lists.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::Slot,
    syscalls::{ATTRIBUTES, IO_URING, UNLISTED},
};

use crate::{
    found::{forget_default, judged_before, on_path, placed, word},
    kernel::{off, read},
    slot,
};

#[inline(always)]
fn changes(path: u64) -> i32 {
    slot::in_hook(|slot, index| on_path(slot, index, Action::FileAttr, path))
}

#[lsm(hook = "path_chmod")]
pub fn path_chmod(ctx: LsmContext) -> i32 {
    changes(word(&ctx, 0))
}

#[lsm(hook = "path_chown")]
pub fn path_chown(ctx: LsmContext) -> i32 {
    changes(word(&ctx, 0))
}

/// Whether the call itself is about attributes, and not judged yet. Filesystems keep attributes of their own, and
/// those that lie over others ask again for what is below.
#[inline(always)]
fn is_asked_for(slot: *mut Slot) -> bool {
    // SAFETY: `slot` points to a whole map value.
    let call = unsafe { (*slot).attempt.syscall };
    let alone = call == IO_URING || call == UNLISTED;
    (alone || call >= ATTRIBUTES[0] && call <= ATTRIBUTES[1]) && !judged_before(slot, Action::FileAttr)
}

/// `ATTR_UID`, `ATTR_GID`.
const OWNER: u32 = 2 | 4;
/// `ATTR_ATIME`, `ATTR_MTIME`.
const TIMES: u32 = 16 | 32;
/// `ATTR_SIZE`: cutting a file changes its times as well.
const SIZE: u32 = 8;

/// Times, and owners where `path_chown` cannot be typed.
#[inline(always)]
fn sets(dentry: u64, attributes: u64) -> i32 {
    slot::in_hook(|slot, index| {
        // `ia_valid` is the first member.
        let changed = read::<u32>(attributes).unwrap_or(OWNER);
        if changed & (OWNER | TIMES) == 0 || changed & SIZE != 0 || !is_asked_for(slot) {
            return 0;
        }
        placed(slot, index, Action::FileAttr, dentry)
    })
}

#[lsm(hook = "inode_setattr")]
pub fn inode_setattr(ctx: LsmContext) -> i32 {
    // Since 6.0 the mount's mapping of ids comes first.
    let (dentry, attributes) = if off::has_setattr_idmap() != 0 {
        (core::hint::black_box(word(&ctx, 1)), core::hint::black_box(word(&ctx, 2)))
    } else {
        (word(&ctx, 0), core::hint::black_box(word(&ctx, 1)))
    };
    sets(dentry, attributes)
}

/// The same before 6.9 as an LSM program: only the function around the hook has the mapping until then.
#[lsm(hook = "inode_setattr")]
pub fn inode_setattr_plain(ctx: LsmContext) -> i32 {
    sets(word(&ctx, 0), word(&ctx, 1))
}

#[inline(always)]
fn extended(ctx: &LsmContext) -> i32 {
    // Since 5.12 the mount's mapping of ids comes first.
    let dentry = if off::has_mount_idmap() != 0 {
        // Settled: else the compiler reads at a place that it computes, and no verifier takes that.
        core::hint::black_box(word(ctx, 1))
    } else {
        word(ctx, 0)
    };
    slot::in_hook(|slot, index| {
        if !is_asked_for(slot) {
            return 0;
        }
        placed(slot, index, Action::FileAttr, dentry)
    })
}

#[lsm(hook = "inode_setxattr")]
pub fn inode_setxattr(ctx: LsmContext) -> i32 {
    extended(&ctx)
}

#[lsm(hook = "inode_removexattr")]
pub fn inode_removexattr(ctx: LsmContext) -> i32 {
    extended(&ctx)
}

/// A file's flags, from 6.17 on; an ioctl that sets them is judged by itself.
#[lsm(hook = "inode_file_setattr")]
pub fn inode_file_setattr(ctx: LsmContext) -> i32 {
    let dentry = word(&ctx, 0);
    slot::in_hook(|slot, index| {
        if !is_asked_for(slot) {
            return 0;
        }
        let refused = placed(slot, index, Action::FileAttr, dentry);
        // SAFETY: `slot` points to a whole map value.
        if unsafe { (*slot).attempt.syscall } == UNLISTED {
            forget_default(slot, Action::FileAttr);
        }
        refused
    })
}

/// Access lists, from 6.2 on; before that they come as extended attributes.
#[lsm(hook = "inode_set_acl")]
pub fn inode_set_acl(ctx: LsmContext) -> i32 {
    extended(&ctx)
}

#[lsm(hook = "inode_remove_acl")]
pub fn inode_remove_acl(ctx: LsmContext) -> i32 {
    extended(&ctx)
}
