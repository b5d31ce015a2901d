//! What fcntl and ioctl do to others by way of an open file.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{action::Action, guard::Guard};

use crate::{
    found::{guarded, word},
    guard,
    slot,
    written,
};

const F_SETOWN: u32 = 8;
const F_SETOWN_EX: u32 = 15;
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;
const FIOSETOWN: u32 = 0x8901;
const SIOCSPGRP: u32 = 0x8902;
/// FS_IOC_SETVERSION and EXT4_IOC_SETVERSION, in both widths: the owner gives a file another generation.
const SETVERSION: [u32; 4] = [0x4008_7602, 0x4004_7602, 0x4008_6604, 0x4004_6604];

#[inline(always)]
fn breaks(action: Action, rule: Guard) -> i32 {
    slot::in_hook(|slot, index| guarded(slot, index, action, rule.word()))
}

/// Whom the kernel sends signals to for this file.
#[lsm(hook = "file_fcntl")]
pub fn file_fcntl(ctx: LsmContext) -> i32 {
    match word(&ctx, 1) as u32 {
        F_SETOWN if guard::is_own_number(word(&ctx, 2) as i32) => 0,
        // The second of them names him in memory, which another thread may change meanwhile.
        F_SETOWN | F_SETOWN_EX => breaks(Action::ProcSignal, Guard::Signals),
        _ => 0,
    }
}

#[inline(always)]
fn asks(command: u32) -> i32 {
    match command {
        TIOCSTI | TIOCLINUX => breaks(Action::ProcControl, Guard::Terminals),
        FIOSETOWN | SIOCSPGRP => breaks(Action::ProcSignal, Guard::Signals),
        command if SETVERSION.contains(&command) => {
            written::by_time_from_now();
            0
        }
        _ => 0,
    }
}

#[lsm(hook = "file_ioctl")]
pub fn file_ioctl(ctx: LsmContext) -> i32 {
    asks(word(&ctx, 1) as u32)
}

/// By the 32-bit entry, where the kernel tells it apart.
#[lsm(hook = "file_ioctl_compat")]
pub fn file_ioctl_compat(ctx: LsmContext) -> i32 {
    asks(word(&ctx, 1) as u32)
}
