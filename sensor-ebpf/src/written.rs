//! What a run has written: noted before the first byte can be, asked where a rule wants to know.
//!
//! A file is known by device, inode number and generation, so that no other name, link or mount makes another of it.
//! Where a filesystem does not keep these, and where there was no room to note one, the time of its last change,
//! which no program sets where the kernel keeps it, says what could not be noted.

use sensor_common::event::{Fault, Governed, WrittenKey};

use crate::{
    emit::{self, SECOND},
    file::File,
    kernel::{current_task, off, read},
    maps,
    slot::{FMODE_CREATED, FMODE_WRITE, S_IFMT, S_IFREG},
    who::mark_of,
};

/// Of a stamp's nanoseconds the highest bit is the kernel's own.
pub const NANOSECONDS: u32 = 0x7fff_ffff;

/// Filesystems whose files keep number and generation as long as they are: ext4 and its kin, xfs, btrfs, f2fs,
/// tmpfs, ramfs, hugetlbfs.
const KEEPS_NUMBERS: [u64; 7] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994, 0x8584_58f6, 0x9584_58f6];

const FUSE: u64 = 0x6573_5546;

/// Whether some rule of the agent's policy asks what it has written.
#[inline(always)]
fn asked_of(agent: u32) -> Option<&'static Governed> {
    let governed = maps::GOVERNED.get(agent)?;
    if governed.policy == 0 || governed.since == 0 {
        return None;
    }
    let policy = maps::POLICIES.get(governed.policy - 1)?;
    (policy.written != 0).then_some(governed)
}

#[inline(always)]
fn key(agent: u32, governed: &Governed, inode: u64) -> Option<WrittenKey> {
    let superblock = read::<u64>(inode + off::off_inode_sb())?;
    Some(WrittenKey {
        since: governed.since,
        inode: read::<u64>(inode + off::off_inode_number())?,
        agent,
        device: read::<u32>(superblock + off::off_sb_device())?,
        generation: read::<u32>(inode + off::off_inode_generation())?,
        reserved: 0,
    })
}

#[inline(always)]
fn is_regular(inode: u64) -> bool {
    read::<u16>(inode + off::off_inode_mode()).is_some_and(|mode| mode & S_IFMT == S_IFREG)
}

/// The agent may write this inode from now on.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn note_written(agent: u32, inode: u64) -> u64 {
    let Some(governed) = asked_of(agent) else { return 0 };
    if !is_regular(inode) {
        return 0;
    }
    let noted = key(agent, governed, inode).is_some_and(|key| maps::WRITTEN.insert(&key, &1, 0).is_ok());
    if !noted {
        emit::fault(Fault::WrittenFull);
        if let Some(governed) = maps::GOVERNED.get_ptr_mut(agent) {
            // SAFETY: a pointer into a map value.
            unsafe { (*governed).written_full = 1 };
        }
    }
    0
}

/// Likewise, of a file that is open for it, or that its opening made.
#[inline(always)]
pub fn note_file(agent: u32, file: &File) {
    if file.mode & (FMODE_WRITE | FMODE_CREATED) != 0 {
        note_written(agent, file.inode);
    }
}

/// Whether the agent's run has written this inode. What cannot be read counts as written.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn is_written(agent: u32, inode: u64) -> u64 {
    let Some(governed) = maps::GOVERNED.get(agent) else { return 1 };
    if !is_regular(inode) {
        return 0;
    }
    let Some(key) = key(agent, governed, inode) else { return 1 };
    // SAFETY: only whether it is there is asked.
    if unsafe { maps::WRITTEN.get(&key) }.is_some() {
        return 1;
    }
    let magic = magic_of(inode);
    if magic == FUSE {
        // Its server says when a file was changed, and may be the agent's.
        emit::fault(Fault::WrittenByTime);
        return 1;
    }
    if governed.written_full == 0 && KEEPS_NUMBERS.contains(&magic) {
        return 0;
    }
    let seconds = read::<u64>(inode + off::off_inode_changed()).unwrap_or(u64::MAX / SECOND);
    let rest = read::<u32>(inode + off::off_inode_changed_ns()).unwrap_or(0) & NANOSECONDS;
    if seconds * SECOND + u64::from(rest) < governed.since {
        return 0;
    }
    emit::fault(Fault::WrittenByTime);
    1
}

#[inline(always)]
fn magic_of(inode: u64) -> u64 {
    read::<u64>(inode + off::off_inode_sb())
        .and_then(|superblock| read::<u64>(superblock + off::off_sb_magic()))
        .unwrap_or(0)
}

/// A file of the agent's is to go by another number: what was noted of it is not found any more, its time of change is.
#[inline(always)]
pub fn by_time_from_now() {
    if let Some(mark) = mark_of(current_task()) {
        // SAFETY: pointers into map values.
        unsafe {
            if let Some(governed) = maps::GOVERNED.get_ptr_mut((*mark).agent) {
                (*governed).written_full = 1;
            }
        }
    }
}
