//! Rules that watch, and what follows from a verdict.

use core::hint::black_box;

use sensor_common::{
    event::{Fault, SECTION_ROOM, Slot, section},
    table::{MAX_LABELS, MAX_WATCHED},
};

use crate::{
    emit, maps,
    rules::rule_of,
    section::{header, used},
};

/// How much may be used of the area for a section of watching rules still to fit.
const ROOM: u64 = (SECTION_ROOM - (6 + 2 * MAX_WATCHED)) as u64;

/// Notes a watching rule, once.
#[inline(always)]
pub unsafe fn watch(slot: *mut Slot, number: u16) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        let count = core::ptr::read_volatile(&raw const (*slot).walk.watched) as usize;
        for which in 0..MAX_WATCHED {
            if which >= black_box(count) {
                break;
            }
            if (*slot).walk.watching[which] == number {
                return;
            }
        }
        if count >= MAX_WATCHED {
            emit::fault(Fault::SectionsFull);
            return;
        }
        (*slot).walk.watching[count & (MAX_WATCHED - 1)] = number;
        (*slot).walk.watched = count as u32 + 1;
    }
}

/// Tells the daemon which watching rules matched the pair just noted.
#[inline(always)]
pub unsafe fn tell_watching(slot: *mut Slot) {
    // SAFETY: the caller's `slot` points to a whole map value.
    unsafe {
        let count = core::ptr::read_volatile(&raw const (*slot).walk.watched) as u64;
        let at = used(slot);
        if count == 0 || count > MAX_WATCHED as u64 {
            return;
        }
        if at > ROOM {
            emit::fault(Fault::SectionsFull);
            return;
        }
        let to = (&raw mut (*slot).area).cast::<u8>().add(at as usize);
        header(to, section::WATCHED, 2 + 2 * count as u16);
        to.add(4).cast::<u16>().write_unaligned(u16::from((*slot).attempt.pairs).wrapping_sub(1));
        for which in 0..MAX_WATCHED {
            to.add(6 + 2 * which).cast::<u16>().write_unaligned((*slot).walk.watching[which]);
        }
        (*slot).attempt.sections = (at + 6 + 2 * count) as u32;
    }
}

/// The action goes ahead: labels of the deciding and of the watching rules are set from now on.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn consequences(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 1 };
    // SAFETY: `slot` points to a whole map value, here and below.
    let (best, mut labels, agent) =
        unsafe { ((*slot).walk.best, (*slot).walk.watched_labels, (*slot).attempt.head.agent) };
    if let Some(rule) = rule_of(slot, best) {
        labels |= rule.labels_set;
    }
    if labels == 0 {
        return 0;
    }
    let Some(governed) = maps::GOVERNED.get_ptr_mut(agent) else { return 1 };
    for label in 0..MAX_LABELS {
        if labels & (1 << label) != 0 {
            // SAFETY: a pointer into a map value.
            unsafe { (*governed).labels[label] = 1 };
        }
    }
    0
}
