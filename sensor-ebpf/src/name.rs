//! Names of places: from a dentry up through the mounts to the root of the mount namespace.
//!
//! What a process calls its root or directory is never asked: the walk goes through the kernel's own tree.

use sensor_common::event::{Fault, PATH_ROOM, SECTION_ROOM, Slot, flag};

use crate::{
    emit,
    kernel::{off, read, read_kernel_str},
    maps,
    section::{header, used},
};

const HEADER: u64 = 4;
const NAME_ROOM: u64 = 256;
const LAST: u64 = (SECTION_ROOM - PATH_ROOM) as u64 - HEADER - NAME_ROOM;
/// Steps per call of `walk_chunk`, and calls: directories and mount points together.
const CHUNK: u32 = 16;
const CHUNKS: u32 = 16;

/// Writes the place of a `struct path` as a section, deepest name first.
#[inline(always)]
pub fn place(slot: *mut Slot, index: u32, tag: u16, path: u64) {
    let (Some(mount), Some(dentry)) =
        (read::<u64>(path + off::off_path_mnt()), read::<u64>(path + off::off_path_dentry()))
    else {
        emit::fault(Fault::WalkFailed);
        return;
    };
    let at = used(slot);
    if at > LAST {
        emit::fault(Fault::SectionsFull);
        // SAFETY: `slot` points to a whole map value, here and below.
        unsafe { (*slot).attempt.flags |= flag::SECTIONS_FULL };
        return;
    }
    // SAFETY: the header fits by the test above.
    unsafe {
        (*slot).walk.dentry = dentry;
        (*slot).walk.mount = mount;
        (*slot).walk.header = at as u32;
        header((&raw mut (*slot).area).cast::<u8>().add(at as usize), tag, 0);
        (*slot).attempt.sections = (at + HEADER) as u32;
    }
    let mut state = 0;
    for _ in 0..CHUNKS {
        state = walk_chunk(index);
        if state != 0 {
            break;
        }
    }
    // SAFETY: as above.
    unsafe {
        let begin = u64::from((*slot).walk.header);
        let end = used(slot);
        if begin <= LAST && end >= begin + HEADER {
            let len = end - begin - HEADER;
            header((&raw mut (*slot).area).cast::<u8>().add(begin as usize), tag, len as u16);
        }
        if state != 1 {
            (*slot).attempt.flags |= flag::BASE_TRUNCATED;
            emit::fault(Fault::WalkFailed);
        }
    }
}

/// Writes the name that a thing without a place has.
#[inline(always)]
fn nameless(slot: *mut Slot, dentry: u64) -> u64 {
    let Some(name) = read::<u64>(dentry + off::off_dentry_name()) else { return 2 };
    let at = used(slot);
    if at > LAST {
        return 2;
    }
    // SAFETY: NAME_ROOM bytes behind `at` lie within the area, by the test above.
    unsafe {
        let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        let len = read_kernel_str(to, NAME_ROOM as u32, name);
        if len <= 0 || len > NAME_ROOM as i64 {
            return 2;
        }
        (*slot).attempt.sections = (at + len as u64) as u32;
        (*slot).attempt.flags |= flag::NAMELESS;
    }
    1
}

/// Takes the next few steps: 0 to go on, 1 at the root, 2 where it must stop.
/// A function of its own, so that the verifier sees it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn walk_chunk(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 2 };
    // SAFETY: `slot` points to a whole map value.
    let (mut dentry, mut mount) = unsafe { ((*slot).walk.dentry, (*slot).walk.mount) };
    for _ in 0..CHUNK {
        let Some(top) = read::<u64>(mount + off::off_vfsmount_root()) else { return 2 };
        let Some(up) = read::<u64>(dentry + off::off_dentry_parent()) else { return 2 };
        if dentry == top || up == dentry {
            let this = mount - off::off_mount_mnt();
            let Some(parent) = read::<u64>(this + off::off_mount_parent()) else { return 2 };
            if parent == this {
                // The namespace's root; or a thing without a place: a pipe, a socket, a memfd.
                return if dentry == top { 1 } else { nameless(slot, dentry) };
            }
            let Some(point) = read::<u64>(this + off::off_mount_mountpoint()) else { return 2 };
            dentry = point;
            mount = parent + off::off_mount_mnt();
            continue;
        }
        let Some(name) = read::<u64>(dentry + off::off_dentry_name()) else { return 2 };
        let at = used(slot);
        if at > LAST {
            return 2;
        }
        // SAFETY: NAME_ROOM bytes behind `at` lie within the area, by the test above.
        unsafe {
            let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
            let len = read_kernel_str(to, NAME_ROOM as u32, name);
            if len <= 0 || len > NAME_ROOM as i64 {
                return 2;
            }
            (*slot).attempt.sections = (at + len as u64) as u32;
        }
        dentry = up;
    }
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).walk.dentry = dentry;
        (*slot).walk.mount = mount;
    }
    0
}
