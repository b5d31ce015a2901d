//! Writing sections behind an attempt.

use sensor_common::event::{ADDRESS_ROOM, ARGV_ROOM, Fault, PATH_ROOM, SECTION_ROOM, Slot, UNREAD, flag, section};

use crate::{
    emit,
    kernel::{read_kernel_str, read_user, read_user_bytes, read_user_str},
    maps,
    walk::hash_name,
};

const HEADER: u64 = 4;
/// Last offset where a header and a whole path still fit.
const LAST: u64 = (SECTION_ROOM - PATH_ROOM) as u64 - HEADER - 256;
/// Argument strings read per call of `argv_chunk`, and calls.
const ARGV_CHUNK: u32 = 16;
const ARGV_CHUNKS: u32 = 16;

#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Read {
    Whole,
    Unreadable,
    Full,
}

#[inline(always)]
fn full(slot: *mut Slot) -> Read {
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe { (*slot).attempt.flags |= flag::SECTIONS_FULL };
    emit::fault(Fault::SectionsFull);
    Read::Full
}

#[inline(always)]
pub fn used(slot: *mut Slot) -> u64 {
    // SAFETY: see `full`. Volatile, so that the bound is tested on the very value that is used.
    u64::from(unsafe { core::ptr::read_volatile(&raw const (*slot).attempt.sections) })
}

#[inline(always)]
pub fn header(at: *mut u8, tag: u16, len: u16) {
    // SAFETY: the caller tested that the header fits.
    unsafe { at.cast::<u32>().write_unaligned(u32::from(tag) | u32::from(len) << 16) }
}

/// A string that `read` brings: it is given where to and how much room, and returns the length with the NUL.
#[inline(always)]
fn string(slot: *mut Slot, tag: u16, read: impl FnOnce(*mut u8, u32) -> i64) -> Read {
    let at = used(slot);
    if at > LAST {
        return full(slot);
    }
    // SAFETY: `at` + header + PATH_ROOM lies within the area, by the test above.
    unsafe {
        let begin = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        let len = read(begin.add(HEADER as usize), PATH_ROOM as u32);
        if len <= 0 || len > PATH_ROOM as i64 {
            return Read::Unreadable;
        }
        header(begin, tag, (len - 1) as u16);
        (*slot).attempt.sections = (at + HEADER + (len as u64 - 1)) as u32;
        if tag == section::PATH && (*slot).walk.argument == UNREAD {
            (*slot).walk.argument = at as u32;
        }
    }
    Read::Whole
}

/// How a path that was read begins, by what was kept of it: the process may write something else behind its pointer.
#[derive(PartialEq, Eq, Clone, Copy)]
pub enum Path {
    Absolute,
    /// Or empty, or none.
    Relative,
    Unread,
}

/// Reads a path, and says how it begins.
#[inline(always)]
pub fn user_path(slot: *mut Slot, tag: u16, address: u64) -> (Read, Path) {
    let before = used(slot);
    let read = user_string(slot, tag, address);
    let begins = match read {
        Read::Whole if used(slot) <= before + HEADER || before > LAST => Path::Relative,
        // SAFETY: a byte lies behind the header, by the test above.
        Read::Whole => match unsafe { *(&raw const (*slot).area).cast::<u8>().add((before + HEADER) as usize) } {
            b'/' => Path::Absolute,
            _ => Path::Relative,
        },
        _ => Path::Unread,
    };
    (read, begins)
}

/// A string of the process's.
#[inline(always)]
pub fn user_string(slot: *mut Slot, tag: u16, address: u64) -> Read {
    if address == 0 {
        // Of utimensat it says that the descriptor is meant.
        return Read::Whole;
    }
    string(slot, tag, |to, room| read_user_str(to, room, address))
}

/// A string of the kernel's.
#[inline(always)]
pub fn kernel_string(slot: *mut Slot, tag: u16, address: u64) -> Read {
    string(slot, tag, |to, room| read_kernel_str(to, room, address))
}

/// A socket address of the process's.
#[inline(always)]
pub fn address(slot: *mut Slot, address: u64, len: u64) -> Read {
    let at = used(slot);
    if at > LAST {
        return full(slot);
    }
    // Settled: else the compiler copies the length before the test, and the verifier sees it unbounded.
    let len = core::hint::black_box(if len > ADDRESS_ROOM as u64 { ADDRESS_ROOM as u64 } else { len });
    if address == 0 || len == 0 {
        return Read::Whole;
    }
    // SAFETY: as in `string`; an address is shorter than a path.
    unsafe {
        let begin = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        if read_user_bytes(begin.add(HEADER as usize), len as u32, address) != 0 {
            return Read::Unreadable;
        }
        header(begin, section::ADDRESS, len as u16);
        (*slot).attempt.sections = (at + HEADER + len) as u32;
        if (*slot).walk.argument == UNREAD {
            (*slot).walk.argument = at as u32;
        }
    }
    Read::Whole
}

/// Bytes that `hash_name` takes at once, and how often that is a whole path.
const STRETCH: u32 = 248;
const STRETCHES: u32 = (PATH_ROOM as u32).div_ceil(STRETCH);

/// 1 where the sections at `a` and `b` say the same.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn same_sections(index: u32, a: u32, b: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    let (at_a, at_b) = (core::hint::black_box(u64::from(a)), core::hint::black_box(u64::from(b)));
    if at_a > LAST || at_b > LAST {
        return 0;
    }
    // SAFETY: a header lies within the area, by the test above.
    let (head_a, head_b) = unsafe {
        let area = (&raw const (*slot).area).cast::<u8>();
        (area.add(at_a as usize).cast::<u32>().read_unaligned(), area.add(at_b as usize).cast::<u32>().read_unaligned())
    };
    if head_a != head_b {
        return 0;
    }
    let len = head_a >> 16;
    for stretch in 0..STRETCHES {
        let begin = stretch * STRETCH;
        if begin >= len {
            break;
        }
        let some = if len - begin < STRETCH { len - begin } else { STRETCH };
        let from = HEADER as u32 + begin;
        if hash_name(index, a + from, some) != hash_name(index, b + from, some) {
            return 0;
        }
    }
    1
}

/// The argument strings of an exec. True where all were read.
#[inline(always)]
pub fn argv(slot: *mut Slot, index: u32, array: u64) -> bool {
    let at = used(slot);
    if at > LAST {
        full(slot);
        return false;
    }
    if array == 0 {
        return true;
    }
    // SAFETY: see `string`.
    unsafe {
        header((&raw mut (*slot).area).cast::<u8>().add(at as usize), section::ARGV, 0);
        (*slot).walk.array = array;
        (*slot).walk.index = 0;
        (*slot).walk.header = at as u32;
        (*slot).attempt.sections = (at + HEADER) as u32;
    }
    let mut state = 0;
    for _ in 0..ARGV_CHUNKS {
        state = argv_chunk(index);
        if state != 0 {
            break;
        }
    }
    // SAFETY: see `string`.
    unsafe {
        let begin = (*slot).walk.header as u64;
        let end = used(slot);
        if begin <= LAST && end > begin + HEADER {
            let len = end - begin - HEADER;
            header((&raw mut (*slot).area).cast::<u8>().add(begin as usize), section::ARGV, len as u16);
        }
        // 1: the array's end was met.
        if state != 1 {
            (*slot).attempt.flags |= flag::ARGV_TRUNCATED;
        }
    }
    state == 1
}

/// Reads the next few strings: 0 to go on, 1 at the array's end, 2 where it must stop.
/// A function of its own, so that the verifier sees it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn argv_chunk(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 2 };
    for _ in 0..ARGV_CHUNK {
        // SAFETY: see `string`.
        unsafe {
            let at = used(slot);
            let begin = u64::from((*slot).walk.header);
            if at > LAST || at > begin + HEADER + ARGV_ROOM as u64 {
                return 2;
            }
            let next = u64::from((*slot).walk.index);
            let compat = (*slot).attempt.flags & flag::COMPAT != 0;
            let string = if compat {
                read_user::<u32>((*slot).walk.array + next * 4).map(u64::from)
            } else {
                read_user::<u64>((*slot).walk.array + next * 8)
            };
            let Some(string) = string else { return 2 };
            if string == 0 {
                return 1;
            }
            let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
            let len = read_user_str(to, PATH_ROOM as u32, string);
            if len <= 0 || len > PATH_ROOM as i64 {
                return 2;
            }
            (*slot).attempt.sections = (at + len as u64) as u32;
            (*slot).walk.index = next as u32 + 1;
            if len == PATH_ROOM as i64 {
                return 2;
            }
        }
    }
    0
}

/// The argument strings as the new program holds them: one stretch of memory. True where it fitted.
#[inline(always)]
pub fn argv_of_new_program(slot: *mut Slot, begin: u64, len: u64) -> bool {
    let at = used(slot);
    if at > LAST {
        full(slot);
        return false;
    }
    let whole = len <= ARGV_ROOM as u64;
    // Settled: else the compiler copies the length before the test, and the verifier sees it unbounded.
    let len = core::hint::black_box(if whole { len } else { ARGV_ROOM as u64 });
    // SAFETY: as in `string`: ARGV_ROOM is PATH_ROOM.
    unsafe {
        let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        if read_user_bytes(to.add(HEADER as usize), len as u32, begin) != 0 {
            return false;
        }
        header(to, section::ARGV, len as u16);
        (*slot).attempt.sections = (at + HEADER + len) as u32;
    }
    whole
}
