//! What btrfs does by ioctl: trees of files made, copied and removed, and the filesystem read and changed from below.

use sensor_common::{action::Action, event::pair, guard::Guard};

use crate::{
    found::{guarded, unplaced},
    kernel::{off, read},
    slot,
};

const MAGIC: u64 = 0x9123_683e;
/// The kind of ioctl, which files of other filesystems share for what is common to all.
const KIND: u32 = 0x94;

/// Numbers of those that make a subvolume, or copy one, and remove one; by their older and newer arguments.
const MAKES: u64 = 1 << 1 | 1 << 14 | 1 << 23;
/// Makes one with the newer argument, and starts a sync with a smaller one.
const MAKES_OR_SYNCS: u32 = 24;
const REMOVES: u64 = 1 << 15 | 1 << 63;
/// Its size and devices, what is mounted by default, balancing and scrubbing; trees searched, sent and received.
const FROM_BELOW: u64 = 1 << 3
    | 1 << 10
    | 1 << 11
    | 1 << 12
    | 1 << 17
    | 1 << 19
    | 1 << 26
    | 1 << 27
    | 1 << 32
    | 1 << 33
    | 1 << 37
    | 1 << 38
    | 1 << 53
    | 1 << 58;

#[inline(always)]
pub fn is_one(command: u32) -> bool {
    command >> 8 & 0xff == KIND
}

#[inline(always)]
fn is_on_btrfs(file: u64) -> bool {
    let magic = read::<u64>(file + off::off_file_inode())
        .and_then(|inode| read::<u64>(inode + off::off_inode_sb()))
        .and_then(|superblock| read::<u64>(superblock + off::off_sb_magic()));
    magic.is_none_or(|magic| magic == MAGIC)
}

/// The name is in the agent's memory, where another thread may change it meanwhile: no rule knows the place.
#[inline(always)]
pub fn asks(file: u64, command: u32) -> i32 {
    let (number, size) = (command & 0xff, command >> 16 & 0x3fff);
    let bit = if number < 64 { 1u64 << number } else { 0 };
    let makes = MAKES & bit != 0 || number == MAKES_OR_SYNCS && size > 8;
    if !makes && (REMOVES | FROM_BELOW) & bit == 0 || !is_on_btrfs(file) {
        return 0;
    }
    slot::in_hook(|slot, index| {
        if makes {
            // What is copied bears other names from then on.
            unplaced(index, Action::FileLink, pair::UNKNOWN) | unplaced(index, Action::FileCreate, pair::UNKNOWN)
        } else if REMOVES & bit != 0 {
            unplaced(index, Action::FileDelete, pair::UNKNOWN)
        } else {
            guarded(slot, index, Action::SysMachine, Guard::Devices.word())
        }
    })
}
