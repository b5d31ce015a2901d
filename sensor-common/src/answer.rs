//! What an agent's own resolver was answered: addresses, and the names that they were given for.

use crate::hash::{self, Secret};

/// Answers of all agents together; beyond them those that were asked for longest ago are forgotten.
pub const MAX_ANSWERS: u32 = 16_384;
/// Names of one address that are kept, the latest.
pub const NAMES_OF_ONE: usize = 4;
/// An answer stands for so many seconds after it was last given, however short it was meant to be kept: what was
/// connected meanwhile goes on.
pub const STANDS: u64 = 24 * 60 * 60;
/// Name servers that an agent is believed to be answered by.
pub const MAX_SERVERS: usize = 2 * MAX_NAMED;
/// … of which the machine may name so many, and the operator as many.
pub const MAX_NAMED: usize = 4;
/// Host names of all policies together.
pub const ALL_HOSTS: u32 = 16_384;
/// Network namespaces in which an agent has answered from the port of name servers.
pub const MAX_SERVED: u32 = 4_096;
/// Of these: of all namespaces, for there was no room to say which.
pub const EVERYWHERE: u32 = 0;
/// What names are asked for at.
pub const PORT: u16 = 53;
/// Longest name, as text.
pub const LONGEST_NAME: usize = 253;

/// An IPv6 address in the order of its bytes; IPv4 lies below `::ffff:0:0/96`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    pub address: [u8; 16],
    pub agent: u32,
    /// `Resolvers::run`: what an agent of the same number was answered before is not this one's.
    pub run: u32,
}

/// The names that an address was given for.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// `name_hash` of each; 0: none.
    pub names: [u64; NAMES_OF_ONE],
    /// When each was last given, in seconds since the boot.
    pub at: [u64; NAMES_OF_ONE],
}

impl Answer {
    /// Whether the name of this place is one that stands.
    #[inline(always)]
    pub fn stands(&self, which: usize, now: u64) -> bool {
        self.names[which] != 0 && now.wrapping_sub(self.at[which]) <= STANDS
    }
}

/// Whom an agent is believed to be answered by: these, in the network namespace that it began in, where alone it
/// counts what they said.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolvers {
    /// The namespace's inode.
    pub namespace: u32,
    /// The agent's run, by a number of its own.
    pub run: u32,
    /// Servers that are this machine, a bit each: they alone answer by its loopback.
    pub local: u32,
    pub count: u32,
    pub servers: [[u8; 16]; MAX_SERVERS],
}

/// A host name that a policy speaks of.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct HostKey {
    pub name: u64,
    pub policy: u32,
    pub reserved: u32,
}

/// The hash of a name begins here, …
#[inline(always)]
pub const fn name_start(secret: Secret) -> u64 {
    hash::component_start(secret, 0)
}

/// … takes in eight bytes after the other by `hash::component_word`, and ends with the length, which is known last. Never 0.
#[inline(always)]
pub const fn name_end(hash: u64, len: u64, secret: Secret) -> u64 {
    hash::component_word(hash, len, secret) | 1
}

/// Of a name as text: small letters, no dot at its end.
#[cfg(any(feature = "std", test))]
pub fn name_hash(secret: Secret, name: &[u8]) -> u64 {
    name_end(hash::words(name_start(secret), secret, name), name.len() as u64, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_differ_have_different_hashes() {
        let secret = Secret::new(7);
        let names = ["a", "b", "a.example", "a.example.", "aexample", "", "a\0"];
        let hashes: std::collections::HashSet<u64> =
            names.iter().map(|name| name_hash(secret, name.as_bytes())).collect();
        assert_eq!(hashes.len(), names.len());
        assert_ne!(name_hash(Secret::new(8), b"a"), name_hash(secret, b"a"));
    }

    #[test]
    fn an_answer_stands_for_a_day() {
        let answer = Answer { names: [5, 0, 0, 0], at: [100; 4] };
        assert!(answer.stands(0, 100) && answer.stands(0, 100 + STANDS));
        assert!(!answer.stands(0, 101 + STANDS) && !answer.stands(1, 100));
    }
}
