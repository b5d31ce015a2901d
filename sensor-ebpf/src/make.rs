//! Making: files, directories, links. The path hooks come before anything is made, so nothing is left behind.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::action::Action;

use crate::{
    found::{of_cgroups, placed, word},
    guard, slot,
};

/// mknod, an open with O_CREAT, the name of a unix socket.
#[lsm(hook = "path_mknod")]
pub fn path_mknod(ctx: LsmContext) -> i32 {
    let (new, mode, device) = (word(&ctx, 1), word(&ctx, 2), word(&ctx, 3));
    slot::in_hook(|slot, index| {
        guard::expect(slot, guard::of_node(mode, device));
        placed(slot, index, Action::FileCreate, new)
    })
}

#[lsm(hook = "path_mkdir")]
pub fn path_mkdir(ctx: LsmContext) -> i32 {
    let new = word(&ctx, 1);
    slot::in_hook(|slot, index| placed(slot, index, Action::FileCreate, new) | of_cgroups(slot, index, new))
}

#[lsm(hook = "path_symlink")]
pub fn path_symlink(ctx: LsmContext) -> i32 {
    let new = word(&ctx, 1);
    slot::in_hook(|slot, index| {
        placed(slot, index, Action::FileLink, new) | placed(slot, index, Action::FileCreate, new)
    })
}

#[lsm(hook = "path_link")]
pub fn path_link(ctx: LsmContext) -> i32 {
    let (old, new) = (word(&ctx, 0), word(&ctx, 2));
    slot::in_hook(|slot, index| {
        placed(slot, index, Action::FileLink, old) | placed(slot, index, Action::FileCreate, new)
    })
}
