//! Limits: rules that hold within so many attempts, bytes or distinct objects, or beyond them.
//!
//! Matching ones are noted in the walk and counted at the end, in the policy's order, for an attempt counts only where
//! the search comes to the rule.

use aya_ebpf::helpers::generated::bpf_ktime_get_boot_ns;
use sensor_common::{
    event::{COUNTED_ALREADY, Fault, MAX_DEPTH, Slot, UNCOUNTABLE, UNCOUNTED, pair},
    table::{CountKey, Limit, MAX_LIMITS, counted, effect},
};

use crate::{
    emit::{self, SECOND},
    kernel::add,
    maps,
    rules::{self, asks_program_in_vain, rule_of},
    turn,
};

/// Of the kernel's map update: fail if the key is there.
const NO_EXIST: u64 = 1;
const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;
/// What has no place, address or number is one object.
const NO_OBJECT: u64 = 1;

/// Comes to the rules whose limits are noted in the walk.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn come_to_limited(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    for which in 0..MAX_LIMITS as u32 {
        // SAFETY: `slot` points to a whole map value.
        if unsafe { core::ptr::read_volatile(&raw const (*slot).walk.limited) } >> which == 0 {
            break;
        }
        come_to(index, which);
    }
    0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn come_to(index: u32, which: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let which = which & (MAX_LIMITS as u32 - 1);
    // SAFETY: `slot` points to a whole map value, here and below.
    let (noted, policy, best) = unsafe { ((*slot).walk.limited, (*slot).walk.policy, (*slot).walk.best) };
    if noted & (1 << which) == 0 {
        return 0;
    }
    let Some(policy) = maps::POLICIES.get(policy) else { return 1 };
    let limit = &policy.limits[which as usize];
    let number = u32::from(limit.rule);
    let Some(rule) = rule_of(slot, number) else { return 1 };
    let watches = rule.effect == effect::WATCH;
    // The search ended before it.
    if number > best && !watches {
        return 0;
    }
    // One that would have to know the program leaves it to the policy's word on what is unknown.
    let in_vain = !watches && rule.observe == 0 && asks_program_in_vain(slot, rule);
    if in_vain || holds(slot, limit, rule.effect) {
        rules::take(slot, number, rule);
    }
    0
}

/// Counts the attempt. Whether the rule holds of it; where that cannot be told, whether it does not allow.
#[inline(always)]
fn holds(slot: *mut Slot, limit: &Limit, effect: u8) -> bool {
    match exceeds(slot, limit) {
        Some(exceeds) => exceeds == (limit.beyond != 0),
        None => effect != effect::ALLOW,
    }
}

#[inline(always)]
fn exceeds(slot: *mut Slot, limit: &Limit) -> Option<bool> {
    // SAFETY: `slot` points to a whole map value.
    let (agent, amount) = unsafe { ((*slot).attempt.head.agent, (*slot).walk.amount) };
    // While two daemons' programs judge, those that make the records count, and may have done so just before.
    let amount = match (turn::is_ours(), turn::is_over()) {
        (true, _) => amount,
        (_, true) => COUNTED_ALREADY,
        _ => UNCOUNTED,
    };
    let window = match limit.seconds {
        0 => 0,
        // SAFETY: takes nothing.
        seconds => (unsafe { bpf_ktime_get_boot_ns() } / SECOND / u64::from(seconds)) as u32,
    };
    let key = CountKey { limit: limit.id, object: 0, agent, window, seconds: limit.seconds, reserved: 0 };
    match (limit.of, amount) {
        (counted::OBJECTS, _) => meets_too_many(slot, limit, &key, amount == UNCOUNTED || amount == COUNTED_ALREADY),
        (_, UNCOUNTED) => Some(standing(&key) >= limit.most),
        (_, COUNTED_ALREADY) => Some(standing(&key) > limit.most),
        (_, UNCOUNTABLE) => None,
        (counted::BYTES, amount) => Some(counted_to(&key, amount)? > limit.most),
        _ => Some(counted_to(&key, 1)? > limit.most),
    }
}

/// Whether the object is one too many.
#[inline(always)]
fn meets_too_many(slot: *mut Slot, limit: &Limit, key: &CountKey, uncounted: bool) -> Option<bool> {
    let met = CountKey { object: object_of(slot)?, ..*key };
    if is_there(&met) {
        return Some(false);
    }
    let full = standing(key) >= limit.most;
    if full || uncounted {
        return Some(full);
    }
    // Counted before it is noted: of two at once none is noted beyond the limit.
    if counted_to(key, 1)? > limit.most {
        return Some(true);
    }
    if maps::COUNTED.insert(&met, &0, NO_EXIST).is_ok() {
        return Some(false);
    }
    if let (true, Some(count)) = (is_there(&met), maps::COUNTED.get_ptr_mut(key)) {
        // Another has met it in between: it counts once.
        add(count, u64::MAX);
        return Some(false);
    }
    emit::fault(Fault::CountsFull);
    None
}

#[inline(always)]
fn is_there(key: &CountKey) -> bool {
    // SAFETY: only whether it is there is asked.
    unsafe { maps::COUNTED.get(key) }.is_some()
}

#[inline(always)]
fn standing(key: &CountKey) -> u64 {
    // SAFETY: the value is read at once.
    unsafe { maps::COUNTED.get(key) }.map_or(0, |count| *count)
}

/// Adds, and says where the count stands then, at the least; none where there is no room for it.
#[inline(always)]
fn counted_to(key: &CountKey, amount: u64) -> Option<u64> {
    if !is_there(key) {
        // Another may have put it there in between.
        let _ = maps::COUNTED.insert(key, &0, NO_EXIST);
    }
    let Some(count) = maps::COUNTED.get_ptr_mut(key) else {
        emit::fault(Fault::CountsFull);
        return None;
    };
    add(count, amount);
    // SAFETY: a pointer into a map value.
    Some(unsafe { core::ptr::read_volatile(count) })
}

/// What tells the object from others; none where it cannot be told.
#[inline(always)]
fn object_of(slot: *mut Slot) -> Option<u64> {
    // SAFETY: `slot` points to a whole map value.
    let walk = unsafe { &raw const (*slot).walk };
    // SAFETY: as above.
    unsafe {
        let about = (*walk).about as u8;
        if about & pair::UNKNOWN != 0 {
            return None;
        }
        if about & pair::ADDRESS != 0 {
            let words = (&raw const (*walk).address).cast::<[u64; 2]>().read_unaligned();
            let port = u64::from((*walk).port) | u64::from((*walk).protocol) << 16;
            return Some(folded(folded(folded((*walk).secret.seed, words[0]), words[1]), port) | 2);
        }
        match ((*walk).which, (*walk).place) {
            (0, 0) => Some(NO_OBJECT),
            (0, place) => Some(place),
            (which, _) => Some(u64::from(which) << 2),
        }
    }
}

#[inline(always)]
fn folded(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(PRIME)
}

/// Notes the place that the walk has come to, before its names are taken, where a limit counts objects.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn note_place(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value, here and below.
    let mut hash = unsafe { folded(0, (*slot).walk.root) };
    for which in 0..MAX_DEPTH {
        // SAFETY: as above.
        unsafe {
            if which as u32 >= core::ptr::read_volatile(&raw const (*slot).walk.depth) {
                break;
            }
            hash = folded(hash, (*slot).walk.hashes[which]);
        }
    }
    // SAFETY: as above.
    unsafe { (*slot).walk.place = hash | 2 };
    0
}
