//! The RGT record: one line that holds attempt, verdict, trajectory and risk.

use std::fmt;
use std::sync::Arc;

use crate::attempt::{Attempt, Judgement, Run};
use crate::ledger::Ledger;

/// The value of a field outside the hot path; strings are encoded when written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    Str(&'a str),
    Bytes(&'a [u8]),
    Int(i64),
    Uint(u64),
    Bool(bool),
    Strings(Vec<&'a str>),
    Object(Vec<(&'a str, Field<'a>)>),
}

/// What an outcome record must repeat of the attempt it completes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) bytes: Vec<u8>,
}

/// Names one record; `Display` is its `id`.
#[derive(Clone, Debug)]
pub struct RecordId {
    pub(crate) prefix: Arc<str>,
    pub seq: u64,
    /// Present for an attempt whose outcome is still to come.
    pub(crate) frozen: Option<Arc<Frozen>>,
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.prefix, self.seq)
    }
}

#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// `trajectory.length`: 0 to 64.
    pub trajectory_length: usize,
    /// `risk.profile`.
    pub risk_profile: crate::risk::Profile,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        RecorderOptions { trajectory_length: 8, risk_profile: crate::risk::Profile::Article }
    }
}

/// One per agent run: its trajectory, its risk, its identity.
pub struct Recorder {
    run: Run,
}

impl Recorder {
    pub fn new(run: Run, _options: RecorderOptions) -> anyhow::Result<Recorder> {
        Ok(Recorder { run })
    }

    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Records an attempt: scores it, writes it, then appends it to the trajectory.
    pub fn attempt(&mut self, _a: &Attempt, _j: &Judgement, _ledger: &mut Ledger) -> anyhow::Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    /// Records how an attempt ended that was recorded as pending.
    pub fn outcome(
        &mut self,
        _of: &RecordId,
        _a: &Attempt,
        _j: &Judgement,
        _ledger: &mut Ledger,
    ) -> anyhow::Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    /// A `sandbox.event`: `start`, `stop`, `hold`, `contain`, `release`, `adopt`.
    pub fn sandbox(
        &mut self,
        _kind: &str,
        _fields: &[(&str, Field<'_>)],
        _ledger: &mut Ledger,
    ) -> anyhow::Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    /// The live risk score, 0 to 100.
    pub fn risk(&self) -> u8 {
        50
    }
}
