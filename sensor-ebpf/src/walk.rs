//! An object's own name: from its dentry up to its filesystem's root, each name kept and hashed; or one name whole.

use sensor_common::{
    event::{Fault, MAX_DEPTH, PATH_ROOM, SECTION_ROOM, Slot, pair, root_bit, section},
    hash,
};

use crate::{
    dentry, emit, guard,
    kernel::{off, read, read_kernel_bytes, read_kernel_str},
    maps,
    section::{header, used},
};

pub const HEADER: u64 = 8;
pub const NAME_ROOM: u64 = 256;
/// Last offset of the area where a header and a name still fit, and a copy of a name behind them.
pub const LAST: u64 = (SECTION_ROOM - PATH_ROOM) as u64 - HEADER - NAME_ROOM;
/// Room behind all that is kept: whatever begins at `LAST` ends before it.
const BEYOND: u64 = SECTION_ROOM as u64 - NAME_ROOM;
const FOREIGN: u32 = u32::MAX;
const NO_HEADER: u32 = u32::MAX;

/// Where a chunk of the walk ended.
const GO_ON: u64 = 0;
pub const PLACED: u64 = 1;
pub const NOT_REGISTERED: u64 = 2;
const FAILED: u64 = 3;

/// Walks the names up to the filesystem's root. False where its place could not be known.
#[inline(always)]
pub unsafe fn walk(slot: *mut Slot, index: u32) -> bool {
    let at = used(slot);
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).walk.kind = 0;
        (*slot).walk.cut = 0;
        // Without room for a header there is none, and every name is only hashed.
        (*slot).walk.header = NO_HEADER;
        if at <= LAST {
            (*slot).walk.header = at as u32;
            (*slot).attempt.sections = (at + HEADER) as u32;
        }
    }
    let state = climb(index);
    // SAFETY: as above.
    unsafe {
        let begin = u64::from((*slot).walk.header);
        let end = used(slot);
        if begin <= LAST && end >= begin + HEADER {
            let to = (&raw mut (*slot).area).cast::<u8>().add(begin as usize);
            header(to, section::OBJECT, (end - begin - 4) as u16);
            let whole = state == PLACED && (*slot).walk.cut == 0;
            let number = if whole { (*slot).walk.filesystem } else { FOREIGN };
            to.add(4).cast::<u32>().write_unaligned(number);
        }
        if state != PLACED {
            (*slot).walk.kind = guard::kind_at((*slot).walk.first);
        }
        match state {
            // Where it lies is known, what it is called is not: enough for the guard alone.
            PLACED if (*slot).walk.cut != 0 => {
                emit::fault(Fault::SectionsFull);
                false
            }
            PLACED => true,
            NOT_REGISTERED => {
                (*slot).walk.about |= u32::from(pair::FOREIGN);
                false
            }
            _ => {
                emit::fault(Fault::WalkFailed);
                false
            }
        }
    }
}

/// Takes the names from `walk.dentry` up to the filesystem's root; how that ended.
#[inline(always)]
pub fn climb(index: u32) -> u64 {
    let mut state = GO_ON;
    for _ in 0..(MAX_DEPTH / CHUNK as usize) {
        state = judge_walk(index);
        if state != GO_ON {
            break;
        }
    }
    state
}

/// Names per call of `judge_walk`: the verifier follows as many in each of the hooks, so a few.
const CHUNK: u32 = 4;

#[unsafe(no_mangle)]
#[inline(never)]
pub fn judge_walk(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return FAILED };
    for _ in 0..CHUNK {
        // SAFETY: `slot` points to a whole map value.
        unsafe {
            let dentry = (*slot).walk.dentry;
            let Some(seen) = dentry::look(slot, dentry) else { return FAILED };
            // An object not made yet has no inode, and is no root.
            let inode = seen.inode;
            if may_be_registered(inode)
                && let Some(place) = maps::FILESYSTEMS.get(&inode)
                && is_that(inode, place.ino)
            {
                (*slot).walk.kind = place.kind;
                (*slot).walk.root = inode;
                (*slot).walk.left = place.depth;
                (*slot).walk.filesystem = place.number;
                return PLACED;
            }
            let up = seen.parent;
            if up == dentry {
                return NOT_REGISTERED;
            }
            let at = used(slot);
            let depth = core::ptr::read_volatile(&raw const (*slot).walk.depth) as usize;
            if depth >= MAX_DEPTH {
                return FAILED;
            }
            if at > LAST {
                let hashed = hash_beyond(index, seen.name);
                if hashed == 0 {
                    return FAILED;
                }
                (*slot).walk.hashes[depth & (MAX_DEPTH - 1)] = hashed;
                (*slot).walk.names[depth & (MAX_DEPTH - 1)] = 0;
                (*slot).walk.depth = depth as u32 + 1;
                (*slot).walk.cut = 1;
                (*slot).walk.dentry = up;
                continue;
            }
            let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
            let len = dentry::take_name(slot, dentry, &seen, to);
            if len == 0 {
                return FAILED;
            }
            let hashed = hash_name(index, at as u32, len);
            (*slot).walk.hashes[depth & (MAX_DEPTH - 1)] = hashed;
            (*slot).walk.names[depth & (MAX_DEPTH - 1)] = at as u32 | len << 16;
            (*slot).walk.depth = depth as u32 + 1;
            (*slot).attempt.sections = at as u32 + len + 1;
            (*slot).walk.dentry = up;
        }
    }
    GO_ON
}

/// Takes one name of the kernel's, whatever its bytes, for the whole of a walk. False where there is no room for it.
#[inline(always)]
pub fn take_name(slot: *mut Slot, index: u32, name: u64, len: u32) -> bool {
    let at = used(slot);
    let len = core::hint::black_box(len) & 0x7f;
    if at > LAST {
        emit::fault(Fault::SectionsFull);
        return false;
    }
    // SAFETY: a header and a name lie within the area, by the test above; `slot` points to a whole map value.
    unsafe {
        let begin = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        if read_kernel_bytes(begin.add(HEADER as usize), len, name) != 0 {
            emit::fault(Fault::WalkFailed);
            return false;
        }
        header(begin, section::OBJECT, len as u16 + 4);
        begin.add(4).cast::<u32>().write_unaligned(section::ABSTRACT);
        let from = at as u32 + HEADER as u32;
        (*slot).attempt.sections = from + len;
        (*slot).walk.left = 0;
        // It lies in no filesystem.
        (*slot).walk.root = 0;
        (*slot).walk.names[0] = from | len << 16;
        (*slot).walk.hashes[0] = hash_name(index, from, len);
        (*slot).walk.depth = 1;
    }
    true
}

/// Told without looking for it, of most that are none.
#[inline(always)]
pub fn may_be_registered(inode: u64) -> bool {
    let bit = root_bit(inode);
    // SAFETY: a pointer into a map value.
    maps::ROOTS.get_ptr(bit / 64).is_some_and(|word| unsafe { *word } & 1 << (bit % 64) != 0)
}

/// Whether what has this address still is the directory that was registered; roots are asked nothing.
#[inline(always)]
pub fn is_that(inode: u64, number: u64) -> bool {
    number == 0 || read::<u64>(inode + off::off_inode_number()) == Some(number)
}

/// The hash of a name that there is no room to keep: the guard wants it all the same. 0 where it cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn hash_beyond(index: u32, name: u64) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: a name's room ends where the area does.
    let len = unsafe {
        let to = (&raw mut (*slot).area).cast::<u8>().add(BEYOND as usize);
        read_kernel_str(to, NAME_ROOM as u32, name)
    };
    if len <= 1 || len > NAME_ROOM as i64 {
        return 0;
    }
    hash_name(index, BEYOND as u32, len as u32 - 1)
}

/// Hashes the `len` bytes at `at` of the area, eight at a time.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn hash_name(index: u32, at: u32, len: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: `slot` points to a whole map value.
    let secret = unsafe { (*slot).walk.secret };
    let mut hashed = hash::component_start(secret, u64::from(len));
    let len = core::hint::black_box(u64::from(len));
    let at = core::hint::black_box(u64::from(at));
    if at > BEYOND || len >= NAME_ROOM {
        return 0;
    }
    // As a pointer, for older verifiers forget the bounds of numbers that are spilled.
    // SAFETY: a name's room lies within the area, by the test above.
    let name = core::hint::black_box(unsafe { (&raw const (*slot).area).cast::<u8>().add(at as usize) });
    // SAFETY: as above, here and below.
    let word_at = |at: u64| unsafe { name.add(at as usize).cast::<u64>().read_unaligned() };
    for word in 0..NAME_ROOM / 8 {
        if word >= len / 8 {
            break;
        }
        hashed = hash::component_word(hashed, word_at(word * 8), secret);
    }
    // After the loop, for a branch within doubles what the verifier follows at each turn.
    let rest = len % 8;
    if rest != 0 {
        let last = word_at(core::hint::black_box(len) & (NAME_ROOM - 8)) & ((1 << (rest * 8)) - 1);
        hashed = hash::component_word(hashed, last, secret);
    }
    hashed
}
