//! The verdict: every hook comes through `judge`.
//!
//! The object's true name is walked from its dentry to its filesystem's root, never asked of the process;
//! the filesystem's place comes from what the daemon registered. The walk is hashed name by name and the
//! hashes looked up root first; then the rules are tried in order.

use sensor_common::{
    event::{
        Fault, Filesystem, MAX_DEPTH, MAX_MOUNT_DEPTH, MAX_PAIRS, NO_RULE, PATH_ROOM, Pair, SECTION_ROOM, Slot, pair, section,
    },
    hash,
    table::{MAX_RULES, PlaceKey, effect, object},
};

use crate::{
    emit,
    kernel::{off, read, read_kernel_str},
    maps,
    section::{header, used},
};

const HEADER: u64 = 8;
const NAME_ROOM: u64 = 256;
const LAST: u64 = (SECTION_ROOM - PATH_ROOM) as u64 - HEADER - NAME_ROOM;
const FOREIGN: u32 = u32::MAX;

/// Where a chunk of the walk ended.
const GO_ON: u64 = 0;
const PLACED: u64 = 1;
const NOT_REGISTERED: u64 = 2;
const FAILED: u64 = 3;

/// Judges one action on the object that `dentry` is. 1: refuse it.
#[inline(always)]
pub fn judge(slot: *mut Slot, index: u32, action: u8, dentry: u64) -> u32 {
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe {
        let agent = (*slot).attempt.head.agent;
        let Some(governed) = maps::GOVERNED.get(agent) else { return 0 };
        if governed.policy == 0 {
            return 0;
        }
        let (policy, observe) = (governed.policy - 1, governed.observe != 0);
        (*slot).walk.policy = policy;
        (*slot).walk.action = u32::from(action);
        (*slot).walk.dentry = dentry;
        (*slot).walk.depth = 0;
        (*slot).walk.sets = 0;
        (*slot).walk.about = 0;
        let Some(secret) = maps::SECRET.get(0) else { return 0 };
        (*slot).walk.secret = *secret;
        (*slot).walk.path = hash::path_start(*secret);
        if !walk(slot, index) {
            (*slot).walk.about |= u32::from(pair::UNKNOWN);
        } else {
            resolve(index);
        }
        verdict(slot, index, action, observe)
    }
}

/// Judges one action that has no place: `about` says what kind of object there is instead. 1: refuse it.
#[inline(always)]
pub fn judge_without_place(slot: *mut Slot, index: u32, action: u8, about: u8) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let Some(governed) = maps::GOVERNED.get((*slot).attempt.head.agent) else { return 0 };
        if governed.policy == 0 {
            return 0;
        }
        (*slot).walk.policy = governed.policy - 1;
        (*slot).walk.action = u32::from(action);
        (*slot).walk.sets = 0;
        (*slot).walk.about = u32::from(about);
        verdict(slot, index, action, governed.observe != 0)
    }
}

/// The rules' word on what is known of the object by now, noted in the slot. 1: refuse it.
#[inline(always)]
unsafe fn verdict(slot: *mut Slot, index: u32, action: u8, observe: bool) -> u32 {
    let decision = decide(index);
    let (rule, would) = (decision as u16, (decision >> 16) as u16);
    let what = (decision >> 32) as u8;
    let refused = what != effect::ALLOW && (decision >> 40) & 1 == 0 && !observe;
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe { note(slot, action, what, rule, would, refused) };
    u32::from(refused)
}

/// Walks the names up to the filesystem's root. False where its place could not be known.
#[inline(always)]
unsafe fn walk(slot: *mut Slot, index: u32) -> bool {
    let at = used(slot);
    if at > LAST {
        emit::fault(Fault::SectionsFull);
        return false;
    }
    // SAFETY: the header fits by the test above; `slot` points to a whole map value.
    unsafe {
        (*slot).walk.header = at as u32;
        (*slot).attempt.sections = (at + HEADER) as u32;
    }
    let mut state = GO_ON;
    for _ in 0..(MAX_DEPTH / CHUNK as usize) {
        state = judge_walk(index);
        if state != GO_ON {
            break;
        }
    }
    // SAFETY: as above.
    unsafe {
        let begin = u64::from((*slot).walk.header);
        let end = used(slot);
        if begin <= LAST && end >= begin + HEADER {
            let to = (&raw mut (*slot).area).cast::<u8>().add(begin as usize);
            header(to, section::OBJECT, (end - begin - 4) as u16);
            let number = if state == PLACED { (*slot).walk.place.number } else { FOREIGN };
            to.add(4).cast::<u32>().write_unaligned(number);
        }
        match state {
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
            if let Some(place) = maps::FILESYSTEMS.get(&inode) {
                (*slot).walk.place = *place;
                return PLACED;
            }
            let Some(up) = read::<u64>(dentry + off::off_dentry_parent()) else { return FAILED };
            if up == dentry {
                return NOT_REGISTERED;
            }
            let Some(name) = read::<u64>(dentry + off::off_dentry_name()) else { return FAILED };
            let at = used(slot);
            let depth = core::ptr::read_volatile(&raw const (*slot).walk.depth) as usize;
            if at > LAST || depth >= MAX_DEPTH {
                return FAILED;
            }
            let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
            let len = read_kernel_str(to, NAME_ROOM as u32, name);
            if len <= 1 || len > NAME_ROOM as i64 {
                return FAILED;
            }
            let hashed = hash_name(index, at as u32, len as u32 - 1);
            (*slot).walk.hashes[depth & (MAX_DEPTH - 1)] = hashed;
            (*slot).walk.depth = depth as u32 + 1;
            (*slot).attempt.sections = (at + len as u64) as u32;
            (*slot).walk.dentry = up;
        }
    }
    GO_ON
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
    if at > LAST || len >= NAME_ROOM {
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

/// Looks the path up, root first: the filesystem's place, then the names below it.
#[inline(always)]
fn resolve(index: u32) {
    let _ = look_up(index, 0, 0);
    for _ in 0..MAX_MOUNT_DEPTH {
        if resolve_mount(index) != 0 {
            break;
        }
    }
    for _ in 0..(MAX_DEPTH / CHUNK as usize) {
        if resolve_names(index) != 0 {
            break;
        }
    }
}

/// Takes the sets of the path so far; `last` also those of the place alone.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn look_up(index: u32, component: u64, step: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if step != 0 {
            (*slot).walk.path = hash::path_step((*slot).walk.path, component, (*slot).walk.secret);
        }
        let key = PlaceKey { policy: u64::from((*slot).walk.policy), path: (*slot).walk.path };
        if let Some(place) = maps::PLACES.get(&key) {
            (*slot).walk.sets |= place.below;
            if (*slot).walk.depth == 0 && (*slot).walk.place.depth == 0 {
                (*slot).walk.sets |= place.exact;
            }
        }
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn resolve_mount(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        // Root first: what is taken is shifted out, so `depth` counts what is left.
        let left = core::ptr::read_volatile(&raw const (*slot).walk.place.depth) as usize;
        if left == 0 || left > MAX_MOUNT_DEPTH {
            return 1;
        }
        let component = (*slot).walk.place.hashes[(left - 1) & (MAX_MOUNT_DEPTH - 1)];
        (*slot).walk.place.depth = left as u32 - 1;
        look_up(index, component, 1);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn resolve_names(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    for _ in 0..CHUNK {
        // SAFETY: `slot` points to a whole map value.
        unsafe {
            let left = core::ptr::read_volatile(&raw const (*slot).walk.depth) as usize;
            if left == 0 || left > MAX_DEPTH {
                return 1;
            }
            let component = (*slot).walk.hashes[(left - 1) & (MAX_DEPTH - 1)];
            (*slot).walk.depth = left as u32 - 1;
            look_up(index, component, 1);
        }
    }
    0
}

/// Set in what `try_rule` returns once a rule, or the default, has decided.
const DECIDED: u64 = 1 << 63;

/// Deciding rule and first observe-mode rule that matched (16 bits each), effect (8), whether a refusal is
/// only observed (1).
#[inline(always)]
fn decision(effect: u8, rule: u16, would: u16, observes: bool) -> u64 {
    DECIDED | u64::from(observes) << 40 | u64::from(effect) << 32 | u64::from(would) << 16 | u64::from(rule)
}

/// Tries the rules in order.
#[inline(always)]
fn decide(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return decision(effect::DENY, NO_RULE, NO_RULE, false) };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).walk.index = 0;
        (*slot).walk.would = u32::from(NO_RULE);
    }
    for _ in 0..=MAX_RULES {
        let tried = try_rule(index);
        if tried != 0 {
            return tried;
        }
    }
    decision(effect::DENY, NO_RULE, NO_RULE, false)
}

/// Tries the next rule; 0 to go on. One rule a call, its number from memory: the verifier sees it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn try_rule(index: u32) -> u64 {
    let unsure = decision(effect::DENY, NO_RULE, NO_RULE, false);
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return unsure };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (action, sets, about, number, next, would) = unsafe {
        let walk = &raw const (*slot).walk;
        ((*walk).action, (*walk).sets, (*walk).about, (*walk).policy, (*walk).index, (*walk).would as u16)
    };
    let Some(policy) = maps::POLICIES.get(number) else { return unsure };
    let observes = policy.observe != 0;
    if next >= policy.count || next as usize >= MAX_RULES {
        // SAFETY: as above.
        unsafe { (*slot).attempt.generation = policy.generation };
        return decision(policy.default_effect, NO_RULE, would, observes);
    }
    // SAFETY: as above.
    unsafe { (*slot).walk.index = next + 1 };
    let rule = &policy.rules[next as usize & (MAX_RULES - 1)];
    if rule.actions & (1 << (action & 31)) == 0 {
        return 0;
    }
    let unknown = about & u32::from(pair::UNKNOWN) != 0;
    if rule.object != object::ANY {
        if unknown {
            if rule.observe != 0 {
                return 0;
            }
            // No rule that asks for a place can be answered: the policy says what then.
            return decision(policy.on_unknown, NO_RULE, would, observes);
        }
        if (rule.sets & sets != 0) != (rule.object == object::IN) {
            return 0;
        }
    }
    if rule.observe != 0 {
        // The first that matches, whatever its effect: an observing allow shields what follows.
        if would == NO_RULE {
            // SAFETY: as above.
            unsafe { (*slot).walk.would = next };
        }
        return 0;
    }
    // SAFETY: as above.
    unsafe { (*slot).attempt.generation = policy.generation };
    // A challenge cannot be held yet: it acts as its `otherwise`.
    let passes = rule.effect == effect::CHALLENGE && rule.otherwise_allow != 0;
    decision(rule.effect, next as u16, would, observes || passes)
}

#[inline(always)]
unsafe fn note(slot: *mut Slot, action: u8, what: u8, rule: u16, would: u16, refused: bool) {
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
        (*slot).attempt.pair[count & (MAX_PAIRS - 1)] = Pair { action, effect: what, flags, reserved: 0, rule, would };
        (*slot).attempt.pairs = count as u8 + 1;
    }
}

const _: () = assert!(size_of::<Filesystem>() % 8 == 0);
