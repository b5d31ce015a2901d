//! Rules: which of those offered are let through, and which decides.

use core::hint::black_box;

use aya_ebpf::maps::lpm_trie::Key;
use sensor_common::{
    action::Action,
    event::{NO_RULE, Slot, pair, program},
    guard::FIRST_RULE,
    table::{
        self, Candidate, LEVELS, MAX_ALWAYS, MAX_OFFERED, MAX_SETS, NETWORK_BITS, Policy, Rule, SET, effect, object,
    },
};

use crate::{answers::offer_answered, limits::come_to_limited, maps, watch::watch};

/// Of a walk's `best`: the policy's word on objects of unknown place decides.
const BY_UNKNOWN: u32 = NO_RULE as u32 - 1;

/// Rules per call of `consider_some`.
const CHUNK: u32 = 16;

pub struct Decision {
    pub effect: u8,
    pub rule: u16,
    /// The first observing rule that stands before the deciding one.
    pub would: u16,
    /// What the refused call returns; 0 for the usual.
    pub errno: u8,
    /// A refusal is only observed, or a challenge passes.
    passes: bool,
}

impl Decision {
    #[inline(always)]
    pub fn refuses(&self) -> bool {
        self.effect != effect::ALLOW && !self.passes
    }

    /// Allowed, and no rule that decides or observes spoke of it.
    #[inline(always)]
    pub fn is_silent(&self) -> bool {
        self.effect == effect::ALLOW && self.rule == NO_RULE && self.would == NO_RULE
    }
}

#[inline(always)]
pub fn rule_of(slot: *mut Slot, number: u32) -> Option<&'static Rule> {
    // SAFETY: `slot` points to a whole map value.
    let policy = maps::POLICIES.get(unsafe { (*slot).walk.policy })?;
    if number >= policy.count {
        return None;
    }
    maps::RULES.get(policy.rules + number)
}

/// Offers the candidates of a state or a network.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn offer_range(index: u32, first: u32, count: u32) -> u64 {
    for which in 0..MAX_OFFERED {
        if which >= black_box(count) {
            break;
        }
        consider(index, first + which);
    }
    0
}

/// Offers what the address is in.
#[inline(always)]
pub fn offer_network(index: u32) {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return };
    let mut data = [0; 20];
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        data[..4].copy_from_slice(&(*slot).walk.policy.to_be_bytes());
        data[4..].copy_from_slice(&(*slot).walk.address);
    }
    if let Some(range) = maps::NETWORKS.get(Key::new(NETWORK_BITS + 128, data)) {
        let (first, count) = (range.first, range.count);
        offer_range(index, first, count);
    }
    // SAFETY: as above.
    if maps::POLICIES.get(unsafe { (*slot).walk.policy }).is_some_and(|policy| policy.hosts != 0) {
        offer_answered(slot, index);
    }
}

/// A candidate is a set, which is entered, or a rule, which is offered.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn consider(index: u32, candidate: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let Some(candidate) = maps::CANDIDATES.get(candidate) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if (*slot).walk.about & u32::from(pair::ADDRESS) != 0
            && !speaks_of(candidate, (*slot).walk.port, (*slot).walk.protocol)
        {
            return 0;
        }
        if candidate.rule & SET != 0 {
            let set = (candidate.rule & !SET) as usize & (MAX_SETS - 1);
            (*slot).walk.sets[set / 64] |= 1 << (set % 64);
            return 0;
        }
    }
    offer(index, candidate.rule)
}

#[inline(always)]
fn speaks_of(candidate: &Candidate, port: u16, protocol: u16) -> bool {
    port >= candidate.low
        && port <= candidate.high
        && (candidate.protocol == 0 || candidate.protocol == u32::from(protocol))
}

/// Whether the walk has entered the set.
#[inline(always)]
fn is_in(slot: *mut Slot, set: u32) -> bool {
    let set = set as usize & (MAX_SETS - 1);
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.sets[set / 64] & (1 << (set % 64)) != 0 }
}

/// Whether the rule speaks of the program that acts. One that could not be told may be any.
#[inline(always)]
fn speaks_of_program(slot: *mut Slot, rule: &Rule) -> bool {
    // SAFETY: `slot` points to a whole map value.
    let about = unsafe { (*slot).walk.program as u8 };
    let inside = is_in(slot, rule.programs);
    match rule.program {
        table::program::ANY => true,
        _ if about & program::UNKNOWN != 0 => true,
        // What has no place is in no set.
        table::program::IN => inside,
        table::program::NOT_IN => !inside,
        _ => false,
    }
}

/// Whether the rule would have to know a program that could not be told.
#[inline(always)]
pub fn asks_program_in_vain(slot: *mut Slot, rule: &Rule) -> bool {
    // SAFETY: `slot` points to a whole map value.
    rule.program != table::program::ANY && unsafe { (*slot).walk.program } & u32::from(program::UNKNOWN) != 0
}

/// A rule whose object matches: if it speaks of the action, and the agent is as it wants, it counts.
#[inline(always)]
fn offer(index: u32, number: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let Some(rule) = rule_of(slot, number) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let walk = &raw mut (*slot).walk;
        if rule.actions & (1 << ((*walk).action & 31)) == 0
            || !rule.holds_for((*walk).labels, (*walk).risk, (*walk).facts)
            || !rule.takes_level((*walk).level)
            || !speaks_of_program(slot, rule)
        {
            return 0;
        }
        if rule.effect == effect::WATCH && asks_program_in_vain(slot, rule) {
            return watch_unknown(slot, number, rule);
        }
    }
    note(slot, number, rule);
    0
}

/// The rule matches: it holds, or its limit is to be asked.
#[inline(always)]
fn note(slot: *mut Slot, number: u32, rule: &Rule) {
    if rule.limit == 0 {
        take(slot, number, rule);
        return;
    }
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.limited |= 1 << ((rule.limit - 1) & 31) };
}

/// What the rule watches cannot be told to be this, or not: the policy's word on what is unknown goes for it as well.
#[inline(always)]
fn watch_unknown(slot: *mut Slot, number: u32, rule: &Rule) -> u64 {
    // SAFETY: `slot` points to a whole map value.
    let policy = maps::POLICIES.get(unsafe { (*slot).walk.policy });
    if policy.is_none_or(|policy| policy.on_unknown != effect::ALLOW) {
        note(slot, number, rule);
    }
    0
}

/// The rule holds: it watches, observes or decides.
#[inline(always)]
pub fn take(slot: *mut Slot, number: u32, rule: &Rule) {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let walk = &raw mut (*slot).walk;
        if rule.effect == effect::WATCH {
            (*walk).watched_labels |= rule.labels_set;
            watch(slot, number as u16);
        } else if rule.observe != 0 {
            if number < (*walk).would {
                (*walk).would = number;
            }
        } else if number < (*walk).best {
            (*walk).best = number;
        }
    }
}

/// Considers the next few of the rules that nothing offers; `unknown` is 1 where the object's place is.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn consider_some(index: u32, first: u32, count: u32, unknown: u32) -> u64 {
    for which in 0..CHUNK {
        if which >= black_box(count) {
            break;
        }
        if unknown != 0 {
            consider_unknown(index, first + which);
        } else {
            consider_always(index, first + which);
        }
    }
    0
}

/// A rule that the automaton does not offer: it asks nothing of the object, or that it lies outside of a set.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn consider_always(index: u32, candidate: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let Some(candidate) = maps::CANDIDATES.get(candidate) else { return 1 };
    let number = candidate.rule;
    let Some(rule) = rule_of(slot, number) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    let (about, action, which) = unsafe { ((*slot).walk.about as u8, (*slot).walk.action, (*slot).walk.which) };
    let outside = !is_in(slot, rule.set);
    let matches = match rule.object {
        object::ANY => true,
        object::NOT_IN if about & pair::NAMELESS != 0 => {
            action == Action::ProcExec as u32 || action == Action::FileMapExec as u32
        }
        object::IN_SET => !outside && about & (pair::NAMELESS | pair::BARE | pair::ADDRESS) == 0,
        object::TO_SET => !outside && about & pair::ADDRESS != 0,
        object::NOT_IN => outside && about & (pair::BARE | pair::ADDRESS) == 0,
        object::NOT_TO => outside && about & pair::ADDRESS != 0,
        object::WRITTEN => about & pair::WRITTEN != 0,
        object::NOT_WRITTEN => about & (pair::WRITTEN | pair::BARE | pair::ADDRESS) == 0,
        object::AMONG | object::NOT_AMONG => rule.speaks_of_number(which),
        _ => false,
    };
    if matches { offer(index, number) } else { 0 }
}

/// The object's place is unknown: the first rule that would have to know it leaves the verdict to the policy.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn consider_unknown(index: u32, candidate: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    let Some(candidate) = maps::CANDIDATES.get(candidate) else { return 1 };
    let number = candidate.rule;
    let Some(rule) = rule_of(slot, number) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let walk = &raw mut (*slot).walk;
        // Once decided, only what watches is still looked for.
        if (*walk).best != u32::from(NO_RULE) && rule.effect != effect::WATCH {
            return 0;
        }
        // What is noted as written is so wherever it lies; what is not may have been, below a mount made since.
        let written = (*walk).about & u32::from(pair::WRITTEN) != 0;
        let needs_no_place = rule.object == object::ANY || rule.object == object::WRITTEN && written;
        if needs_no_place && rule.levels == 0 {
            return offer(index, number);
        }
        if rule.object == object::NOT_WRITTEN && written {
            return 0;
        }
        // Wherever a unix socket lies, it is no address.
        let socket = (*walk).about & u32::from(pair::UNIX) != 0;
        if socket && matches!(rule.object, object::TO | object::NOT_TO | object::TO_SET) {
            return 0;
        }
        if !rule.holds_for((*walk).labels, (*walk).risk, (*walk).facts) || !speaks_of_program(slot, rule) {
            return 0;
        }
        if rule.effect == effect::WATCH {
            return watch_unknown(slot, number, rule);
        }
        if rule.observe != 0 {
            if number < (*walk).would {
                (*walk).would = number;
            }
        } else {
            (*walk).best = BY_UNKNOWN;
        }
    }
    0
}

/// The guard's rule decides, given as its word.
#[inline(always)]
pub fn guarded(slot: *mut Slot, word: u32) -> Decision {
    // SAFETY: `slot` points to a whole map value.
    let policy = maps::POLICIES.get(unsafe { (*slot).walk.policy });
    let passes = policy.is_some_and(|policy| policy.observe != 0);
    Decision { effect: effect::DENY, rule: FIRST_RULE + (word as u16 - 1), would: NO_RULE, errno: 0, passes }
}

/// How sensitive the object is, by the sets that it was found to be in.
#[inline(always)]
fn level_of(slot: *mut Slot, policy: &Policy) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    let about = unsafe { (*slot).walk.about as u8 };
    if about & (pair::NAMELESS | pair::BARE) != 0 {
        return 0;
    }
    let sets = if about & pair::ADDRESS != 0 { &policy.level_addresses } else { &policy.level_places };
    for level in (1..LEVELS).rev() {
        if sets[level] != 0 && is_in(slot, u32::from(sets[level]).wrapping_sub(1)) {
            return 1 << level;
        }
    }
    1
}

/// Decides by what was offered, and by the rules that nothing offers.
#[inline(always)]
pub fn decide(index: u32) -> Decision {
    let unsure = Decision { effect: effect::DENY, rule: NO_RULE, would: NO_RULE, errno: 0, passes: false };
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return unsure };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (number, action, about) = unsafe { ((*slot).walk.policy, (*slot).walk.action, (*slot).walk.about) };
    let Some(policy) = maps::POLICIES.get(number) else { return unsure };
    let unknown = about & u32::from(pair::UNKNOWN) != 0;
    if unknown {
        // What the automaton offered before it gave up may be wrong.
        // SAFETY: as above.
        unsafe {
            (*slot).walk.best = u32::from(NO_RULE);
            (*slot).walk.would = u32::from(NO_RULE);
            (*slot).walk.limited = 0;
        }
    }
    if !unknown && policy.leveled & (1 << (action & 31)) != 0 {
        // SAFETY: as above.
        unsafe { (*slot).walk.level = level_of(slot, policy) };
    }
    let ranges = if unknown { &policy.unknown } else { &policy.always };
    let range = ranges[(action & 31) as usize];
    for chunk in 0..MAX_ALWAYS / CHUNK {
        let done = chunk * CHUNK;
        if done >= black_box(range.count) {
            break;
        }
        consider_some(index, range.first + done, range.count - done, u32::from(unknown));
    }
    // SAFETY: as above.
    if unsafe { core::ptr::read_volatile(&raw const (*slot).walk.limited) } != 0 {
        come_to_limited(index);
    }
    // SAFETY: as above.
    let (best, would) = unsafe {
        (
            core::ptr::read_volatile(&raw const (*slot).walk.best),
            core::ptr::read_volatile(&raw const (*slot).walk.would),
        )
    };
    // One that stands behind the deciding rule was never come to.
    let would = if would < best || best == BY_UNKNOWN { would as u16 } else { NO_RULE };
    let observes = policy.observe != 0;
    if best == BY_UNKNOWN {
        return Decision { effect: policy.on_unknown, rule: NO_RULE, would, errno: 0, passes: observes };
    }
    if best == u32::from(NO_RULE) && unknown && policy.unasked & (1 << (action & 31)) != 0 {
        return Decision { effect: policy.on_unknown, rule: NO_RULE, would, errno: 0, passes: observes };
    }
    if best == u32::from(NO_RULE) {
        return Decision { effect: policy.default_effect, rule: NO_RULE, would, errno: 0, passes: observes };
    }
    let Some(rule) = rule_of(slot, best) else { return unsure };
    if asks_program_in_vain(slot, rule) {
        // SAFETY: as above.
        unsafe {
            (*slot).walk.best = BY_UNKNOWN;
            (*slot).walk.program |= u32::from(program::DECIDES);
        }
        return Decision { effect: policy.on_unknown, rule: NO_RULE, would, errno: 0, passes: observes };
    }
    // A challenge cannot be held yet: it acts as its `otherwise`.
    let passes = rule.effect == effect::CHALLENGE && rule.otherwise_allow != 0;
    Decision { effect: rule.effect, rule: best as u16, would, errno: rule.errno, passes: observes || passes }
}
