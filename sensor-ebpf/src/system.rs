//! What changes the machine: mounts, namespaces, identities, modules, the kernel's own extensions.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::{Slot, pair},
    guard::Guard,
    syscalls::{BY_CAPABILITY, CAPABILITIES, IO_URING_SETUP, KEYS},
};

use crate::{
    capability,
    found::{on_path, placed, unplaced, word},
    guard,
    kernel::{current_task, off, read},
    slot::{self, guards},
    who,
};

/// `READING_MODULE`, `READING_KEXEC_IMAGE`, `READING_KEXEC_INITRAMFS`: code for the kernel. The rest are firmware
/// and the like.
const CODE: core::ops::RangeInclusive<u64> = 2..=4;

#[inline(always)]
fn bare(action: Action) -> i32 {
    slot::in_hook(|_, index| unplaced(index, action, pair::BARE))
}

/// About the place that a `struct path` leads to.
#[inline(always)]
fn at(path: u64, action: Action) -> i32 {
    slot::in_hook(|slot, index| on_path(slot, index, action, path))
}

/// `MS_REMOUNT`, and those of propagation: of a mount that is there already.
const OF_A_MOUNT: u64 = 1 << 5 | 0xf << 17;

/// About a place that is another afterwards; `rule` says which of the guard's that breaks.
#[inline(always)]
fn covers(slot: *mut Slot, index: u32, path: u64, rule: impl FnOnce(u64, u64) -> u32) -> u32 {
    let (Some(mount), Some(dentry)) =
        (read::<u64>(path + off::off_path_mnt()), read::<u64>(path + off::off_path_dentry()))
    else {
        return 1;
    };
    guard::expect(slot, rule(mount, dentry));
    placed(slot, index, Action::SysMount, dentry)
}

#[lsm(hook = "sb_mount")]
pub fn sb_mount(ctx: LsmContext) -> i32 {
    let (path, flags) = (word(&ctx, 1), word(&ctx, 3));
    if flags & OF_A_MOUNT != 0 {
        return at(path, Action::SysMount);
    }
    slot::in_hook(|slot, index| covers(slot, index, path, guard::of_cover))
}

#[lsm(hook = "move_mount")]
pub fn move_mount(ctx: LsmContext) -> i32 {
    // What is moved away counts as what is mounted over.
    let (from, to) = (word(&ctx, 0), word(&ctx, 1));
    slot::in_hook(|slot, index| {
        covers(slot, index, from, guard::of_cover_here) | covers(slot, index, to, guard::of_cover)
    })
}

#[lsm(hook = "sb_umount")]
pub fn sb_umount(ctx: LsmContext) -> i32 {
    let mount = word(&ctx, 0);
    slot::in_hook(|slot, index| match read::<u64>(mount + off::off_vfsmount_root()) {
        Some(dentry) => {
            guard::expect(slot, guard::of_cover(mount, dentry));
            placed(slot, index, Action::SysMount, dentry)
        }
        None => 1,
    })
}

#[lsm(hook = "sb_pivotroot")]
pub fn sb_pivotroot(ctx: LsmContext) -> i32 {
    at(word(&ctx, 1), Action::SysNamespace)
}

#[lsm(hook = "path_chroot")]
pub fn path_chroot(ctx: LsmContext) -> i32 {
    at(word(&ctx, 0), Action::SysNamespace)
}

#[lsm(hook = "userns_create")]
pub fn userns_create(_ctx: LsmContext) -> i32 {
    bare(Action::SysNamespace)
}

/// What has no hook of its own: known by a capability that nothing else asks for, else by the call's number. And the
/// capability itself, where a rule names it.
#[lsm(hook = "capable")]
pub fn capable(ctx: LsmContext) -> i32 {
    let capability = word(&ctx, 2) as u32;
    let purpose = CAPABILITIES.iter().find(|(asked, _, _)| *asked == capability);
    let refused = purpose.map_or(0, |(_, action, rule)| guards(*action, *rule));
    if refused != 0 {
        return refused;
    }
    let Some(mark) = who::mark_of(current_task()) else { return 0 };
    let refused = if purpose.is_some() { 0 } else { slot::in_call(mark, means_by_capability) };
    if refused != 0 {
        return refused;
    }
    capability::uses(mark, word(&ctx, 0), capability, word(&ctx, 3))
}

#[inline(always)]
fn means_by_capability(call: u16) -> Option<(Action, u32)> {
    let (_, action) = BY_CAPABILITY.iter().find(|(row, _)| *row == call)?;
    Some((*action, if *action == Action::SysMachine { Guard::Swap.word() } else { 0 }))
}

/// `FAN_*_PERM` and `FAN_PRE_ACCESS`: whoever asks to be asked first holds up everybody, the daemon too.
const ASKED_FIRST: u64 = 0x17_0000;

#[lsm(hook = "path_notify")]
pub fn path_notify(ctx: LsmContext) -> i32 {
    if word(&ctx, 1) & ASKED_FIRST == 0 { 0 } else { guards(Action::ProcControl, Guard::Control) }
}

#[lsm(hook = "perf_event_open")]
pub fn perf_event_open(_ctx: LsmContext) -> i32 {
    guards(Action::SysPerf, Guard::Perf)
}

/// Rings have a file that is made for them alone.
#[lsm(hook = "inode_init_security_anon")]
pub fn inode_init_security_anon(_ctx: LsmContext) -> i32 {
    let Some(mark) = who::mark_of(current_task()) else { return 0 };
    slot::in_call(mark, |call| (call == IO_URING_SETUP).then_some((Action::SysIoUring, 0)))
}

/// Keys are asked for by the kernel itself as well, for filesystems and signatures: what the agent does is known by its call.
#[inline(always)]
fn keys() -> i32 {
    let Some(mark) = who::mark_of(current_task()) else { return 0 };
    slot::in_call(mark, |call| KEYS.contains(&call).then_some((Action::SysKeys, 0)))
}

#[lsm(hook = "key_alloc")]
pub fn key_alloc(_ctx: LsmContext) -> i32 {
    keys()
}

#[lsm(hook = "key_permission")]
pub fn key_permission(_ctx: LsmContext) -> i32 {
    keys()
}

#[lsm(hook = "bpf")]
pub fn bpf(_ctx: LsmContext) -> i32 {
    guards(Action::SysBpf, Guard::Bpf)
}

#[lsm(hook = "kernel_module_request")]
pub fn kernel_module_request(_ctx: LsmContext) -> i32 {
    bare(Action::SysModule)
}

#[lsm(hook = "kernel_read_file")]
pub fn kernel_read_file(ctx: LsmContext) -> i32 {
    if CODE.contains(&(word(&ctx, 1) & 0xffff_ffff)) { guards(Action::SysModule, Guard::Modules) } else { 0 }
}

#[lsm(hook = "kernel_load_data")]
pub fn kernel_load_data(ctx: LsmContext) -> i32 {
    if CODE.contains(&(word(&ctx, 0) & 0xffff_ffff)) { guards(Action::SysModule, Guard::Modules) } else { 0 }
}

#[lsm(hook = "task_fix_setuid")]
pub fn task_fix_setuid(_ctx: LsmContext) -> i32 {
    bare(Action::SysSetuid)
}

#[lsm(hook = "task_fix_setgid")]
pub fn task_fix_setgid(_ctx: LsmContext) -> i32 {
    bare(Action::SysSetuid)
}

#[lsm(hook = "task_fix_setgroups")]
pub fn task_fix_setgroups(_ctx: LsmContext) -> i32 {
    bare(Action::SysSetuid)
}

#[lsm(hook = "capset")]
pub fn capset(_ctx: LsmContext) -> i32 {
    bare(Action::SysSetuid)
}
