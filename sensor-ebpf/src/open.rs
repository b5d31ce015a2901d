//! Opening: what for, by the file's own flags.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{action::Action, event::Slot};

use crate::{
    file::{self, File},
    found::{forget_creation, forget_default, guarded_place, has_place, of_cgroups, on_file, word},
    guard,
    kernel::{off, read},
    slot::{self, FMODE_CREATED, S_IFMT},
    written::note_file,
};

const O_ACCMODE: u32 = 3;
const O_RDONLY: u32 = 0;
const O_WRONLY: u32 = 1;
/// `__O_TMPFILE`: no name is made, but a file is.
const O_TMPFILE: u32 = 0o20_000_000;
/// `__FMODE_EXEC`: the open of a program by exec, which `bprm_check_security` judges. No call can set it.
const FMODE_EXEC: u32 = 0x20;
const S_IFDIR: u16 = 0o040_000;

#[lsm(hook = "file_open")]
pub fn file_open(ctx: LsmContext) -> i32 {
    let file = word(&ctx, 0);
    slot::in_hook(|slot, index| opens(slot, index, file))
}

#[inline(always)]
fn opens(slot: *mut Slot, index: u32, file: u64) -> u32 {
    let Some(seen) = file::look(slot, file) else { return 1 };
    let (flags, dentry, inode) = (seen.flags, seen.dentry, seen.inode);
    if flags & FMODE_EXEC != 0 {
        return 0;
    }
    // SAFETY: `slot` points to a whole map value.
    let agent = unsafe { (*slot).attempt.head.agent };
    if is_inner(&seen) {
        // What lies below is written by way of what lies above, and may be met by itself.
        note_file(agent, &seen);
        return from_above(slot, index, &seen);
    }
    if seen.mode & FMODE_CREATED == 0 {
        forget_creation(slot);
    }
    let mut refused = 0;
    if flags & O_TMPFILE != 0 {
        refused |= on_file(slot, index, Action::FileCreate, dentry);
    }
    refused |= accesses(slot, index, dentry, inode, flags, Tell::All);
    if refused == 0 {
        note_file(agent, &seen);
    }
    refused
}

/// An agent may have laid a filesystem of its own over what is guarded.
#[inline(always)]
fn from_above(slot: *mut Slot, index: u32, file: &File) -> u32 {
    // Before 6.8 such a file bears the name above: the one below is its inode's.
    let dentry = match read::<u64>(file.dentry + off::off_dentry_inode()) {
        Some(named) if named != file.inode => dentry_of_inode(file.inode),
        _ => file.dentry,
    };
    if guard::lies_in_guarded(dentry) == 0 {
        return 0;
    }
    let access = file.flags & O_ACCMODE;
    let writes = access != O_RDONLY && guarded_place(slot, index, Action::FileWrite, dentry) != 0;
    let reads = access != O_WRONLY && guarded_place(slot, index, Action::FileRead, dentry) != 0;
    u32::from(writes || reads)
}

/// A name of the inode's, of whichever are known now; 0 for none.
#[inline(always)]
fn dentry_of_inode(inode: u64) -> u64 {
    let (dentries, alias) = (off::off_inode_dentries(), off::off_dentry_alias());
    match read::<u64>(inode + dentries) {
        Some(link) if link != 0 && dentries != 0 && alias != 0 => link - alias,
        _ => 0,
    }
}

/// How much of what is judged is told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    All,
    /// What a rule speaks of.
    Ruled,
}

/// Judges what a file's flags let be done with it.
#[inline(always)]
pub fn accesses(slot: *mut Slot, index: u32, dentry: u64, inode: u64, flags: u32, tell: Tell) -> u32 {
    let access = flags & O_ACCMODE;
    let kind = read::<u16>(inode + off::off_inode_mode()).unwrap_or(0);
    let device = guard::of_device(inode, kind);
    let judged = |action: Action| {
        guard::expect(slot, device);
        let refused = on_file(slot, index, action, dentry);
        if tell == Tell::Ruled {
            forget_default(slot, action);
        }
        refused
    };
    let mut refused = 0;
    if access != O_RDONLY {
        refused |= judged(Action::FileWrite) | of_cgroups(slot, index, dentry);
    }
    if access != O_WRONLY {
        refused |= judged(if kind & S_IFMT == S_IFDIR { Action::DirList } else { Action::FileRead });
    }
    refused
}

/// Whether a filesystem that lies over others opens this below itself: the open above it was judged.
#[inline(always)]
fn is_inner(file: &File) -> bool {
    if read::<u64>(file.dentry + off::off_dentry_inode()).is_some_and(|named| named != file.inode) {
        return true;
    }
    const ERRORS: u64 = -4096_i64 as u64;
    // A mount of the kernel's own has an error for its namespace.
    let namespace = read::<u64>(file.mount - off::off_mount_mnt() + off::off_mount_ns()).unwrap_or(0);
    namespace > ERRORS && has_place(file.dentry)
}
