//! What a hook finds, pair by pair: judged, noted once, each with its object's section.

use aya_ebpf::{EbpfContext as _, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::{MAX_PAIRS, NO_RULE, Pair, Slot, pair, section},
    guard::kind,
    table::effect,
};

use crate::{
    guard,
    judge::{GUARD_ALONE, REFUSALS_ALONE, judge, judge_abstract, judge_without_place},
    kernel::{off, read, read_kernel_str},
    maps,
    program::see_program,
    section::{header, used},
    walk::{HEADER, LAST, NAME_ROOM},
    watch,
};

const NO_PLACE: u32 = u32::MAX;

/// A superblock that the kernel mounts for itself: memfd, pipes, sockets.
const SB_KERNMOUNT: u64 = 1 << 22;

/// Argument number `index` of a hook.
#[inline(always)]
pub fn word(ctx: &LsmContext, index: usize) -> u64 {
    // SAFETY: a hook's context is an array of its arguments as words; the verifier knows how many.
    unsafe { ctx.as_ptr().cast::<u64>().add(index).read() }
}

/// Likewise, of one that may be null. The verifier takes a hook's pointers for never null where the kernel does not
/// say otherwise, and drops the test for it: what is read by a helper is a number to it.
#[inline(always)]
pub fn nullable(ctx: &LsmContext, index: u64) -> u64 {
    read::<u64>(ctx.as_ptr() as u64 + index * 8).unwrap_or(0)
}

/// Judges an action on the object that `dentry` is. 1: refuse it.
#[inline(always)]
pub fn placed(slot: *mut Slot, index: u32, action: Action, dentry: u64) -> u32 {
    see_program(index, action as u32);
    // SAFETY: `slot` points to a whole map value. A function that is verified once takes no pointers.
    unsafe { (*slot).walk.dentry = dentry };
    judge_placed(index, action as u32) as u32
}

/// Likewise, where only what the guard says of the place counts.
#[inline(always)]
pub fn guarded_place(slot: *mut Slot, index: u32, action: Action, dentry: u64) -> u32 {
    // SAFETY: as in `placed`.
    unsafe { (*slot).walk.dentry = dentry };
    judge_placed(index, action as u32 | GUARD_ALONE) as u32
}

/// Likewise, of an action without a place.
#[inline(always)]
pub fn unplaced(index: u32, action: Action, about: u8) -> u32 {
    see_program(index, action as u32);
    judge_unplaced(index, action as u32, u32::from(about)) as u32
}

/// Likewise, of one whose object is looked at by a later hook: nothing is noted but a refusal.
#[inline(always)]
pub fn beforehand(index: u32, action: Action) -> u32 {
    see_program(index, action as u32);
    judge_unplaced(index, action as u32, u32::from(pair::BARE) | REFUSALS_ALONE) as u32
}

/// An action that breaks a rule of the guard, and has no place; 0 leaves it to the policy.
#[inline(always)]
pub fn guarded(slot: *mut Slot, index: u32, action: Action, rule: u32) -> u32 {
    guard::expect(slot, rule);
    unplaced(index, action, pair::BARE)
}

/// Judges an action on a signal or a capability, as `Walk::which` has it; `how` is 0 or `SPOKEN_OF_ALONE`.
#[inline(always)]
pub fn numbered(slot: *mut Slot, index: u32, action: Action, which: u32, how: u32) -> u32 {
    see_program(index, action as u32);
    // SAFETY: `slot` points to a whole map value. Functions that are verified once take what they took before.
    unsafe { (*slot).walk.which = which };
    judge_unplaced(index, action as u32, u32::from(pair::BARE) | how) as u32
}

/// Judges an action on a file's object, or says that it has no place.
#[inline(always)]
pub fn on_file(slot: *mut Slot, index: u32, action: Action, dentry: u64) -> u32 {
    if has_place(dentry) {
        return placed(slot, index, action, dentry);
    }
    // SAFETY: as in `placed`.
    unsafe { (*slot).walk.dentry = dentry };
    unplaced(index, action, pair::NAMELESS)
}

/// What is written, made and removed in a filesystem of cgroups moves tasks, or sets what they may use.
#[inline(always)]
pub fn of_cgroups(slot: *mut Slot, index: u32, dentry: u64) -> u32 {
    match guard::kind_at(dentry) {
        kind::CGROUP1 | kind::CGROUP2 => placed(slot, index, Action::SysCgroup, dentry),
        _ => 0,
    }
}

/// Judges an action on the place that a `struct path` leads to.
#[inline(always)]
pub fn on_path(slot: *mut Slot, index: u32, action: Action, path: u64) -> u32 {
    match read::<u64>(path + off::off_path_dentry()) {
        Some(dentry) => placed(slot, index, action, dentry),
        None => 1,
    }
}

#[inline(always)]
pub fn superblock_flags(dentry: u64) -> u64 {
    read::<u64>(dentry + off::off_dentry_sb())
        .and_then(|superblock| read::<u64>(superblock + off::off_sb_flags()))
        .unwrap_or(0)
}

/// tracefs and its like are mounted by the kernel first, and by others as well.
#[inline(always)]
pub fn has_place(dentry: u64) -> bool {
    superblock_flags(dentry) & SB_KERNMOUNT == 0 || guard::kind_at(dentry) != 0
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn judge_placed(index: u32, action: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    let dentry = unsafe { (*slot).walk.dentry };
    let (pairs, sections) = before(slot);
    let refused = judge(slot, index, action, dentry);
    settle(slot, pairs, sections, dentry);
    u64::from(refused)
}

#[unsafe(no_mangle)]
#[inline(never)]
pub fn judge_unplaced(index: u32, action: u32, about: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    let dentry = unsafe { (*slot).walk.dentry };
    let (pairs, sections) = before(slot);
    let refused = judge_without_place(slot, index, action as u8, about);
    // SAFETY: as above.
    let which = unsafe { core::mem::take(&mut (*slot).walk.which) };
    if about & u32::from(pair::NAMELESS) != 0 {
        bare_name(slot, dentry);
        settle(slot, pairs, sections, dentry);
    } else {
        number(slot, which);
        if about & u32::from(pair::ADDRESS) != 0 {
            address(slot);
        }
        settle(slot, pairs, sections, u64::from(which));
    }
    u64::from(refused)
}

/// Shortest address of a unix socket that has an abstract name: its family, and the NUL before the name.
const BEFORE_ABSTRACT: u32 = 3;

/// Judges an action on the unix socket at `walk.first`, which has no file. Without a name no rule that asks for one
/// speaks of it.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn judge_abstract_socket(index: u32, action: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value.
    let sock = unsafe { (*slot).walk.first };
    let address = read::<u64>(sock + off::off_unix_address()).unwrap_or(0);
    let length = read::<u32>(address + off::off_unix_address_len()).unwrap_or(0);
    let (pairs, sections) = before(slot);
    let refused = if length < BEFORE_ABSTRACT {
        judge_without_place(slot, index, action as u8, u32::from(pair::BARE))
    } else {
        let name = address + off::off_unix_address_name() + u64::from(BEFORE_ABSTRACT);
        judge_abstract(slot, index, action as u8, name, length - BEFORE_ABSTRACT)
    };
    settle(slot, pairs, sections, sock);
    u64::from(refused)
}

#[inline(always)]
fn pairs(slot: *mut Slot) -> u32 {
    // SAFETY: `slot` points to a whole map value. Volatile: the bound is tested on the value that is used.
    u32::from(unsafe { core::ptr::read_volatile(&raw const (*slot).attempt.pairs) })
}

/// Pair number `at`.
#[inline(always)]
fn pair_at(slot: *mut Slot, at: u32) -> Pair {
    // SAFETY: `slot` points to a whole map value, and the mask keeps the index within the array.
    unsafe { (*slot).attempt.pair[at as usize & (MAX_PAIRS - 1)] }
}

/// Takes the last pair and its section back.
#[inline(always)]
fn take_back(slot: *mut Slot, pairs: u32, sections: u64) {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        (*slot).attempt.pairs = pairs as u8;
        (*slot).attempt.sections = sections as u32;
    }
}

/// How many pairs there are, and where the sections end. A ninth takes the place of an eighth that was allowed.
#[inline(always)]
fn before(slot: *mut Slot) -> (u32, u64) {
    let count = pairs(slot);
    if count >= MAX_PAIRS as u32 && pair_at(slot, count - 1).effect == effect::ALLOW {
        // SAFETY: `slot` points to a whole map value.
        take_back(slot, count - 1, u64::from(unsafe { (*slot).walk.before }));
    }
    (pairs(slot), used(slot))
}

/// Gives a new pair its section, or drops what the last one said already.
#[inline(always)]
fn settle(slot: *mut Slot, pairs_before: u32, sections: u64, object: u64) {
    let count = pairs(slot);
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        if count == pairs_before {
            (*slot).attempt.sections = sections as u32;
            return;
        }
        if pairs_before != 0 && (*slot).walk.object == object {
            let (last, new) = (pair_at(slot, pairs_before - 1), pair_at(slot, pairs_before));
            let same = last.action == new.action
                && last.effect == new.effect
                && last.flags == new.flags
                && last.rule == new.rule
                && last.would == new.would;
            if same {
                take_back(slot, pairs_before, sections);
                return;
            }
        }
        if used(slot) == sections {
            no_object(slot);
        }
        watch::tell_watching(slot);
        (*slot).walk.before = sections as u32;
        (*slot).walk.object = object;
        (*slot).walk.judged |= 1 << (u32::from(pair_at(slot, count - 1).action) & 31);
    }
}

/// An empty section: pairs and sections correspond by position.
#[inline(always)]
fn no_object(slot: *mut Slot) {
    let at = used(slot);
    // Eight of these fit behind the last that anything else may begin.
    if at <= LAST + NAME_ROOM {
        // SAFETY: the header lies within the area, by the test above.
        unsafe {
            header((&raw mut (*slot).area).cast::<u8>().add(at as usize), section::OBJECT, 0);
            (*slot).attempt.sections = at as u32 + 4;
        }
    }
}

/// The name that a thing without a place goes by.
#[inline(always)]
fn bare_name(slot: *mut Slot, dentry: u64) {
    let at = used(slot);
    if at > LAST {
        return;
    }
    let Some(name) = read::<u64>(dentry + off::off_dentry_name()) else { return };
    // SAFETY: header and name lie within the area, by the test above.
    unsafe {
        let begin = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        let len = read_kernel_str(begin.add(HEADER as usize), NAME_ROOM as u32, name);
        if len <= 0 || len > NAME_ROOM as i64 {
            return;
        }
        header(begin, section::OBJECT, (len + 4) as u16);
        begin.add(4).cast::<u32>().write_unaligned(NO_PLACE);
        (*slot).attempt.sections = (at + HEADER + len as u64) as u32;
    }
}

/// Which signal or capability a pair is about, if it is about one.
#[inline(always)]
fn number(slot: *mut Slot, which: u32) {
    let at = used(slot);
    if which == 0 || at > LAST {
        return;
    }
    // SAFETY: twelve bytes lie within the area, by the test above.
    unsafe {
        let begin = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        header(begin, section::OBJECT, 8);
        begin.add(4).cast::<u32>().write_unaligned(section::NUMBERED);
        begin.add(8).cast::<u32>().write_unaligned(which);
        (*slot).attempt.sections = at as u32 + 12;
    }
}

/// Whom a pair reaches.
#[inline(always)]
fn address(slot: *mut Slot) {
    let at = used(slot);
    if at > LAST {
        return;
    }
    // SAFETY: 28 bytes lie within the area, by the test above.
    unsafe {
        let begin = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        header(begin, section::OBJECT, 24);
        begin.add(4).cast::<u32>().write_unaligned(section::ADDRESSED);
        let address = (&raw const (*slot).walk.address).cast::<[u64; 2]>().read_unaligned();
        begin.add(8).cast::<[u64; 2]>().write_unaligned(address);
        begin.add(24).cast::<u32>().write_unaligned(u32::from((*slot).walk.port));
        (*slot).attempt.sections = at as u32 + 28;
    }
}

/// Forgets the last pair if `action` was all it was about and `forget` says so of it.
#[inline(always)]
fn forget_last(slot: *mut Slot, action: Action, forget: impl FnOnce(Pair) -> bool) {
    let count = pairs(slot);
    if count == 0 || count > MAX_PAIRS as u32 {
        return;
    }
    let last = pair_at(slot, count - 1);
    if last.action == action as u8 && forget(last) {
        // SAFETY: `slot` points to a whole map value.
        take_back(slot, count - 1, u64::from(unsafe { (*slot).walk.before }));
    }
}

/// The file was there already: making it was asked about and not needed.
#[inline(always)]
pub fn forget_creation(slot: *mut Slot) {
    forget(slot, Action::FileCreate);
}

/// It is told elsewhere, or it is not at all.
#[inline(always)]
pub fn forget(slot: *mut Slot, action: Action) {
    forget_last(slot, action, |_| true);
}

/// What no rule speaks of is not told.
#[inline(always)]
pub fn forget_default(slot: *mut Slot, action: Action) {
    forget_last(slot, action, |last| last.effect == effect::ALLOW && last.rule == NO_RULE && last.would == NO_RULE);
}

/// Whether the attempt has been judged for the action already: filesystems that lie over others ask again.
#[inline(always)]
pub fn judged_before(slot: *mut Slot, action: Action) -> bool {
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.judged & action.bit() != 0 }
}
