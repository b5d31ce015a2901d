//! Marks where the kernel never skips a program: at a task's allocation, which fails where there is no room for
//! another mark, and at its release.

use aya_ebpf::{EbpfContext as _, macros::lsm, programs::LsmContext};

use crate::who;

#[inline(always)]
fn task(ctx: &LsmContext) -> u64 {
    // SAFETY: both hooks' first argument is the task.
    unsafe { ctx.as_ptr().cast::<u64>().read() }
}

#[lsm(hook = "task_alloc")]
pub fn task_alloc(ctx: LsmContext) -> i32 {
    who::allocated(task(&ctx))
}

#[lsm(hook = "task_free")]
pub fn task_free(ctx: LsmContext) -> i32 {
    who::freed(task(&ctx));
    0
}
