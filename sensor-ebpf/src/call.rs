//! A call as the syscall table describes it.

use sensor_common::syscalls::{NONE, Shape, Spec};

/// A call as the entry shows it.
pub struct Call {
    pub task: u64,
    pub number: u32,
    /// Where the task's registers are saved.
    pub registers: u64,
    pub spec: Spec,
    pub args: [u64; 6],
    pub compat: bool,
}

#[inline(always)]
pub fn has(argument: u8) -> bool {
    argument != NONE
}

#[inline(always)]
pub fn shape_is(spec: &Spec, shape: Shape) -> bool {
    spec.shape == shape as u8
}

/// Argument number `which` of the call; 0 where there is none.
#[inline(always)]
pub fn argument(args: &[u64; 6], which: u8) -> u64 {
    // A chain, not an index: older verifiers follow it without proof of bounds.
    match which {
        0 => args[0],
        1 => args[1],
        2 => args[2],
        3 => args[3],
        4 => args[4],
        5 => args[5],
        _ => 0,
    }
}
