//! What is done to other processes.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{action::Action, event::pair, guard::Guard, numbers::of_signal};

use crate::{
    found::{guarded, nullable, numbered, unplaced, word},
    guard, slot,
};

const PTRACE_MODE_ATTACH: u64 = 2;
const PR_SET_MM: u32 = 35;
const PR_SET_MM_EXE_FILE: u32 = 13;
const PR_SET_MM_MAP: u32 = 14;

#[lsm(hook = "task_kill")]
pub fn task_kill(ctx: LsmContext) -> i32 {
    let (target, signal) = (nullable(&ctx, 0), word(&ctx, 2) as u32);
    // With credentials of its own the signal comes from a device, and whoever runs just now has no part in it.
    slot::in_hook(|slot, index| match nullable(&ctx, 3) {
        0 => {
            // Signal 0 asks whether somebody is there.
            let rule = if signal == 0 { 0 } else { guard::against_stranger(slot, target, Guard::Signals) };
            guard::expect(slot, rule);
            numbered(slot, index, Action::ProcSignal, of_signal(signal), 0)
        }
        _ => 0,
    })
}

/// Only what reads or writes another's memory: `ps` asks as well, for less.
#[lsm(hook = "ptrace_access_check")]
pub fn ptrace_access_check(ctx: LsmContext) -> i32 {
    let (target, mode) = (nullable(&ctx, 0), word(&ctx, 1));
    if mode & PTRACE_MODE_ATTACH == 0 {
        return 0;
    }
    slot::in_hook(|slot, index| {
        guarded(slot, index, Action::ProcPtrace, guard::against_stranger(slot, target, Guard::Processes))
    })
}

#[lsm(hook = "ptrace_traceme")]
pub fn ptrace_traceme(_ctx: LsmContext) -> i32 {
    slot::in_hook(|_, index| unplaced(index, Action::ProcPtrace, pair::BARE))
}

/// What an agent does to its own processes is no attempt.
#[inline(always)]
fn controls(ctx: &LsmContext) -> i32 {
    let target = nullable(ctx, 0);
    slot::in_hook(|slot, index| match guard::against_stranger(slot, target, Guard::Control) {
        0 => 0,
        rule => guarded(slot, index, Action::ProcControl, rule),
    })
}

#[lsm(hook = "task_setrlimit")]
pub fn task_setrlimit(ctx: LsmContext) -> i32 {
    controls(&ctx)
}

#[lsm(hook = "task_setnice")]
pub fn task_setnice(ctx: LsmContext) -> i32 {
    controls(&ctx)
}

#[lsm(hook = "task_setioprio")]
pub fn task_setioprio(ctx: LsmContext) -> i32 {
    controls(&ctx)
}

#[lsm(hook = "task_setscheduler")]
pub fn task_setscheduler(ctx: LsmContext) -> i32 {
    controls(&ctx)
}

#[lsm(hook = "task_movememory")]
pub fn task_movememory(ctx: LsmContext) -> i32 {
    controls(&ctx)
}

/// The file that a process counts as running, by which rules and records know it. `PR_SET_MM_MAP` names it in memory,
/// which another thread may change meanwhile: all of it is refused.
#[lsm(hook = "task_prctl")]
pub fn task_prctl(ctx: LsmContext) -> i32 {
    // Both are an `int` to the kernel: their upper halves say nothing.
    if word(&ctx, 0) as u32 != PR_SET_MM || !matches!(word(&ctx, 1) as u32, PR_SET_MM_EXE_FILE | PR_SET_MM_MAP) {
        return 0;
    }
    slot::in_hook(|slot, index| guarded(slot, index, Action::ProcControl, Guard::Program.word()))
}
