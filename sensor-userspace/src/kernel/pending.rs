//! Attempts that take long: seen in the mapped slots, without a system call.

use std::{
    collections::HashSet,
    io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::atomic::{Ordering, fence},
};

use sensor_common::event::{MAX_SLOTS, SECTION_ROOM, Slot};

use super::AttemptKey;

pub struct Slots {
    base: *const Slot,
    told: HashSet<AttemptKey>,
}

// SAFETY: the mapping is read-only, shared with the kernel alone, and lives as long as this value.
unsafe impl Send for Slots {}

const LENGTH: usize = size_of::<Slot>() * MAX_SLOTS as usize;

impl Slots {
    pub fn map(fd: BorrowedFd<'_>) -> io::Result<Slots> {
        // SAFETY: a fresh read-only mapping of the map's own length.
        let base = unsafe { libc::mmap(ptr::null_mut(), LENGTH, libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Slots { base: base.cast(), told: HashSet::new() })
    }

    /// Hands on, once each, the attempts entered before `before` that are still open.
    pub fn longer_than(&mut self, before: u64, each: &mut dyn FnMut(&[u8])) {
        let mut open = HashSet::new();
        for index in 0..MAX_SLOTS as usize {
            // SAFETY: within the mapping; read volatile, for the kernel writes it.
            let slot = unsafe { self.base.add(index) };
            let (is_open, at, key) = Self::look(slot);
            if is_open == 0 || at > before {
                continue;
            }
            open.insert(key);
            if self.told.contains(&key) {
                continue;
            }
            // SAFETY: a whole slot within the mapping; every byte pattern is a valid one.
            let copy = unsafe { slot.read_volatile() };
            fence(Ordering::SeqCst);
            // The same attempt after the copy as before it: nothing was torn.
            if Self::look(slot) != (1, at, key) {
                open.remove(&key);
                continue;
            }
            let length = size_of_val(&copy.attempt) + (copy.attempt.sections as usize).min(SECTION_ROOM);
            // SAFETY: sections follow the attempt within the slot, which is plain bytes.
            each(unsafe { std::slice::from_raw_parts((&raw const copy).cast::<u8>(), length) });
        }
        self.told = open;
    }

    /// Whether an attempt under way is judged by this generation of a policy.
    pub fn judged_by(&self, generation: u64) -> bool {
        (0..MAX_SLOTS as usize).any(|index| {
            // SAFETY: within the mapping; read volatile, for the kernel writes it.
            unsafe {
                let attempt = &raw const (*self.base.add(index)).attempt;
                (&raw const (*attempt).open).read_volatile() != 0
                    && (&raw const (*attempt).generation).read_volatile() == generation
            }
        })
    }

    fn look(slot: *const Slot) -> (u32, u64, AttemptKey) {
        // SAFETY: the caller's `slot` lies within the mapping.
        unsafe {
            let open = (&raw const (*slot).attempt.open).read_volatile();
            fence(Ordering::SeqCst);
            let at = (&raw const (*slot).attempt.head.at).read_volatile();
            let task = (&raw const (*slot).attempt.task).read_volatile();
            let seq = (&raw const (*slot).attempt.seq).read_volatile();
            let tid = (&raw const (*slot).attempt.head.tid).read_volatile();
            (open, at, AttemptKey { task, seq, tid })
        }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map`.
        unsafe { libc::munmap(self.base.cast_mut().cast(), LENGTH) };
    }
}
