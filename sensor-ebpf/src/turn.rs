//! Two daemons' programs may be attached at once: whose turn it is to tell.

use crate::maps;

#[inline(always)]
fn active() -> u32 {
    // SAFETY: a pointer into a map value, which the daemon writes.
    maps::ACTIVE.get_ptr(0).map_or(0, |active| unsafe { (&raw const (*active).generation).read_volatile() })
}

/// Enforcement was switched off as a whole.
#[inline(always)]
pub fn is_off() -> bool {
    active() == 0
}

#[inline(always)]
fn own() -> u32 {
    // SAFETY: a pointer into a map value.
    maps::OWN_GENERATION.get_ptr(0).map_or(0, |own| unsafe { own.read_volatile() })
}

/// Whether these programs make the records. Not asked where marks are set or actions refused: both sets do that.
#[inline(always)]
pub fn is_ours() -> bool {
    active() == own()
}

/// Whether it was these programs' turn before another's: they stay attached until the kernel has come to them.
#[inline(always)]
pub fn is_over() -> bool {
    active().wrapping_sub(own()) as i32 > 0
}
