//! The programs that see every attempt: raw tracepoints, which every kernel has.

use aya_ebpf::{EbpfContext as _, macros::raw_tracepoint, programs::RawTracePointContext};
use sensor_common::{
    event::{Fault, Mark},
    syscalls::{Shape, Spec},
};

use crate::{
    call::{Call, shape_is},
    emit,
    guard::namespace_of,
    kernel::{current_task, dentry_of, file_of, off, read, read_user},
    maps, slot, turn, who,
};

const TS_COMPAT: u32 = 2;

#[inline(always)]
fn word(ctx: &RawTracePointContext, index: usize) -> u64 {
    // SAFETY: a raw tracepoint's context is an array of its arguments as words.
    unsafe { ctx.as_ptr().cast::<u64>().add(index).read() }
}

/// x86-64 `struct pt_regs`, in its order.
#[repr(C)]
#[derive(Clone, Copy)]
struct Registers {
    r15: u64,
    r14: u64,
    r13: u64,
    r12: u64,
    bp: u64,
    bx: u64,
    r11: u64,
    r10: u64,
    r9: u64,
    r8: u64,
    ax: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
}

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    // The number first: most calls are nobody's business.
    let number = word(&ctx, 1) as u32;
    let Some(specs) = maps::SPECS.get(number) else { return 0 };
    if specs[0].id == 0 && specs[1].id == 0 {
        return 0;
    }
    let task = current_task();
    if let Some(mark) = who::mark_of(task)
        && turn::is_ours()
    {
        enter(mark, task, number, word(&ctx, 0), specs);
    }
    0
}

#[inline(always)]
fn enter(mark: *mut Mark, task: u64, number: u32, registers: u64, specs: &[Spec; 2]) {
    let compat = read::<u32>(task + off::off_task_status()).unwrap_or(0) & TS_COMPAT != 0;
    let Some(regs) = read::<Registers>(registers) else { return };
    let (mut spec, mut args) = if compat {
        (specs[1], [regs.bx, regs.cx, regs.dx, regs.si, regs.di, regs.bp].map(|word| word & 0xffff_ffff))
    } else {
        (specs[0], [regs.di, regs.si, regs.dx, regs.r10, regs.r8, regs.r9])
    };
    if spec.id == 0 {
        return;
    }
    if shape_is(&spec, Shape::SocketCall) {
        let Some(meant) = socket_call(args[0]) else { return };
        let Some(words) = read_user::<[u32; 6]>(args[1]) else {
            emit::fault(Fault::Unreadable);
            // SAFETY: a pointer into a map value.
            emit::lost(unsafe { (*mark).agent });
            return;
        };
        let Some(meant) = maps::SPECS.get(meant) else { return };
        spec = meant[0];
        args = words.map(u64::from);
    }
    slot::enter(mark, &Call { task, number, registers, spec, args, compat });
}

/// The 64-bit number of what an i386 socketcall asks for, where it is watched.
#[inline(always)]
fn socket_call(which: u64) -> Option<u32> {
    match which {
        2 => Some(49),
        3 => Some(42),
        4 => Some(50),
        11 => Some(44),
        16 => Some(46),
        20 => Some(307),
        _ => None,
    }
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    // The number first here, too. `orig_ax` follows the registers that entries need.
    let number = read::<u64>(word(&ctx, 0) + size_of::<Registers>() as u64).unwrap_or(u64::MAX) as u32;
    let watched = maps::SPECS.get(number).is_some_and(|specs| specs[0].id != 0 || specs[1].id != 0);
    if !watched && number != slot::RESTART_SYSCALL {
        return 0;
    }
    let task = current_task();
    if let Some(mark) = who::mark_of(task) {
        slot::leave(mark, task, number, word(&ctx, 1) as i64);
    }
    0
}

#[raw_tracepoint(tracepoint = "task_newtask")]
pub fn task_newtask(ctx: RawTracePointContext) -> i32 {
    who::born(word(&ctx, 0), word(&ctx, 1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn sched_process_exec(ctx: RawTracePointContext) -> i32 {
    let task = word(&ctx, 0);
    if let Some(mark) = who::mark_of(task)
        && turn::is_ours()
    {
        slot::execed(mark, task, word(&ctx, 2));
    }
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn sched_process_exit(ctx: RawTracePointContext) -> i32 {
    who::gone(word(&ctx, 0));
    0
}

#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: RawTracePointContext) -> i32 {
    who::moved(word(&ctx, 0), word(&ctx, 2), word(&ctx, 3) & 0xff != 0);
    0
}

#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    who::cgroup_made(word(&ctx, 0));
    0
}

#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    who::cgroup_removed(word(&ctx, 0));
    0
}

/// Run by the daemon alone, by test-run: describes the file behind its descriptor; or, where an agent's number
/// is given, notes that this agent holds it open for writing.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn describe(ctx: RawTracePointContext) -> i32 {
    let Some(described) = maps::DESCRIBED.get_ptr_mut(0) else { return 0 };
    let file = file_of(current_task(), word(&ctx, 0));
    let inode = match file {
        0 => 0,
        _ => dentry_of(file).and_then(|dentry| read::<u64>(dentry + off::off_dentry_inode())).unwrap_or(0),
    };
    let agent = word(&ctx, 1) as u32;
    if agent != 0 {
        crate::written::note_written(agent, inode);
        return 0;
    }
    let mount = if file == 0 { None } else { read::<u64>(file + off::off_file_path() + off::off_path_mnt()) };
    // SAFETY: a pointer into a map value.
    unsafe {
        (*described).inode = inode;
        (*described).namespace = mount.map_or(0, namespace_of);
    }
    0
}

/// Run by test-run alone: judges what stands in a slot, as a hook would. The action, and in the next byte what
/// kind of object it is; or, with a third byte, takes it for the path of the program that acts next.
#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn try_judge(ctx: RawTracePointContext) -> i32 {
    let (index, what) = (word(&ctx, 0) as u32, word(&ctx, 1));
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    let (action, about) = (what as u8 & 31, (what >> 8) as u8);
    if what >> 16 != 0 {
        return crate::program::given(slot, index);
    }
    crate::judge::judge_given(slot, index, action, about) as i32
}
