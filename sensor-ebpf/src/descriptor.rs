//! Files that are open: those that another process hands over, and what fcntl and ioctl do to others by way of one.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::{Slot, pair},
    guard::Guard,
    syscalls::RECEIVE,
};

use crate::{
    btrfs, file,
    found::{has_place, on_path, unplaced, word},
    guard,
    kernel::{off, read},
    net,
    open::{self, Tell},
    slot::{self, S_IFMT, S_IFSOCK},
    written::{self, note_file},
};

const F_SETLEASE: u32 = 1024;
const F_UNLCK: u64 = 2;
const F_SETOWN: u32 = 8;
const F_SETOWN_EX: u32 = 15;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const TIOCVHANGUP: u32 = 0x5437;
/// With an argument it takes the terminal from whoever has it.
const TIOCSCTTY: u32 = 0x540e;
/// FIFREEZE and FITHAW, and the shutdown that ext4, xfs and f2fs have: of a whole filesystem.
const OF_A_FILESYSTEM: [u32; 3] = [0xc004_5877, 0xc004_5878, 0x8004_587d];
/// FS_IOC_SETFLAGS in both widths, and FS_IOC_FSSETXATTR.
const SETS_FLAGS: [u32; 3] = [0x4008_6602, 0x4004_6602, 0x401c_5820];
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
/// FS_IOC_SETVERSION and EXT4_IOC_SETVERSION, in both widths: the owner gives a file another generation.
const SETVERSION: [u32; 4] = [0x4008_7602, 0x4004_7602, 0x4008_6604, 0x4004_6604];

/// Opened for its name alone (`O_PATH`): what is reached by way of it is judged then.
const FMODE_PATH: u32 = 0x4000;

/// A descriptor comes from another process, through a socket or a pidfd: as if its file were opened here, or its
/// socket connected. Pipes and the like have no place that a rule could name.
#[lsm(hook = "file_receive")]
pub fn file_receive(ctx: LsmContext) -> i32 {
    let file = word(&ctx, 0);
    slot::in_hook_of(RECEIVE, |slot, index| arrives(slot, index, file))
}

#[inline(always)]
fn arrives(slot: *mut Slot, index: u32, file: u64) -> u32 {
    let Some(seen) = file::look(slot, file) else { return 1 };
    let (flags, dentry, inode) = (seen.flags, seen.dentry, seen.inode);
    if seen.mode & FMODE_PATH != 0 {
        return 0;
    }
    if read::<u16>(inode + off::off_inode_mode()).unwrap_or(0) & S_IFMT == S_IFSOCK {
        return net::arrives(slot, index, inode);
    }
    let refused = if has_place(dentry) { open::accesses(slot, index, dentry, inode, flags, Tell::Ruled) } else { 0 };
    if refused == 0 {
        // SAFETY: `slot` points to a whole map value.
        note_file(unsafe { (*slot).attempt.head.agent }, &seen);
    }
    refused
}

/// Somebody is named whom the kernel will signal. By which signal is said by another call, before or after.
#[inline(always)]
fn will_signal() -> i32 {
    slot::in_hook(|slot, index| signals(slot, index))
}

#[inline(always)]
fn signals(slot: *mut Slot, index: u32) -> u32 {
    guard::expect(slot, Guard::Signals.word());
    unplaced(index, Action::ProcSignal, pair::UNKNOWN)
}

/// A process group may hold others than the agent's.
#[inline(always)]
fn will_signal_group(group: u64) -> i32 {
    slot::in_hook(|slot, index| {
        // SAFETY: `slot` points to a whole map value.
        let agent = unsafe { (*slot).attempt.head.agent };
        if group == 0 || guard::group_holds_stranger(group, agent) != 0 { signals(slot, index) } else { 0 }
    })
}

/// Whom the kernel sends signals to for this file.
#[lsm(hook = "file_fcntl")]
pub fn file_fcntl(ctx: LsmContext) -> i32 {
    match word(&ctx, 1) as u32 {
        F_SETOWN if guard::is_own_number(word(&ctx, 2) as i32) => 0,
        F_SETOWN => will_signal_group(guard::own_group(word(&ctx, 2) as i32)),
        // It names him in memory, which another thread may change meanwhile.
        F_SETOWN_EX => will_signal(),
        // Whoever else opens the file waits for its holder.
        F_SETLEASE if word(&ctx, 2) & 0xffff_ffff != F_UNLCK => slot::guards(Action::ProcControl, Guard::Control),
        _ => 0,
    }
}

#[inline(always)]
fn asks(file: u64, command: u32, argument: u64) -> i32 {
    match command {
        command if btrfs::is_one(command) => btrfs::asks(file, command),
        TIOCSCTTY if argument == 0 => 0,
        TIOCSTI | TIOCLINUX | TIOCVHANGUP | TIOCSCTTY => slot::guards(Action::ProcControl, Guard::Terminals),
        FIOSETOWN | SIOCSPGRP => will_signal(),
        command if OF_A_FILESYSTEM.contains(&command) => slot::guards(Action::SysMachine, Guard::Devices),
        command if SETS_FLAGS.contains(&command) => {
            slot::in_hook(|slot, index| on_path(slot, index, Action::FileAttr, file + off::off_file_path()))
        }
        command if SETVERSION.contains(&command) => {
            written::by_time_from_now();
            0
        }
        _ => 0,
    }
}

#[lsm(hook = "file_ioctl")]
pub fn file_ioctl(ctx: LsmContext) -> i32 {
    asks(word(&ctx, 0), word(&ctx, 1) as u32, word(&ctx, 2))
}

/// By the 32-bit entry, where the kernel tells it apart.
#[lsm(hook = "file_ioctl_compat")]
pub fn file_ioctl_compat(ctx: LsmContext) -> i32 {
    asks(word(&ctx, 0), word(&ctx, 1) as u32, word(&ctx, 2))
}
