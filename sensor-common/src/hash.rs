//! The hash by which paths are known on both sides: one for a component, one that runs over components.
//!
//! Seeded, so that an agent cannot prepare two names that meet.

const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
const STEP: u64 = 0xd6e8_feb8_6659_fd93;

/// Starts the hash of one component of `len` bytes.
#[inline(always)]
pub const fn component_start(seed: u64, len: u64) -> u64 {
    seed ^ len.wrapping_mul(MIX)
}

/// Takes in the next eight bytes, little endian, the last word padded with zeros.
#[inline(always)]
pub const fn component_word(hash: u64, word: u64) -> u64 {
    let mixed = (hash ^ word).wrapping_mul(MIX);
    mixed ^ (mixed >> 29)
}

/// The hash of the root directory.
#[inline(always)]
pub const fn path_start(seed: u64) -> u64 {
    seed
}

/// The hash of a path one component longer.
#[inline(always)]
pub const fn path_step(path: u64, component: u64) -> u64 {
    let mixed = (path ^ component).wrapping_mul(STEP);
    mixed ^ (mixed >> 32)
}

/// The hash of one component given as bytes.
#[cfg(feature = "std")]
pub fn component(seed: u64, name: &[u8]) -> u64 {
    name.chunks(8).fold(component_start(seed, name.len() as u64), |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        component_word(hash, u64::from_le_bytes(word))
    })
}
