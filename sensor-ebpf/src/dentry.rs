//! A dentry, read at once where the kernel keeps its fields together.

use sensor_common::event::{DENTRY_READ, Slot};

use crate::kernel::{off, read, read_kernel_bytes};

/// Longest name in a dentry itself, with its NUL.
const SHORT: u64 = 40;
const READ: u64 = DENTRY_READ as u64 * 8;

pub struct Dentry {
    pub parent: u64,
    pub inode: u64,
    /// Where its name is.
    pub name: u64,
    /// The name's length, in the high half.
    hash_len: u64,
}

/// Whether what lies at this offset of a dentry is within what is read at once, and in which word. A constant to the
/// verifier, as all offsets are.
#[inline(always)]
fn word_of(offset: u64, length: u64) -> Option<usize> {
    let from = offset.wrapping_sub(off::off_dentry_parent());
    (from <= READ - length && from % 8 == 0).then_some((from / 8) as usize)
}

#[inline(always)]
pub fn look(slot: *mut Slot, dentry: u64) -> Option<Dentry> {
    let words = (
        word_of(off::off_dentry_hash_len(), 8),
        word_of(off::off_dentry_name(), 8),
        word_of(off::off_dentry_inode(), 8),
    );
    let (Some(hash_len), Some(name), Some(inode)) = words else { return look_for_each(dentry) };
    // SAFETY: `slot` points to a whole map value; the words lie within what is read.
    unsafe {
        let block = (&raw mut (*slot).walk.dentry_read).cast::<u64>();
        if read_kernel_bytes(block.cast(), READ as u32, dentry + off::off_dentry_parent()) != 0 {
            return None;
        }
        Some(Dentry {
            parent: block.read(),
            inode: block.add(inode).read(),
            name: block.add(name).read(),
            hash_len: block.add(hash_len).read(),
        })
    }
}

/// Of a kernel that shuffles its structures.
#[inline(always)]
fn look_for_each(dentry: u64) -> Option<Dentry> {
    Some(Dentry {
        parent: read(dentry + off::off_dentry_parent())?,
        inode: read(dentry + off::off_dentry_inode())?,
        name: read(dentry + off::off_dentry_name())?,
        hash_len: read(dentry + off::off_dentry_hash_len())?,
    })
}

/// Copies the name of what was read last, and a NUL, to where there is room for the longest; its length, or 0.
#[inline(always)]
pub unsafe fn take_name(slot: *mut Slot, dentry: u64, seen: &Dentry, to: *mut u8) -> u32 {
    let len = (seen.hash_len >> 32) as u32;
    if len == 0 || len > 255 {
        return 0;
    }
    if let Some(first) = word_of(off::off_dentry_short(), SHORT)
        && seen.name == dentry + off::off_dentry_short()
        && u64::from(len) < SHORT
    {
        // SAFETY: the caller's `to` has room; the words lie within what was read.
        unsafe {
            let short = (&raw const (*slot).walk.dentry_read).cast::<u64>().add(first);
            for word in 0..SHORT as usize / 8 {
                to.cast::<u64>().add(word).write_unaligned(short.add(word).read());
            }
        }
        return len;
    }
    let whole = (core::hint::black_box(len) & 0xff) + 1;
    if read_kernel_bytes(to, whole, seen.name) == 0 { len } else { 0 }
}
