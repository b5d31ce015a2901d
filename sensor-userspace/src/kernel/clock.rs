//! The clocks that the kernel side goes by.

const SECOND: u64 = 1_000_000_000;

/// The kernel's monotonic clock.
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// What to add to the kernel's clock to get the wall's.
pub fn wall_offset_ns() -> u64 {
    read(libc::CLOCK_REALTIME).saturating_sub(monotonic_ns())
}

/// Since the machine came up, its sleep included; nobody can set it.
pub fn uptime_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// The same in seconds: limits' windows and resolvers' answers are counted by it.
pub fn uptime() -> u64 {
    uptime_ns() / SECOND
}

/// Now, by the clock that files are stamped with: no stamp of a later change is less.
pub fn stamp_ns() -> u64 {
    read(libc::CLOCK_REALTIME_COARSE)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to write; each of these clocks exists on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * SECOND + time.tv_nsec as u64
}
