//! Running and mapping: programs, the interpreters of scripts, and files mapped as code.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::Slot,
    syscalls::{EXECVE, EXECVEAT, MMAP, MPROTECT},
};

use crate::{
    found::{forget_default, nullable, on_file, word},
    kernel::{current_task, dentry_of, off, read},
    slot,
};

const PROT_READ: u64 = 1;
const PROT_EXEC: u64 = 4;
const VM_EXEC: u64 = 4;
/// Personality under which all that may be read may be run.
const READ_IMPLIES_EXEC: u32 = 0x0040_0000;

/// Once for a script, and again for its interpreter.
#[lsm(hook = "bprm_check_security")]
pub fn bprm_check_security(ctx: LsmContext) -> i32 {
    let bprm = word(&ctx, 0);
    slot::in_hook(|slot, index| {
        let file = read::<u64>(bprm + off::off_bprm_file());
        match file.and_then(dentry_of) {
            Some(dentry) => on_file(slot, index, Action::ProcExec, dentry),
            None => 1,
        }
    })
}

/// Mappings are many: one is told where a rule speaks of it.
#[inline(always)]
fn maps(slot: *mut Slot, index: u32, file: u64) -> u32 {
    let Some(dentry) = dentry_of(file) else { return 1 };
    let refused = on_file(slot, index, Action::FileMapExec, dentry);
    forget_default(slot, Action::FileMapExec);
    if refused == 0 && runs_instead(slot, file, dentry) {
        return on_file(slot, index, Action::ProcExec, dentry);
    }
    refused
}

/// Whether an exec maps another program than the one it was asked for: the interpreter that an ELF file names, which is
/// what then runs. A loader is no program of its own.
#[inline(always)]
fn runs_instead(slot: *mut Slot, file: u64, dentry: u64) -> bool {
    // SAFETY: `slot` points to a whole map value.
    let call = unsafe { (*slot).attempt.syscall };
    if call != EXECVE && call != EXECVEAT {
        return false;
    }
    let program = read::<u64>(current_task() + off::off_task_mm())
        .and_then(|memory| read::<u64>(memory + off::off_mm_exe_file()));
    program != Some(file) && !is_loader(dentry)
}

/// By the beginning of its name: `ld-linux.so.2`, `ld.so.1`, `ld-musl-x86_64.so.1`, which may be a link to `libc.so`.
#[inline(always)]
fn is_loader(dentry: u64) -> bool {
    let name = read::<u64>(dentry + off::off_dentry_name()).and_then(read::<[u8; 8]>).unwrap_or_default();
    matches!(name, [b'l', b'd', b'-' | b'.', ..]) || name == *b"libc.so\0"
}

#[lsm(hook = "mmap_file")]
pub fn mmap_file(ctx: LsmContext) -> i32 {
    // As asked for, of the two that LSM hooks are given: the functions that fmod_ret replaces have no other.
    let protection = word(&ctx, 1);
    if protection & PROT_EXEC == 0 && (protection & PROT_READ == 0 || !reading_is_running()) {
        return 0;
    }
    slot::in_hook_of(MMAP, |slot, index| match nullable(&ctx, 0) {
        0 => 0,
        file => maps(slot, index, file),
    })
}

#[inline(always)]
fn reading_is_running() -> bool {
    read::<u32>(current_task() + off::off_task_personality()).unwrap_or(0) & READ_IMPLIES_EXEC != 0
}

#[lsm(hook = "file_mprotect")]
pub fn file_mprotect(ctx: LsmContext) -> i32 {
    let (area, protection) = (word(&ctx, 0), word(&ctx, 2));
    if protection & PROT_EXEC == 0 {
        return 0;
    }
    slot::in_hook_of(MPROTECT, |slot, index| {
        let file = read::<u64>(area + off::off_vma_file()).unwrap_or(0);
        if file == 0 || read::<u64>(area + off::off_vma_flags()).unwrap_or(0) & VM_EXEC != 0 {
            return 0;
        }
        maps(slot, index, file)
    })
}
