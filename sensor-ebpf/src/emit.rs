//! Telling: two rings, every event counted, every loss counted.

use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_ringbuf_output};
use sensor_common::event::{Attempt, Fault, Head, Lifecycle, Ring, SECTION_ROOM, Slot};

use crate::{kernel::add, maps};

/// In the nanoseconds that the kernel's clocks count.
pub const SECOND: u64 = 1_000_000_000;

#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_ktime_get_ns() }
}

#[inline(always)]
pub fn fault(which: Fault) {
    if let Some(count) = maps::FAULT_COUNTS.get_ptr_mut(which as u32) {
        add(count, 1);
    }
}

/// Counts an attempt that could not even be begun as made and lost: the daemon declares it like any other.
#[inline(always)]
pub fn lost(agent: u32) {
    if let Some(count) = maps::COUNTS.get_ptr_mut(agent * 2 + Ring::Flood as u32) {
        // SAFETY: pointers into a map value.
        unsafe {
            add(&raw mut (*count).made, 1);
            add(&raw mut (*count).dropped, 1);
        }
    }
}

#[inline(always)]
fn output(ring: Ring, agent: u32, data: *const u8, len: u64) {
    let Some(count) = maps::COUNTS.get_ptr_mut(agent * 2 + ring as u32) else { return };
    // SAFETY: a pointer into a map value.
    add(unsafe { &raw mut (*count).made }, 1);
    let map = match ring {
        Ring::Rare => &raw const maps::RARE,
        Ring::Flood => &raw const maps::FLOOD,
    };
    // SAFETY: `data` has `len` bytes; the verifier proves it.
    let result = unsafe { bpf_ringbuf_output(map.cast_mut().cast(), data.cast_mut().cast(), len, 0) };
    if result != 0 {
        // SAFETY: a pointer into a map value.
        add(unsafe { &raw mut (*count).dropped }, 1);
    }
}

/// Sends what the slot holds.
#[inline(always)]
pub fn attempt(slot: *mut Slot, ring: Ring) {
    // SAFETY: `slot` points to a whole map value.
    unsafe {
        let attempt = &raw mut (*slot).attempt;
        (*attempt).head.emitted = now();
        let agent = (*attempt).head.agent;
        let sections = u64::from(core::ptr::read_volatile(&raw const (*attempt).sections));
        if sections > SECTION_ROOM as u64 {
            return;
        }
        output(ring, agent, attempt.cast(), size_of::<Attempt>() as u64 + sections);
    }
}

#[inline(always)]
pub fn lifecycle(kind: u16, agent: u32, pid: u32, tid: u32, other: u32, thread: u32) {
    let at = now();
    let event = Lifecycle {
        head: Head { kind, reserved: 0, agent, at, emitted: at, tid, pid },
        other,
        thread,
        reserved: 0,
        sections: 0,
    };
    output(Ring::Rare, agent, (&raw const event).cast(), size_of::<Lifecycle>() as u64);
}
