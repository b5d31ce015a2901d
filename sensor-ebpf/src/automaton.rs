//! The automaton over names: which of a policy's globs a path matches, whatever their number.
//!
//! One name a step. The states that the walk is in stay in the slot, so that the verifier sees each function
//! once. `black_box` keeps a loop's two bounds apart: folded into one of unknown value, older verifiers lose both.

use core::hint::black_box;

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use sensor_common::{
    event::{Fault, MAX_DEPTH, MAX_MOUNT_DEPTH, MOUNT_ROOM, Slot, pair},
    hash,
    table::{EdgeKey, LANES, MAX_ACTIVE, OBJECT_LANES, PROGRAM_LANES, State, bytes, pinned},
};

use crate::{
    contents::offer_by_contents,
    emit,
    limits::note_place,
    maps,
    rules::offer_range,
    section::used,
    walk::{LAST, NAME_ROOM},
};

/// Names per call of `step_names`.
const CHUNK: u32 = 8;
/// Bytes per call of `run_bytes`.
const BYTES: u32 = 32;
/// States per call of `accept`, and calls: what one name's bytes may lead to.
const TARGETS: u32 = 8;
const ACCEPTS: u32 = MAX_ACTIVE as u32 / TARGETS;

/// Takes the path that `walk` holds through the policy's automaton, from the root or (`table::ABSTRACT`) beside it.
#[inline(always)]
pub fn run(slot: *mut Slot, index: u32, from: u32) {
    // SAFETY: `slot` points to a whole map value.
    let root = unsafe {
        let Some(policy) = maps::POLICIES.get((*slot).walk.policy) else {
            (*slot).walk.about |= u32::from(pair::UNKNOWN);
            return;
        };
        if policy.walks & (1 << ((*slot).walk.action & 31)) == 0 {
            return;
        }
        if policy.objects & (1 << ((*slot).walk.action & 31)) != 0 {
            note_place(index);
        }
        policy.root + from
    };
    // What lies in no directory is in none of the agent's.
    let lanes = if from == 0 { Some(Lanes::OfObjects) } else { None };
    run_from(slot, index, root, lanes);
}

/// Which patterns may begin with a directory of the agent's own.
#[derive(Clone, Copy)]
pub enum Lanes {
    OfObjects,
    OfPrograms,
}

/// The same, from this state on.
#[inline(always)]
pub fn run_from(slot: *mut Slot, index: u32, root: u32, lanes: Option<Lanes>) {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).walk.actives = 0;
        (*slot).walk.nexts = 0;
        (*slot).walk.staying = 0;
    }
    enter(index, root);
    open_lanes(slot, index, root, lanes);
    advance(slot);
    for _ in 0..MAX_MOUNT_DEPTH {
        if step_mount(index) != 0 {
            break;
        }
    }
    for _ in 0..(MAX_DEPTH as u32 / CHUNK) {
        if step_names(index) != 0 {
            break;
        }
    }
    end(index);
}

/// Looks for the agent's own directories from here on, where some pattern begins with one.
#[inline(always)]
fn open_lanes(slot: *mut Slot, index: u32, root: u32, lanes: Option<Lanes>) {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).walk.lane_root = 0;
        let (shift, first) = match lanes {
            None => return,
            Some(Lanes::OfObjects) => (0, root + OBJECT_LANES),
            Some(Lanes::OfPrograms) => (LANES, root + PROGRAM_LANES),
        };
        let asked = maps::POLICIES.get((*slot).walk.policy).map_or(0, |policy| policy.lanes >> shift);
        if asked & ((1 << LANES) - 1) == 0 {
            return;
        }
        let governed = maps::GOVERNED.get((*slot).attempt.head.agent);
        for lane in 0..LANES {
            let directory = governed.map_or(0, |governed| governed.lanes[lane]);
            let asked = asked & 1 << lane != 0;
            (*slot).walk.lanes[lane] = if asked { directory } else { 0 };
            if asked && directory == 0 {
                (*slot).walk.about |= u32::from(pair::UNKNOWN);
            }
        }
        // The root itself is one step of it.
        (*slot).walk.lane_left = governed.map_or(0, |governed| governed.lane_depth) + 1;
        (*slot).walk.prefix = hash::prefix_start((*slot).walk.secret);
        (*slot).walk.lane_root = first;
    }
    enter_lanes(index);
}

/// Enters what lies behind those of the agent's directories that the path's names so far lead to.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn enter_lanes(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (root, left) = unsafe { ((*slot).walk.lane_root, (*slot).walk.lane_left) };
    if root == 0 {
        return 1;
    }
    for lane in 0..LANES {
        // SAFETY: as above.
        if unsafe { (*slot).walk.lanes[lane] == (*slot).walk.prefix } {
            enter(index, black_box(root) + lane as u32);
        }
    }
    // SAFETY: as above.
    unsafe {
        (*slot).walk.lane_left = left.wrapping_sub(1);
        if left <= 1 {
            (*slot).walk.lane_root = 0;
        }
    }
    0
}

/// The states after the name become those before the next, and those that stay are among the ones after it.
#[inline(always)]
fn advance(slot: *mut Slot) {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).walk.active = (*slot).walk.next;
        (*slot).walk.actives = (*slot).walk.nexts;
        (*slot).walk.nexts = (*slot).walk.staying;
    }
}

/// Takes the next name of the filesystem's own place.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn step_mount(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let left = core::ptr::read_volatile(&raw const (*slot).walk.left) as usize;
        if left == 0 || left > MAX_MOUNT_DEPTH || is_over(slot) {
            return 1;
        }
        (*slot).walk.left = left as u32 - 1;
        let root = (*slot).walk.root;
        let Some(place) = maps::FILESYSTEMS.get(&root) else {
            // Forgotten in between: where it stood is not known any more.
            (*slot).walk.about |= u32::from(pair::UNKNOWN);
            return 1;
        };
        let which = (left - 1) & (MAX_MOUNT_DEPTH - 1);
        let (hash, name) = (place.hashes[which], place.names[which]);
        let from = (name & 0xffff) as usize;
        // The name's bytes are wanted in the area: behind what is used of it there is room for one.
        let at = used(slot);
        if at > LAST || from > MOUNT_ROOM - NAME_ROOM as usize {
            (*slot).walk.about |= u32::from(pair::UNKNOWN);
            return 1;
        }
        let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        let text = (&raw const place.text).cast::<u8>().add(from);
        bpf_probe_read_kernel(to.cast(), black_box(name >> 16) & (NAME_ROOM as u32 - 1), text.cast());
        step(index, hash, at as u32 | name & 0xffff_0000);
    }
    0
}

/// Takes the next few names below the filesystem's root.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn step_names(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    for _ in 0..CHUNK {
        // SAFETY: `slot` points to a whole map value.
        unsafe {
            let left = core::ptr::read_volatile(&raw const (*slot).walk.depth) as usize;
            if left == 0 || left > MAX_DEPTH || is_over(slot) {
                return 1;
            }
            let which = (left - 1) & (MAX_DEPTH - 1);
            (*slot).walk.depth = left as u32 - 1;
            step(index, (*slot).walk.hashes[which], (*slot).walk.names[which]);
        }
    }
    0
}

/// Without a state, and none to come, there is nothing more to match.
#[inline(always)]
unsafe fn is_over(slot: *mut Slot) -> bool {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe { (*slot).walk.actives == 0 && (*slot).walk.lane_root == 0 }
}

/// One name, given by its hash and as `Walk::names` has it: from every state the walk is in.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn step(index: u32, hash: u64, name: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    for which in 0..MAX_ACTIVE {
        // SAFETY: `slot` points to a whole map value.
        let number = unsafe {
            if which as u32 >= core::ptr::read_volatile(&raw const (*slot).walk.actives) {
                break;
            }
            (*slot).walk.active[which]
        };
        // From most states most names lead nowhere: told without a call.
        let Some(from) = maps::STATES.get(number) else { continue };
        // Each time anew, for what is computed once lies on the stack, of which all callers together have 512 bytes.
        let hash = black_box(hash);
        if from.any | from.bytes == 0 && !may_lead_on(from, hash) {
            continue;
        }
        let found = follow(index, number, hash, name);
        if found == 0 {
            continue;
        }
        for part in 0..ACCEPTS {
            if accept(index, found as u32, (found >> 32) as u32, part * TARGETS) != 0 {
                break;
            }
        }
    }
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if (*slot).walk.lane_root != 0 {
            (*slot).walk.prefix = hash::prefix_name((*slot).walk.prefix, black_box(hash), (*slot).walk.secret);
            enter_lanes(index);
        }
    }
    advance(slot);
    0
}

/// Where one state leads to by this name. What its bytes lead to is left to `accept`, for the kernel allows eight
/// calls deep: the row of the patterns that match, and in the high half the patterns' targets; 0 for none.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn follow(index: u32, number: u32, hash: u64, name: u32) -> u64 {
    let Some(from) = maps::STATES.get(number) else { return 0 };
    if may_lead_on(from, hash) {
        let key = EdgeKey { state: u64::from(number), name: hash };
        // SAFETY: the value is read at once.
        if let Some(to) = unsafe { maps::EDGES.get(&key) } {
            enter(index, *to);
        }
    }
    if from.any != 0 {
        enter(index, from.any);
    }
    match from.bytes {
        0 => 0,
        first => u64::from(row_after(index, first, name & 0xffff, name >> 16)) | u64::from(from.targets) << 32,
    }
}

#[inline(always)]
fn may_lead_on(from: &State, hash: u64) -> bool {
    from.may_lead_on(hash, |cell| maps::CELLS.get(cell))
}

/// The row of the state that the bytes of the name end in, in the table that begins at `first`; 0 without a table.
#[inline(always)]
fn row_after(index: u32, first: u32, at: u32, len: u32) -> u32 {
    let Some(classes) = maps::CELLS.get(first) else { return 0 };
    let stride = bytes::stride(*classes as u32);
    let mut reached = 1;
    for chunk in 0..NAME_ROOM as u32 / BYTES {
        if chunk * BYTES >= black_box(len) || reached == 0 {
            break;
        }
        reached = run_bytes(index, first, reached as u32 | stride << 16, at + chunk * BYTES, len - chunk * BYTES);
    }
    first + bytes::ROWS + reached as u32 * stride
}

/// Comes to the next few states that the patterns of this row lead to, from the one numbered `done` on; 1 where there are no
/// more.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn accept(index: u32, row: u32, targets: u32, done: u32) -> u64 {
    let Some(accepted) = maps::CELLS.get(row) else { return 1 };
    let (patterns, count) = (*accepted as u32 + done, (*accepted >> 32) as u32);
    let count = count.saturating_sub(done);
    for which in 0..TARGETS {
        if which >= black_box(count) {
            return 1;
        }
        let Some(pattern) = maps::CELLS.get(patterns + which) else { return 1 };
        if let Some(target) = maps::CELLS.get(targets + *pattern as u32) {
            enter(index, *target as u32);
        }
    }
    0
}

/// Takes up to `BYTES` bytes; `from` is the state and, in its high half, a row's length. The state reached.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn run_bytes(index: u32, first: u32, from: u32, at: u32, len: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    let (mut reached, stride) = (from & 0xffff, from >> 16);
    let at = black_box(u64::from(at));
    if at > LAST + NAME_ROOM {
        return 0;
    }
    for offset in 0..BYTES {
        if offset >= black_box(len) || reached == 0 {
            break;
        }
        // SAFETY: within the area, by the test above.
        let byte = u32::from(unsafe { *(&raw const (*slot).area).cast::<u8>().add((at + u64::from(offset)) as usize) });
        let Some(classes) = maps::CELLS.get(first + bytes::CLASSES + (byte >> 3)) else { return 0 };
        let class = (*classes >> ((byte & 7) * 8)) as u32 & 0xff;
        let Some(row) = maps::CELLS.get(first + bytes::ROWS + reached * stride + 1 + (class >> 2)) else { return 0 };
        reached = (*row >> ((class & 3) * 16)) as u32 & 0xffff;
    }
    u64::from(reached)
}

/// Comes to a state: what it offers to all below it is offered. Inlined, for the kernel allows eight calls deep.
#[inline(always)]
fn enter(index: u32, number: u32) {
    let Some(to) = maps::STATES.get(number) else { return };
    let (star, below) = (to.star, to.below);
    be_in(index, number, 0);
    if star != 0 {
        be_in(index, star, 1);
    }
    if below.count != 0 {
        offer_range(index, below.first, below.count);
    }
}

/// Adds a state to those after this name, once; `stays` is 1 if it is in those after all that follow as well.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn be_in(index: u32, number: u32, stays: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let count = core::ptr::read_volatile(&raw const (*slot).walk.nexts) as usize;
        for which in 0..MAX_ACTIVE {
            if which >= black_box(count) {
                break;
            }
            if (*slot).walk.next[which] == number {
                return 0;
            }
        }
        if count >= MAX_ACTIVE {
            emit::fault(Fault::TooManyStates);
            (*slot).walk.about |= u32::from(pair::UNKNOWN);
            return 1;
        }
        let mut at = count & (MAX_ACTIVE - 1);
        if stays != 0 {
            // In front of those that do not, the first of which moves to the end.
            let front = (*slot).walk.staying as usize & (MAX_ACTIVE - 1);
            (*slot).walk.next[at] = (*slot).walk.next[front];
            (*slot).walk.staying = front as u32 + 1;
            at = front;
        }
        (*slot).walk.next[at] = number;
        (*slot).walk.nexts = count as u32 + 1;
    }
    0
}

/// The path ended in the states that the walk is in.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn end(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    for which in 0..MAX_ACTIVE as u32 {
        // SAFETY: `slot` points to a whole map value.
        let number = unsafe {
            let at = black_box((*slot).walk.staying) + which;
            if at >= core::ptr::read_volatile(&raw const (*slot).walk.actives) {
                break;
            }
            (*slot).walk.active[at as usize & (MAX_ACTIVE - 1)]
        };
        let Some(last) = maps::STATES.get(number) else { return 1 };
        let (exact, asked) = (last.exact, last.pinned);
        if exact.count != 0 {
            offer_range(index, exact.first, exact.count);
        }
        if asked != pinned::NEVER {
            offer_by_contents(index, number, asked);
        }
    }
    0
}
