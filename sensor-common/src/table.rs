//! A compiled policy as both sides hold it.
//!
//! Paths are judged name by name by one automaton whose states are shared prefixes of all globs, so that
//! sizes add. Entering a state, or ending in it, offers *candidates*: rules, which the action and the
//! conditions then let through or not. Of those let through the first in the policy's order decides.
//! Addresses offer theirs by the longest prefix. Indices are absolute: policies share the maps.

/// Rules of one policy.
pub const MAX_RULES: usize = 16_384;
/// Policies in force at once.
pub const MAX_POLICIES: u32 = 256;
/// Rules, states, edges, candidates, cells and networks of all policies together.
pub const ALL_RULES: u32 = 65_536;
pub const ALL_STATES: u32 = 131_072;
pub const ALL_EDGES: u32 = 524_288;
pub const ALL_CANDIDATES: u32 = 131_072;
pub const ALL_CELLS: u32 = 524_288;
pub const ALL_NETWORKS: u32 = 65_536;

/// States that a walk may be in at once; one that would be in more is of unknown place.
pub const MAX_ACTIVE: usize = 16;
/// Candidates that one state or network may offer at once.
pub const MAX_OFFERED: u32 = 64;
/// Rules of one action that ask nothing of the object, or that it lies outside of something.
pub const MAX_ALWAYS: u32 = 128;
/// Distinct lists that rules name by `not:`, or by `exe:`.
pub const MAX_SETS: usize = 256;
/// Labels of one policy.
pub const MAX_LABELS: usize = 32;
/// Rules of one policy that have a limit.
pub const MAX_LIMITS: usize = 32;
/// Distinct objects that a limit can count.
pub const MAX_OBJECTS: u64 = 4_096;
/// How sensitive an object can be: `sensitivity:` of the language has their names. The lowest is all that is in no list.
pub const LEVELS: usize = 4;
/// `watch` rules whose consequences one action can have.
pub const MAX_WATCHED: usize = 8;
/// Room in the tables by action; more than there are verbs.
pub const ACTIONS: usize = 32;

pub mod effect {
    pub const ALLOW: u8 = 0;
    pub const DENY: u8 = 1;
    pub const CHALLENGE: u8 = 2;
    /// Never decides; has consequences.
    pub const WATCH: u8 = 3;
}

pub mod object {
    /// The rule names no object: it speaks of every one.
    pub const ANY: u8 = 0;
    /// A path that one of the rule's globs matches: only the automaton offers it.
    pub const IN: u8 = 1;
    /// A path outside of the rule's set.
    pub const NOT_IN: u8 = 2;
    /// An address in one of the rule's networks.
    pub const TO: u8 = 3;
    /// An address in none of them.
    pub const NOT_TO: u8 = 4;
    /// What this run has written …
    pub const WRITTEN: u8 = 5;
    /// … and what it has not.
    pub const NOT_WRITTEN: u8 = 6;
    /// A signal or a capability among the rule's numbers …
    pub const AMONG: u8 = 7;
    /// … and one that is not.
    pub const NOT_AMONG: u8 = 8;
    /// A path, or an address, in the rule's set: of rules that ask how sensitive it is as well, for that is known last.
    pub const IN_SET: u8 = 9;
    pub const TO_SET: u8 = 10;
}

/// Which acting programs a rule speaks of.
pub mod program {
    pub const ANY: u8 = 0;
    /// One whose path is in the rule's set of programs.
    pub const IN: u8 = 1;
    /// One whose path is not, or that has none.
    pub const NOT_IN: u8 = 2;
}

/// What a limit counts.
pub mod counted {
    pub const ATTEMPTS: u8 = 0;
    pub const BYTES: u8 = 1;
    pub const OBJECTS: u8 = 2;
}

/// Of a rule that holds within, or beyond, so much.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Of the rule's name and of all below: the count goes on under the next policy that has the same.
    pub id: u64,
    pub most: u64,
    /// A window's length in seconds; 0: the whole run.
    pub seconds: u32,
    /// The rule's index in its policy.
    pub rule: u16,
    /// `counted::*`
    pub of: u8,
    /// 1: the rule holds beyond, not within.
    pub beyond: u8,
}

/// Where an agent's count stands, or (`object` is not 0) that it has met an object.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CountKey {
    pub limit: u64,
    pub object: u64,
    pub agent: u32,
    /// How many windows have ended since the boot; 0 where the whole run is one.
    pub window: u32,
    /// The window's length.
    pub seconds: u32,
    pub reserved: u32,
}

/// Counts, and objects met, of all agents.
pub const MAX_COUNTS: u32 = 65_536;

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// `Action::bit` of each action it speaks of.
    pub actions: u32,
    pub effect: u8,
    /// 1: record what it would have done, and search on.
    pub observe: u8,
    pub object: u8,
    /// 1: CHALLENGE that allows where it cannot be held (`otherwise: allow`).
    pub otherwise_allow: u8,
    /// The set it must lie outside of (NOT_IN, NOT_TO).
    pub set: u32,
    /// The agent's risk must lie between these.
    pub risk_min: u8,
    pub risk_max: u8,
    /// What a refusal returns; 0 for the usual.
    pub errno: u8,
    /// `program::*`: which programs it speaks of …
    pub program: u8,
    /// Facts that must all hold, a bit each: who the agent is, what time it is.
    pub facts: u64,
    /// One of these labels must be set, if there are any …
    pub labels_any: u32,
    /// … and none of these.
    pub labels_none: u32,
    /// Labels that the action sets if it goes ahead.
    pub labels_set: u32,
    /// … by this set.
    pub programs: u32,
    /// Its limit's index in the policy plus one; 0: it has none.
    pub limit: u32,
    /// How sensitive its object is, a bit for each level that will do; 0: it does not ask.
    pub levels: u32,
    /// The signals or capabilities it names (AMONG, NOT_AMONG), as `numbers` has their bits.
    pub numbers: u64,
}

impl Rule {
    /// Whether the rule, by its object, speaks of this signal or capability: its bit plus one, 0 for none.
    #[inline(always)]
    pub fn speaks_of_number(&self, which: u32) -> bool {
        let named = self.numbers >> (which.wrapping_sub(1) & 63) & 1 != 0;
        which != 0 && named == (self.object == object::AMONG)
    }

    /// Whether the rule speaks of an object that is so sensitive.
    #[inline(always)]
    pub fn takes_level(&self, level: u32) -> bool {
        self.levels == 0 || self.levels & level != 0
    }

    /// Whether the agent is as the rule wants it.
    #[inline(always)]
    pub fn holds_for(&self, labels: u32, risk: u32, facts: u64) -> bool {
        facts & self.facts == self.facts
            && (self.labels_any == 0 || labels & self.labels_any != 0)
            && labels & self.labels_none == 0
            && risk >= self.risk_min as u32
            && risk <= self.risk_max as u32
    }
}

/// A stretch of `Candidate`s.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    pub first: u32,
    pub count: u32,
}

/// A rule that is offered, or a set that is entered.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Index of the rule in its policy; with `SET`, number of a set.
    pub rule: u32,
    /// Ports it speaks of, and the protocol (0: any); for paths all.
    pub low: u16,
    pub high: u16,
    pub protocol: u32,
}

/// The candidate is a set.
pub const SET: u32 = 1 << 31;

/// Names of abstract unix sockets lie in no directory: each is one name, from the state this far behind the root's.
pub const ABSTRACT: u32 = 1;

/// A state of the automaton over names.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Offered on entering: globs that end in `/**`.
    pub below: Range,
    /// Offered when the path ends here.
    pub exact: Range,
    /// State after any one name; 0 for none.
    pub any: u32,
    /// Automaton over the bytes of the next name: its first cell; 0 for none.
    pub bytes: u32,
    /// State to be in as well, from here on, for `**`; 0 for none. No path ends in it, and it is come to by nothing else.
    pub star: u32,
    /// One less than the cells of the names' filter; 0 where the state has it itself.
    pub mask: u32,
    /// First of the cells that say, by pattern of the byte automaton, which state it leads to.
    pub targets: u32,
    /// A bit for each name that leads on from here; of more than `names::FEW`, the first of the cells that have them.
    pub names: u32,
    /// `pinned::*`: of a file that lies here it is asked what it holds.
    pub pinned: u32,
}

impl State {
    /// Whether a name of this hash may lead on from here. One that does not is not looked for, one that seems to is.
    /// `cell` reads `CELLS`.
    #[inline(always)]
    pub fn may_lead_on<'a>(&self, hash: u64, cell: impl FnOnce(u32) -> Option<&'a u64>) -> bool {
        match self.mask {
            0 => self.names & names::bit_of_few(hash) != 0,
            mask => cell(self.names + names::cell(hash, mask)).is_none_or(|cell| cell & names::bit(hash) != 0),
        }
    }
}

/// The filter of the names that lead on from a state, in its own word or in cells: looking each name of a path up
/// would cost more than all else that a state does. Bits are taken from the hash's high half, its best.
pub mod names {
    /// Most names whose bits lie in the state itself.
    pub const FEW: usize = 4;
    /// Bits for each name of more, at least: of others one in sixteen is looked for in vain, or fewer.
    const BITS: usize = 16;

    /// Cells for so many names: none, or a power of two above one.
    pub const fn cells(names: usize) -> u32 {
        if names <= FEW { 0 } else { (names * BITS).div_ceil(u64::BITS as usize).next_power_of_two() as u32 }
    }

    /// In `State::names`.
    #[inline(always)]
    pub const fn bit_of_few(hash: u64) -> u32 {
        1 << (hash >> 59)
    }

    /// In its cell …
    #[inline(always)]
    pub const fn bit(hash: u64) -> u64 {
        1 << (hash >> 58)
    }

    /// … which is this one behind the first; `mask` is one less than the cells.
    #[inline(always)]
    pub const fn cell(hash: u64, mask: u32) -> u32 {
        (hash >> 32) as u32 & mask
    }
}

/// From the state at which objects' paths begin to the one for programs' paths.
pub const PROGRAMS: u32 = 2;

/// Directories of an agent's own that patterns may begin with: the language's variables, in its order.
pub const LANES: usize = 2;
/// From the state at which objects' paths begin to those behind each of these directories, a state each, and from the one
/// for programs' paths to theirs.
pub const OBJECT_LANES: u32 = 3;
pub const PROGRAM_LANES: u32 = OBJECT_LANES + LANES as u32 - PROGRAMS;

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EdgeKey {
    /// With `CONTENTS`: what follows is no name.
    pub state: u64,
    /// Hash of the name, or of the file's identity.
    pub name: u64,
}

/// When a state's file is asked what it holds.
pub mod pinned {
    pub const NEVER: u32 = 0;
    /// As an object, of what runs it.
    pub const WHERE_IT_RUNS: u32 = 1;
    /// As the program that acts, whatever it does.
    pub const BY_ANY: u32 = 2;
}

/// An edge from a pinned state, by the identity of the file whose contents the daemon has read: to the state that offers
/// what asks for them, or to none. Where there is no such edge nobody knows what the file holds.
pub const CONTENTS: u64 = 1 << 32;

/// Of `Policy::written`: some rule asks for contents, and what the run has written is nobody's word for them.
pub const WRITTEN_UNPINS: u32 = 1 << 31;

/// A network of a policy, as the trie's key holds it: the policy's number, then the address.
pub type NetworkKey = [u8; 20];
/// Bits of the policy's number in front of an address.
pub const NETWORK_BITS: u32 = 32;

/// An automaton over bytes lies in cells: the number of byte classes; the class of each byte, eight a cell;
/// then a row for each state: the first of the cells that name the patterns which match here, and their count
/// (high half), then the next state by class, four a cell. State 0 is dead, state 1 the start.
pub mod bytes {
    pub const CLASSES: u32 = 1;
    pub const ROWS: u32 = CLASSES + 32;

    /// Cells of one state's row.
    #[inline(always)]
    pub const fn stride(classes: u32) -> u32 {
        1 + classes.div_ceil(4)
    }
}

#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Grows with each swap; an attempt keeps the one it began with.
    pub generation: u64,
    /// State at the root, for objects. `PROGRAMS` behind it is the one for acting programs.
    pub root: u32,
    /// First of its rules, and how many.
    pub rules: u32,
    pub count: u32,
    pub default_effect: u8,
    /// Effect for an object whose place is unknown, where a rule would have asked for it.
    pub on_unknown: u8,
    /// 1: the whole policy only records.
    pub observe: u8,
    pub reserved: u8,
    /// Actions that some rule asks a path of, a bit each.
    pub walks: u32,
    /// Rules of the guard that do not hold, a bit each.
    pub relaxed: u32,
    /// Actions of which some rule asks whether the run has written their object, a bit each.
    pub written: u32,
    /// Actions of which some rule asks which program acts, a bit each.
    pub programs: u32,
    /// Actions of which some rule counts distinct objects, a bit each.
    pub objects: u32,
    /// Actions of which some rule asks how sensitive their object is, a bit each.
    pub leveled: u32,
    /// Actions that more rules speak of than are asked about an object of unknown place, a bit each: some of the rest would have
    /// to know the place.
    pub unasked: u32,
    /// 1: some rule speaks of a host by its name.
    pub hosts: u32,
    /// The agent's own directories that some pattern of objects begins with, a bit each; behind them those that some pattern of
    /// programs does.
    pub lanes: u32,
    pub unused: u32,
    /// By level: the set of its places plus one, and that of its addresses; 0: there is none.
    pub level_places: [u16; LEVELS],
    pub level_addresses: [u16; LEVELS],
    /// In the order of their rules.
    pub limits: [Limit; MAX_LIMITS],
    /// By action: rules that the automaton never offers.
    pub always: [Range; ACTIONS],
    /// By action: the first rules in order, for objects of unknown place.
    pub unknown: [Range; ACTIONS],
}
