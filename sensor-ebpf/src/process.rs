//! What is done to other processes.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{action::Action, event::pair};

use crate::{
    found::{nullable, unplaced, word},
    slot,
};

const PTRACE_MODE_ATTACH: u64 = 2;

#[lsm(hook = "task_kill")]
pub fn task_kill(ctx: LsmContext) -> i32 {
    // With credentials of its own the signal comes from a device, and whoever runs just now has no part in it.
    slot::in_hook(|_, index| match nullable(&ctx, 3) {
        0 => unplaced(index, Action::ProcSignal, pair::BARE),
        _ => 0,
    })
}

/// Only what reads or writes another's memory: `ps` asks as well, for less.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    if word(&ctx, 1) & PTRACE_MODE_ATTACH == 0 {
        return 0;
    }
    slot::in_hook(|_, index| unplaced(index, Action::ProcPtrace, pair::BARE))
}

#[lsm(hook = "ptrace_traceme")]
pub fn ptrace_traceme(_ctx: LsmContext) -> i32 {
    slot::in_hook(|_, index| unplaced(index, Action::ProcPtrace, pair::BARE))
}
