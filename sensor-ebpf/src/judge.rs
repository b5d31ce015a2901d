//! The verdict: every hook comes through `judge`, or through `judge_without_place`.
//!
//! The object's true name is walked from its dentry to its filesystem's root, never asked of the process;
//! the filesystem's place comes from what the daemon registered. `automaton.rs` then takes the names root
//! first, and `rules.rs` decides.

use sensor_common::{
    event::{Fault, Governed, MAX_DEPTH, MAX_PAIRS, NO_RULE, PATH_ROOM, Pair, SECTION_ROOM, Slot, pair, section},
    hash,
    table::{Policy, Rule},
};

use crate::{
    automaton, emit,
    guard::{self, guard_place},
    kernel::{off, read, read_kernel_str},
    maps, rules,
    section::{header, used},
    slot::DENIED,
    written::is_written,
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

/// Judges one action on the object that `dentry` is. 1: refuse it.
#[inline(always)]
pub fn judge(slot: *mut Slot, index: u32, action: u8, dentry: u64) -> u32 {
    let given = guard::taken(slot);
    let Some(observe) = begin(slot, action, 0) else { return 0 };
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe {
        (*slot).walk.dentry = dentry;
        (*slot).walk.first = dentry;
        (*slot).walk.depth = 0;
        see_written(slot, dentry);
        let placed = walk(slot, index);
        let rule = match given {
            0 if (*slot).walk.kind != 0 => guard_place(index) as u32,
            given => given,
        };
        let rule = in_force(slot, rule);
        if rule == 0 {
            if placed {
                automaton::run(slot, index);
            } else {
                (*slot).walk.about |= u32::from(pair::UNKNOWN);
            }
        }
        verdict(index, u32::from(action), u32::from(observe), rule) as u32
    }
}

/// Judges one action that has no place: `about` says what kind of object there is instead. 1: refuse it.
#[inline(always)]
pub fn judge_without_place(slot: *mut Slot, index: u32, action: u8, about: u8) -> u32 {
    let given = guard::taken(slot);
    // What has no name is told from nothing that the agent has written.
    let about = if about & pair::NAMELESS != 0 { about | pair::WRITTEN } else { about };
    let Some(observe) = begin(slot, action, about) else { return 0 };
    let rule = in_force(slot, given);
    if about & pair::ADDRESS != 0 && rule == 0 {
        rules::offer_network(index);
    }
    verdict(index, u32::from(action), u32::from(observe), rule) as u32
}

/// Judges one action on the names that the slot holds already, for tests.
#[inline(always)]
pub fn judge_given(slot: *mut Slot, index: u32, action: u8, about: u8) -> u32 {
    if about & !pair::WRITTEN != 0 {
        return judge_without_place(slot, index, action, about);
    }
    let Some(observe) = begin(slot, action, about) else { return 0 };
    hash_all_given(slot, index);
    automaton::run(slot, index);
    verdict(index, u32::from(action), u32::from(observe), 0) as u32
}

#[inline(always)]
pub fn hash_all_given(slot: *mut Slot, index: u32) {
    for which in 0..MAX_DEPTH {
        // SAFETY: `slot` points to a whole map value.
        if which as u32 >= unsafe { (*slot).walk.depth } {
            break;
        }
        hash_given(index, which as u32);
    }
}

/// The guard's rule, unless the operator has relaxed it for this policy; 0 for none.
#[inline(always)]
fn in_force(slot: *mut Slot, rule: u32) -> u32 {
    if rule == 0 {
        return 0;
    }
    // SAFETY: `slot` points to a whole map value.
    let policy = maps::POLICIES.get(unsafe { (*slot).walk.policy });
    let relaxed = policy.map_or(0, |policy| policy.relaxed);
    if relaxed & (1 << ((rule - 1) & 31)) != 0 { 0 } else { rule }
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn hash_given(index: u32, which: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    let which = which as usize & (MAX_DEPTH - 1);
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let name = (*slot).walk.names[which];
        (*slot).walk.hashes[which] = hash_name(index, name & 0xffff, name >> 16);
    }
    0
}

/// The policy that judges the slot's attempt: it keeps the one it began with.
#[inline(always)]
pub fn policy_of(slot: *mut Slot, governed: &Governed) -> Option<&'static Policy> {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if (*slot).attempt.generation == 0 {
            let number = governed.policy.checked_sub(1)?;
            (*slot).walk.policy = number;
            (*slot).attempt.generation = maps::POLICIES.get(number)?.generation;
        }
        maps::POLICIES.get((*slot).walk.policy)
    }
}

/// Sets a judgement up; whether the agent is only observed, or nothing where no policy judges it.
#[inline(always)]
fn begin(slot: *mut Slot, action: u8, about: u8) -> Option<bool> {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let governed = maps::GOVERNED.get((*slot).attempt.head.agent)?;
        if governed.policy == 0 {
            return None;
        }
        policy_of(slot, governed)?;
        let walk = &raw mut (*slot).walk;
        (*walk).secret = *maps::SECRET.get(0)?;
        (*walk).action = u32::from(action);
        (*walk).about = u32::from(about);
        (*walk).best = u32::from(NO_RULE);
        (*walk).would = u32::from(NO_RULE);
        (*walk).watched = 0;
        (*walk).facts = governed.facts;
        (*walk).risk = governed.risk;
        (*walk).labels = sensor_common::event::Governed::label_bits(&governed.labels);
        Some(governed.observe != 0)
    }
}

/// Says of the object whether the run has written it, where a rule asks. What is not made yet is not written.
#[inline(always)]
unsafe fn see_written(slot: *mut Slot, dentry: u64) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        let asked = maps::POLICIES.get((*slot).walk.policy).map_or(0, |policy| policy.written);
        if asked & (1 << ((*slot).walk.action & 31)) == 0 {
            return;
        }
        let inode = read::<u64>(dentry + off::off_dentry_inode()).unwrap_or(0);
        if inode != 0 && is_written((*slot).attempt.head.agent, inode) != 0 {
            (*slot).walk.about |= u32::from(pair::WRITTEN);
        }
    }
}

/// The guard's word, else the rules' on what is known of the object by now, noted in the slot. 1: refuse it.
/// A function of its own: a walk ends in many ways, and the verifier would follow the rules once for each.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn verdict(index: u32, action: u32, observe: u32, guard: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let decision = match guard {
        0 => rules::decide(index),
        rule => rules::guarded(slot, rule),
    };
    let refused = decision.refuses() && observe == 0;
    // SAFETY: `slot` points to a whole map value.
    unsafe { note(slot, action as u8, &decision, refused) };
    if refused {
        // SAFETY: as above.
        unsafe { refuse_with(slot, decision.errno) };
    } else {
        rules::consequences(index);
    }
    u64::from(refused)
}

/// What the hook is to return: the first refusal's errno, of however many actions it judges.
#[inline(always)]
unsafe fn refuse_with(slot: *mut Slot, errno: u8) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        if (*slot).walk.refusal == 0 {
            (*slot).walk.refusal = if errno == 0 { DENIED } else { -i32::from(errno) };
        }
    }
}

/// Walks the names up to the filesystem's root. False where its place could not be known.
#[inline(always)]
unsafe fn walk(slot: *mut Slot, index: u32) -> bool {
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

/// Names per call of `judge_walk`.
const CHUNK: u32 = 16;

#[unsafe(no_mangle)]
#[inline(never)]
pub fn judge_walk(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return FAILED };
    for _ in 0..CHUNK {
        // SAFETY: `slot` points to a whole map value.
        unsafe {
            let dentry = (*slot).walk.dentry;
            // An object not made yet has no inode, and is no root.
            let inode = read::<u64>(dentry + off::off_dentry_inode()).unwrap_or(0);
            if let Some(place) = maps::FILESYSTEMS.get(&inode)
                && is_that(inode, place.ino)
            {
                (*slot).walk.kind = place.kind;
                (*slot).walk.root = inode;
                (*slot).walk.left = place.depth;
                (*slot).walk.filesystem = place.number;
                return PLACED;
            }
            let Some(up) = read::<u64>(dentry + off::off_dentry_parent()) else { return FAILED };
            if up == dentry {
                return NOT_REGISTERED;
            }
            let Some(name) = read::<u64>(dentry + off::off_dentry_name()) else { return FAILED };
            let at = used(slot);
            let depth = core::ptr::read_volatile(&raw const (*slot).walk.depth) as usize;
            if depth >= MAX_DEPTH {
                return FAILED;
            }
            if at > LAST {
                let hashed = hash_beyond(index, name);
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
            let len = read_kernel_str(to, NAME_ROOM as u32, name);
            if len <= 1 || len > NAME_ROOM as i64 {
                return FAILED;
            }
            let hashed = hash_name(index, at as u32, len as u32 - 1);
            (*slot).walk.hashes[depth & (MAX_DEPTH - 1)] = hashed;
            (*slot).walk.names[depth & (MAX_DEPTH - 1)] = at as u32 | (len as u32 - 1) << 16;
            (*slot).walk.depth = depth as u32 + 1;
            (*slot).attempt.sections = (at + len as u64) as u32;
            (*slot).walk.dentry = up;
        }
    }
    GO_ON
}

/// Whether what has this address still is the directory that was registered; roots are asked nothing.
#[inline(always)]
fn is_that(inode: u64, number: u64) -> bool {
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
    for word in 0..NAME_ROOM / 8 {
        if word * 8 >= len {
            break;
        }
        // SAFETY: a name's room lies within the area, by the test above.
        let mut bytes =
            unsafe { (&raw const (*slot).area).cast::<u8>().add((at + word * 8) as usize).cast::<u64>().read_unaligned() };
        let left = len - word * 8;
        if left < 8 {
            bytes &= (1 << (left * 8)) - 1;
        }
        hashed = hash::component_word(hashed, bytes, secret);
    }
    hashed
}

#[inline(always)]
unsafe fn note(slot: *mut Slot, action: u8, decision: &rules::Decision, refused: bool) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        let count = core::ptr::read_volatile(&raw const (*slot).attempt.pairs) as usize;
        if count >= MAX_PAIRS {
            emit::fault(Fault::SectionsFull);
            return;
        }
        let mut flags = (*slot).walk.about as u8;
        if refused {
            flags |= pair::BLOCKED;
        }
        let program = (*slot).walk.program as u8;
        let rules::Decision { effect, rule, would, .. } = *decision;
        (*slot).attempt.pair[count & (MAX_PAIRS - 1)] = Pair { action, effect, flags, program, rule, would };
        (*slot).attempt.pairs = count as u8 + 1;
    }
}

const _: () = assert!(size_of::<Rule>() % 8 == 0);
