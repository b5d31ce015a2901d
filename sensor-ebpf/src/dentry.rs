//! What a walk asks of a dentry.

use sensor_common::event::Slot;

use crate::{
    at_once::{field, read_words, within},
    kernel::{off, read, read_kernel_bytes},
};

/// From its parent on, a dentry has its name, its inode and, where that is short, the name's bytes.
const WORDS: usize = 9;
/// Room for a name in the dentry itself, its NUL included.
const SHORT: u64 = 40;

pub struct Dentry {
    pub parent: u64,
    pub inode: u64,
    /// Where its name is.
    pub name: u64,
    /// The name's length, in the high half.
    hash_len: u64,
}

#[inline(always)]
fn word_at(offset: u64, length: u64) -> Option<usize> {
    within(off::off_dentry_parent(), WORDS, offset, length)
}

#[inline(always)]
pub fn look(slot: *mut Slot, dentry: u64) -> Option<Dentry> {
    let (Some(hash_len), Some(name), Some(inode)) = (
        word_at(off::off_dentry_hash_len(), 8),
        word_at(off::off_dentry_name(), 8),
        word_at(off::off_dentry_inode(), 8),
    ) else {
        return look_for_each(dentry);
    };
    let found = read_words(slot, WORDS, dentry + off::off_dentry_parent())?;
    // SAFETY: all lie within what was read.
    unsafe {
        Some(Dentry {
            parent: field(found, 0),
            inode: field(found, inode),
            name: field(found, name),
            hash_len: field(found, hash_len),
        })
    }
}

#[inline(always)]
fn look_for_each(dentry: u64) -> Option<Dentry> {
    Some(Dentry {
        parent: read(dentry + off::off_dentry_parent())?,
        inode: read(dentry + off::off_dentry_inode())?,
        name: read(dentry + off::off_dentry_name())?,
        hash_len: read(dentry + off::off_dentry_hash_len())?,
    })
}

/// Copies the name of the dentry that was read last, and its NUL, to where there is room for the longest; its length, or 0.
#[inline(always)]
pub unsafe fn take_name(slot: *mut Slot, dentry: u64, seen: &Dentry, to: *mut u8) -> u32 {
    let len = (seen.hash_len >> 32) as u32;
    if len == 0 || len > 255 {
        return 0;
    }
    if let Some(first) = word_at(off::off_dentry_short(), SHORT)
        && seen.name == dentry + off::off_dentry_short()
        && u64::from(len) < SHORT
    {
        // SAFETY: the caller's `to` has room; the words lie within what was read.
        unsafe {
            let short = (&raw const (*slot).walk.at_once).cast::<u8>().add(first);
            for word in 0..SHORT as usize / 8 {
                to.cast::<u64>().add(word).write_unaligned(field(short, word * 8));
            }
        }
        return len;
    }
    let whole = (core::hint::black_box(len) & 0xff) + 1;
    if read_kernel_bytes(to, whole, seen.name) == 0 { len } else { 0 }
}
