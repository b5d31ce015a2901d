//! The hash by which names are known on both sides.
//!
//! Keyed by a secret multiplier: without it, names that meet under every seed can be prepared. Public mixing
//! between the words does not help, for a difference in the highest bit passes through it unchanged.

/// The two halves of the secret.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Secret {
    pub seed: u64,
    /// Odd.
    pub key: u64,
}

impl Secret {
    /// Spreads one random word over both halves.
    pub const fn new(random: u64) -> Secret {
        let mut word = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Secret { seed: random, key: (word ^ (word >> 31)) | 1 }
    }
}

/// Two secret products, the second of the halves changed round: a high bit, which the first leaves as it is,
/// is a low one there. (The fold of a 128-bit product would do as well; the kernel side has none.)
#[inline(always)]
const fn mix(word: u64, secret: Secret) -> u64 {
    word.wrapping_mul(secret.key) ^ word.rotate_left(32).wrapping_mul(secret.seed | 1)
}

/// Starts the hash of one component of `len` bytes.
#[inline(always)]
pub const fn component_start(secret: Secret, len: u64) -> u64 {
    mix(secret.seed ^ len, secret)
}

/// Takes in the next eight bytes, little endian, the last word padded with zeros.
#[inline(always)]
pub const fn component_word(hash: u64, word: u64, secret: Secret) -> u64 {
    mix(hash ^ word, secret)
}

/// Starts the hash of a path's names from the root on. Never 0, nor is any of its steps.
#[inline(always)]
pub const fn prefix_start(secret: Secret) -> u64 {
    // No component is so long.
    component_start(secret, u64::MAX) | 1
}

/// Takes in the next name, by its hash.
#[inline(always)]
pub const fn prefix_name(prefix: u64, name: u64, secret: Secret) -> u64 {
    component_word(prefix, name, secret) | 1
}

/// The hash of one component given as bytes.
#[cfg(any(feature = "std", test))]
pub fn component(secret: Secret, name: &[u8]) -> u64 {
    words(component_start(secret, name.len() as u64), secret, name)
}

/// A hash that has taken in these bytes as well.
#[cfg(any(feature = "std", test))]
pub fn words(hash: u64, secret: Secret, bytes: &[u8]) -> u64 {
    bytes.chunks(8).fold(hash, |hash, chunk| {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        component_word(hash, u64::from_le_bytes(word), secret)
    })
}

/// The hash of a path given by its names.
#[cfg(any(feature = "std", test))]
pub fn prefix<'a>(secret: Secret, names: impl Iterator<Item = &'a [u8]>) -> u64 {
    names.fold(prefix_start(secret), |prefix, name| prefix_name(prefix, component(secret, name), secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_prepared_difference_meets_under_many_secrets() {
        let name = *b"my-coding-agent-";
        let mut twin = name;
        twin[7] ^= 0x80;
        twin[12] ^= 0x04;
        twin[15] ^= 0x80;
        for seed in 0..100_000 {
            let secret = Secret::new(seed);
            assert_ne!(component(secret, &name), component(secret, &twin));
        }
    }

    /// A difference in any one or two bits must not lead to one difference of the hash again and again.
    #[test]
    fn no_difference_passes_through_unchanged() {
        const TRIES: u64 = 64;
        for first in 0..64 {
            for second in first..64 {
                let difference = (1_u64 << first) | (1 << second);
                let mut seen = std::collections::HashMap::new();
                for seed in 0..TRIES {
                    let secret = Secret::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1234_5678);
                    let word = Secret::new(seed + 1_000).key;
                    let spread = component_word(7, word, secret) ^ component_word(7, word ^ difference, secret);
                    *seen.entry(spread).or_insert(0) += 1;
                }
                assert!(seen.values().all(|count| *count < 4), "bits {first} and {second}");
            }
        }
    }
}
