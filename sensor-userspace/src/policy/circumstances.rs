//! What a verdict depends on beside the attempt itself.

use super::contents::Holds;
use super::limit::Limits;
use super::object::Written;
use super::program::Program;

/// How the agent stands when it acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances<'a> {
    /// A bit for each of the policy's labels that is set.
    pub labels: u32,
    pub risk: u8,
    /// A bit for each of the policy's facts that holds.
    pub facts: u64,
    /// What it acts on.
    pub written: Written,
    pub holds: Holds,
    /// What it runs.
    pub program: Program<'a>,
    pub program_holds: Holds,
    pub limits: Limits<'a>,
    /// Names that the agent's own resolver was given the address for.
    pub answered: &'a [String],
}

#[cfg(test)]
impl Circumstances<'static> {
    /// An agent of which nothing holds, as a constant.
    pub const PLAIN: Circumstances<'static> = Circumstances {
        labels: 0,
        risk: 0,
        facts: 0,
        written: Written::No,
        holds: Holds::AsRead,
        program: Program::Unknown,
        program_holds: Holds::AsRead,
        limits: Limits::Given(0),
        answered: &[],
    };
}
