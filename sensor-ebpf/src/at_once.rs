//! Fields of a structure that the kernel keeps close together, read at once: each call of the helper that reads costs more
//! than what it reads.

use sensor_common::event::{AT_ONCE, Slot};

use crate::kernel::read_kernel_bytes;

/// Whether `length` bytes at `offset` lie among the `words` from `base` on, and how far from it. A constant to the verifier, as all
/// offsets are; a kernel that shuffles its structures may have put it elsewhere.
#[inline(always)]
pub fn within(base: u64, words: usize, offset: u64, length: u64) -> Option<usize> {
    let from = offset.wrapping_sub(base);
    (from <= words as u64 * 8 - length).then_some(from as usize)
}

/// Reads so many words; where they are until the next are read.
#[inline(always)]
pub fn read_words(slot: *mut Slot, words: usize, address: u64) -> Option<*const u8> {
    // SAFETY: `slot` points to a whole map value.
    let to = unsafe { (&raw mut (*slot).walk.at_once).cast::<u8>() };
    (words <= AT_ONCE && read_kernel_bytes(to, words as u32 * 8, address) == 0).then_some(to.cast_const())
}

/// A field of what was read.
#[inline(always)]
pub unsafe fn field<T: Copy>(read: *const u8, from: usize) -> T {
    // SAFETY: the caller has asked `within` with the size of `T`.
    unsafe { read.add(from).cast::<T>().read_unaligned() }
}
