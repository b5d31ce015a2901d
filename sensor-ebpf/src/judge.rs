//! The verdict: every hook comes through `judge`, or through `judge_without_place`.
//!
//! The object's true name (`walk.rs`) is walked from its dentry to its filesystem's root, never asked of the process;
//! the filesystem's place comes from what the daemon registered. `automaton.rs` then takes the names root
//! first, and `rules.rs` decides.

use sensor_common::{
    action::Action,
    event::{Fault, Governed, MAX_DEPTH, MAX_PAIRS, NO_RULE, Pair, Slot, UNCOUNTED, pair},
    table::{ABSTRACT, Policy, Rule},
};

use crate::{
    automaton, emit,
    guard::{self, guard_place},
    kernel::{off, read},
    maps, rules,
    slot::DENIED,
    walk::{hash_name, take_name, walk},
    watch,
    written::is_written,
};

/// Beside `pair::*` bits, of an object whose name is looked at later: only a refusal counts by now.
pub const REFUSALS_ALONE: u32 = 0x100;

/// Likewise, of what the kernel does at every turn: only what a rule speaks of counts.
pub const SPOKEN_OF_ALONE: u32 = 0x200;

/// Beside an action's number: the guard alone speaks of it, and no policy does.
pub const GUARD_ALONE: u32 = 0x100;

/// What a place is to an action: the network's are unix sockets.
#[inline(always)]
fn about_place(action: u8) -> u8 {
    let of_network = action == Action::NetConnect as u8 || action == Action::NetSend as u8;
    if of_network { pair::UNIX } else { 0 }
}

/// Judges one action on the object that `dentry` is; `action` may have `GUARD_ALONE` beside it. 1: refuse it.
#[inline(always)]
pub fn judge(slot: *mut Slot, index: u32, action: u32, dentry: u64) -> u32 {
    let given = guard::taken(slot);
    let alone = action & GUARD_ALONE != 0;
    let action = action as u8;
    let Some(observe) = begin(slot, action, about_place(action)) else { return 0 };
    // SAFETY: `slot` points to a whole map value, here and below.
    unsafe {
        (*slot).walk.dentry = dentry;
        (*slot).walk.first = dentry;
        (*slot).walk.depth = 0;
        see_written(slot, dentry);
        let placed = walk(slot, index);
        let by_place = |kind: u32| if kind != 0 { guard_place(index) as u32 } else { 0 };
        let rule = match given {
            0 => match by_place((*slot).walk.kind) {
                0 => guard::of_what_is_below(action, dentry),
                found => found,
            },
            given => given,
        };
        let rule = in_force(slot, rule);
        if rule == 0 {
            if alone {
                return 0;
            }
            if placed {
                automaton::run(slot, index, 0);
            } else {
                (*slot).walk.about |= u32::from(pair::UNKNOWN);
            }
        }
        verdict(index, u32::from(action), u32::from(observe), rule) as u32
    }
}

/// Judges one action on the abstract unix socket whose name is the `len` bytes at `name`. 1: refuse it.
#[inline(always)]
pub fn judge_abstract(slot: *mut Slot, index: u32, action: u8, name: u64, len: u32) -> u32 {
    let given = guard::taken(slot);
    let Some(observe) = begin(slot, action, pair::UNIX) else { return 0 };
    let taken = take_name(slot, index, name, len);
    let rule = in_force(slot, given);
    if rule == 0 {
        if taken {
            automaton::run(slot, index, ABSTRACT);
        } else {
            // SAFETY: `slot` points to a whole map value.
            unsafe { (*slot).walk.about |= u32::from(pair::UNKNOWN) };
        }
    }
    verdict(index, u32::from(action), u32::from(observe), rule) as u32
}

/// Judges one action that has no place: `about` says what kind of object there is instead. 1: refuse it.
#[inline(always)]
pub fn judge_without_place(slot: *mut Slot, index: u32, action: u8, about: u32) -> u32 {
    let given = guard::taken(slot);
    let alone = about & (REFUSALS_ALONE | SPOKEN_OF_ALONE);
    let about = about as u8;
    // What has no name is told from nothing that the agent has written.
    let about = if about & pair::NAMELESS != 0 { about | pair::WRITTEN } else { about };
    let Some(observe) = begin(slot, action, about) else { return 0 };
    if alone & REFUSALS_ALONE != 0 {
        // The hook that comes to know the name counts it.
        // SAFETY: `slot` points to a whole map value.
        unsafe { (*slot).walk.amount = UNCOUNTED };
    }
    let rule = in_force(slot, given);
    if about & pair::ADDRESS != 0 && rule == 0 {
        rules::offer_network(index);
    }
    verdict(index, u32::from(action), u32::from(observe) | alone, rule) as u32
}

/// Judges one action on the names that the slot holds already, for tests.
#[inline(always)]
pub fn judge_given(slot: *mut Slot, index: u32, action: u8, about: u8) -> u32 {
    if about & !(pair::WRITTEN | pair::UNIX) != 0 {
        return judge_without_place(slot, index, action, u32::from(about));
    }
    let from = if about & pair::UNIX != 0 { ABSTRACT } else { 0 };
    let Some(observe) = begin(slot, action, about | about_place(action)) else { return 0 };
    hash_all_given(slot, index);
    automaton::run(slot, index, from);
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

/// How the agent stands, once the attempt has its policy, which it keeps; nothing where none judges it.
#[inline(always)]
fn governed(slot: *mut Slot) -> Option<&'static Governed> {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let governed = maps::GOVERNED.get((*slot).attempt.head.agent)?;
        if governed.policy == 0 {
            return None;
        }
        if (*slot).attempt.generation == 0 {
            let number = governed.policy - 1;
            (*slot).walk.policy = number;
            (*slot).attempt.generation = maps::POLICIES.get(number)?.generation;
        }
        Some(governed)
    }
}

/// The policy that judges the slot's attempt.
#[inline(always)]
pub fn policy_of(slot: *mut Slot) -> Option<&'static Policy> {
    governed(slot)?;
    // SAFETY: `slot` points to a whole map value.
    maps::POLICIES.get(unsafe { (*slot).walk.policy })
}

/// Whether some rule asks where this action's object lies.
#[inline(always)]
pub fn asks_for_places(slot: *mut Slot, action: Action) -> bool {
    policy_of(slot).is_some_and(|policy| policy.walks & action.bit() != 0)
}

/// Sets a judgement up; whether the agent is only observed, or nothing where no policy judges it.
#[inline(always)]
fn begin(slot: *mut Slot, action: u8, about: u8) -> Option<bool> {
    let governed = governed(slot)?;
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let walk = &raw mut (*slot).walk;
        (*walk).secret = *maps::SECRET.get(0)?;
        (*walk).action = u32::from(action);
        (*walk).about = u32::from(about);
        (*walk).best = u32::from(NO_RULE);
        (*walk).would = u32::from(NO_RULE);
        (*walk).watched = 0;
        (*walk).watched_labels = 0;
        (*walk).limited = 0;
        (*walk).level = 0;
        (*walk).place = 0;
        (*walk).amount = if action == Action::NetSend as u8 { (*walk).sent } else { 0 };
        (*walk).facts = governed.facts;
        (*walk).risk = governed.risk;
        (*walk).labels = Governed::label_bits(&governed.labels);
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
/// `how` is 1 where the agent is only observed, beside `REFUSALS_ALONE` and `SPOKEN_OF_ALONE`.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn verdict(index: u32, action: u32, how: u32, guard: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let decision = match guard {
        0 => rules::decide(index),
        rule => rules::guarded(slot, rule),
    };
    let refused = decision.refuses() && how & 1 == 0;
    if !refused && how & REFUSALS_ALONE != 0 {
        return 0;
    }
    // SAFETY: `slot` points to a whole map value.
    if how & SPOKEN_OF_ALONE != 0 && decision.is_silent() && unsafe { (*slot).walk.watched } == 0 {
        return 0;
    }
    // SAFETY: `slot` points to a whole map value.
    unsafe { note(slot, action as u8, &decision, refused) };
    if refused {
        // SAFETY: as above.
        unsafe { refuse_with(slot, decision.errno) };
    } else {
        watch::consequences(index);
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
