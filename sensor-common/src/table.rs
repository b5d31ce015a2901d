//! A compiled policy as the kernel holds it.
//!
//! Places are known by the running hash of their path (`hash.rs`). Each distinct list of places in a
//! policy is a *set*, one bit. Walking a path from the root collects the sets it lies in; the rules are
//! then tried in order.

/// Rules of one policy.
pub const MAX_RULES: usize = 64;
/// Distinct path lists of one policy.
pub const MAX_SETS: usize = 64;
/// Policies in force at once.
pub const MAX_POLICIES: u32 = 256;
/// Places of all policies together.
pub const MAX_PLACES: u32 = 65_536;

pub mod effect {
    pub const ALLOW: u8 = 0;
    pub const DENY: u8 = 1;
    pub const CHALLENGE: u8 = 2;
}

pub mod object {
    /// The rule names no object: it speaks of every one.
    pub const ANY: u8 = 0;
    /// Within one of `sets`.
    pub const IN: u8 = 1;
    /// Within none of `sets`; an object whose place is unknown satisfies neither.
    pub const NOT_IN: u8 = 2;
}

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
    pub sets: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    pub rules: [Rule; MAX_RULES],
    pub count: u32,
    pub default_effect: u8,
    /// Effect for an object whose place is unknown, where a rule would have asked for it.
    pub on_unknown: u8,
    /// 1: the whole policy only records.
    pub observe: u8,
    pub reserved: u8,
    /// Grows with each swap; an attempt keeps the one it began with.
    pub generation: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaceKey {
    pub policy: u64,
    pub path: u64,
}

/// Which sets a place belongs to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Sets that cover the place and all below it (`/a/**`).
    pub below: u64,
    /// Sets that hold the place alone (`/a/b`).
    pub exact: u64,
}
