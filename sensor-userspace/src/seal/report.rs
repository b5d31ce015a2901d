//! What verification found.

/// What is wrong; the number is the exit code, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Modified = 10,
    Missing = 11,
    Reordered = 12,
    Truncated = 13,
    Duplicated = 14,
    UnknownKey = 15,
    BrokenBootChain = 16,
    Malformed = 17,
}

impl Fault {
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Modified => "modified",
            Fault::Missing => "missing",
            Fault::Reordered => "reordered",
            Fault::Truncated => "truncated",
            Fault::Duplicated => "duplicated",
            Fault::UnknownKey => "unknown_key",
            Fault::BrokenBootChain => "broken_boot_chain",
            Fault::Malformed => "malformed",
        }
    }
}

/// The first problem found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub fault: Fault,
    pub file: String,
    /// Counted from 1; 0 where it is about the whole file.
    pub line: u64,
    pub message: String,
}

#[derive(Clone, Debug, Default)]
pub struct Report {
    pub records: u64,
    pub segments: u64,
    pub chain: String,
    pub first: Option<u64>,
    pub last: Option<u64>,
    /// Records that the signed head covers, when there is one.
    pub head: Option<u64>,
    pub root: Option<String>,
    pub problem: Option<Problem>,
}
