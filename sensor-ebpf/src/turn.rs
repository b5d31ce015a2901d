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

/// Whether these programs make the records. Not asked where marks are set or actions refused: both sets do that.
#[inline(always)]
pub fn is_ours() -> bool {
    // SAFETY: a pointer into a map value.
    let own = maps::OWN_GENERATION.get_ptr(0).map_or(0, |own| unsafe { own.read_volatile() });
    active() == own
}
