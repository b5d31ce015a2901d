//! What two versions must have in common so that one goes on with the other's maps.

use core::mem::{offset_of, size_of};

use crate::{
    answer::{Answer, AnswerKey, MAX_ANSWERS, MAX_SERVED, Resolvers},
    event::{
        Account, Active, Attempt, Count, FAULTS, Head, Lifecycle, MAX_AGENTS, MAX_SLOTS, MAX_TASKS, MAX_WRITTEN, Mark,
        Pair, SECTION_ROOM, Slot, Walk, WrittenKey,
    },
    syscalls::SYSCALLS,
    table::{CountKey, MAX_COUNTS},
};

/// To be raised where the meaning of something shared changes and neither its size nor its place does.
pub const LAYOUT: u32 = 1;

/// A hash of sizes, offsets and the syscall table: attempts name a call by its position there.
pub const HASH: u64 = hash();

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

const fn add(hash: u64, value: u64) -> u64 {
    let mut hash = hash;
    let mut byte = 0;
    while byte < 8 {
        hash = (hash ^ (value >> (byte * 8) & 0xff)).wrapping_mul(PRIME);
        byte += 1;
    }
    hash
}

const fn hash() -> u64 {
    let facts = [
        size_of::<Mark>(),
        size_of::<Slot>(),
        size_of::<Attempt>(),
        size_of::<Head>(),
        size_of::<Pair>(),
        size_of::<Lifecycle>(),
        size_of::<Count>(),
        size_of::<Account>(),
        size_of::<Active>(),
        size_of::<WrittenKey>(),
        size_of::<CountKey>(),
        size_of::<AnswerKey>(),
        size_of::<Answer>(),
        size_of::<Resolvers>(),
        MAX_ANSWERS as usize,
        MAX_SERVED as usize,
        MAX_COUNTS as usize,
        MAX_WRITTEN as usize,
        offset_of!(Mark, agent),
        offset_of!(Mark, slot),
        offset_of!(Mark, seq),
        offset_of!(Mark, pid),
        offset_of!(Head, agent),
        offset_of!(Head, at),
        offset_of!(Head, emitted),
        offset_of!(Attempt, task),
        offset_of!(Attempt, syscall),
        offset_of!(Attempt, flags),
        offset_of!(Attempt, args),
        offset_of!(Attempt, uid),
        offset_of!(Attempt, generation),
        offset_of!(Attempt, pair),
        offset_of!(Attempt, sections),
        offset_of!(Attempt, open),
        offset_of!(Slot, area),
        offset_of!(Slot, walk),
        offset_of!(Walk, number),
        offset_of!(Walk, argument),
        SECTION_ROOM,
        MAX_AGENTS as usize,
        MAX_SLOTS as usize,
        MAX_TASKS as usize,
        FAULTS as usize,
    ];
    let mut hash = OFFSET;
    let mut index = 0;
    while index < facts.len() {
        hash = add(hash, facts[index] as u64);
        index += 1;
    }
    let mut row = 0;
    while row < SYSCALLS.len() {
        let name = SYSCALLS[row].name.as_bytes();
        let mut byte = 0;
        while byte < name.len() {
            hash = (hash ^ name[byte] as u64).wrapping_mul(PRIME);
            byte += 1;
        }
        hash = add(hash, row as u64);
        row += 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_counts() {
        assert_ne!(add(OFFSET, 1), add(OFFSET, 1 << 56));
        assert_ne!(add(add(OFFSET, 1), 2), add(add(OFFSET, 2), 1));
        assert_ne!(HASH, OFFSET);
    }
}
