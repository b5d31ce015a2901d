//! One agent run's way into the ledger.

use std::fmt;
use std::sync::Arc;

use anyhow::{Result, anyhow};

use super::attempt::{AttemptData, Context, Identity};
use super::envelope::{self, Category};
use super::field::{Field, write_object};
use super::time::Clock;
use crate::attempt::{Attempt, End, Judgement, Run, Verdict, WallNs};
use crate::ledger::Ledger;
use crate::risk::{Profile, Risk};
use crate::trajectory::Trajectory;

/// What an outcome record must repeat of the attempt it completes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    at: WallNs,
    trajectory: Vec<u8>,
    truncated: bool,
    score: u8,
    factors: Vec<u8>,
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
    pub risk_profile: Profile,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        RecorderOptions { trajectory_length: 8, risk_profile: Profile::Article }
    }
}

/// One per agent run: its trajectory, its risk, its identity. It writes to one ledger only, or
/// nobody could work out its scores again.
pub struct Recorder {
    run: Run,
    identity: Identity,
    trajectory: Trajectory,
    risk: Risk,
    clock: Clock,
    /// `source`, and the id prefix of the ledger that it was made for.
    source: Option<(Arc<str>, Vec<u8>)>,
    factors: Vec<u8>,
}

impl Recorder {
    pub fn new(run: Run, options: RecorderOptions) -> Result<Recorder> {
        let RecorderOptions { trajectory_length, risk_profile: Profile::Article } = options;
        Ok(Recorder {
            identity: Identity::of(&run),
            trajectory: Trajectory::new(trajectory_length).map_err(|why| anyhow!(why))?,
            risk: Risk::default(),
            clock: Clock::default(),
            source: None,
            factors: Vec::new(),
            run,
        })
    }

    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The live risk score, 0 to 100.
    pub fn risk(&self) -> u8 {
        self.risk.score()
    }

    /// Of a run that another daemon had: the score that it left, all else anew.
    pub fn go_on_from(&mut self, score: u8) {
        self.risk = Risk::from_score(score);
    }

    /// How many actions there were, and the last of them as canonical bytes.
    pub fn so_far(&self) -> (u64, Vec<u8>) {
        (self.risk.actions(), [b"[", self.trajectory.window(), b"]"].concat())
    }

    /// Records an attempt: scores it, writes it, then appends it to the trajectory.
    pub fn attempt(&mut self, a: &Attempt, j: &Judgement, ledger: &mut Ledger) -> Result<RecordId> {
        let time = self.clock.format(a.at);
        // On a copy: an action that cannot be recorded must leave no trace in later scores.
        let mut risk = self.risk.clone();
        let scored = risk.action(a.at, j.risk_added);
        self.factors.clear();
        scored.write(&mut self.factors);
        let context = Context {
            trajectory: self.trajectory.window(),
            truncated: self.trajectory.truncated(),
            score: scored.score,
            factors: &self.factors,
        };
        let source = source_for(&mut self.source, &self.run, ledger);
        let data = |chain: &[u8], out: &mut Vec<u8>| {
            AttemptData {
                identity: &self.identity,
                attempt: a,
                judgement: j,
                timestamp: &time,
                chain,
                context,
                outcome_of: None,
            }
            .write(out);
        };
        let mut id = ledger.append(category(j), source, a.action.verb().as_bytes(), data)?;
        if a.end == End::Pending {
            id.frozen = Some(Arc::new(Frozen {
                at: a.at,
                trajectory: context.trajectory.to_vec(),
                truncated: context.truncated,
                score: context.score,
                factors: context.factors.to_vec(),
            }));
        }
        self.risk = risk;
        self.trajectory.append(a, j, &time);
        Ok(id)
    }

    /// Records how an attempt ended that was recorded as pending: the attempt again, with its
    /// result, and with trajectory and risk as its first record shows them.
    pub fn outcome(&mut self, of: &RecordId, a: &Attempt, j: &Judgement, ledger: &mut Ledger) -> Result<RecordId> {
        let frozen = of.frozen.as_ref().ok_or_else(|| {
            anyhow!(
                "outcome of {of}: that attempt was not recorded as pending; record an outcome only for one that was"
            )
        })?;
        // The wall's clock may have moved since: the attempt's time is the one that its first record gave.
        let time = self.clock.format(frozen.at);
        let source = source_for(&mut self.source, &self.run, ledger);
        let outcome_of = of.to_string();
        ledger.append(category(j), source, a.action.verb().as_bytes(), |chain, out| {
            AttemptData {
                identity: &self.identity,
                attempt: a,
                judgement: j,
                timestamp: &time,
                chain,
                context: Context {
                    trajectory: &frozen.trajectory,
                    truncated: frozen.truncated,
                    score: frozen.score,
                    factors: &frozen.factors,
                },
                outcome_of: Some(&outcome_of),
            }
            .write(out);
        })
    }

    /// A `sandbox.event`: `start`, `stop`, `hold`, `contain`, `release`, or `adopt` by a daemon
    /// that goes on with a run of which it knows the score at most.
    pub fn sandbox(&mut self, kind: &str, fields: &[(&str, Field<'_>)], ledger: &mut Ledger) -> Result<RecordId> {
        let score = Field::Uint(u64::from(self.risk.score()));
        let mut all = vec![("live_risk_score", score)];
        all.extend(fields.iter().cloned());
        ledger.event(Category::SandboxEvent, Some(&self.run), kind, &all)
    }
}

fn source_for<'s>(cached: &'s mut Option<(Arc<str>, Vec<u8>)>, run: &Run, ledger: &Ledger) -> &'s [u8] {
    if cached.as_ref().is_some_and(|(prefix, _)| !Arc::ptr_eq(prefix, ledger.id_prefix())) {
        *cached = None;
    }
    let make = || {
        let source = envelope::source(ledger.node(), Some(&run.agent_id));
        (Arc::clone(ledger.id_prefix()), source)
    };
    &cached.get_or_insert_with(make).1
}

fn category(judgement: &Judgement) -> Category {
    match judgement.verdict {
        Verdict::Deny => Category::PolicyBreach,
        Verdict::Allow | Verdict::Challenge => Category::PolicyDecision,
    }
}

/// The fields that say whose a record is, where it is about a run.
pub(crate) fn run_fields(run: &Run) -> Vec<(&str, Field<'_>)> {
    let mut fields = vec![
        ("agent_id", Field::Str(&run.agent_id)),
        ("instance", Field::Str(&run.instance)),
        ("principal", Field::Str(&run.principal)),
        ("run_id", Field::Str(&run.run_id)),
        ("trace_id", Field::Str(&run.trace_id)),
    ];
    fields.extend(run.container.iter().map(|id| ("container", Field::Str(id.as_str()))));
    fields.extend(run.environment.iter().map(|name| ("environment", Field::Str(name.as_str()))));
    fields
}

/// `data` of anything but an attempt.
pub(crate) fn event_data(
    run: Option<&Run>,
    kind: &str,
    timestamp: &[u8],
    fields: &[(&str, Field<'_>)],
) -> Result<impl FnOnce(&[u8], &mut Vec<u8>)> {
    let mut all = run.map(run_fields).unwrap_or_default();
    all.extend([("kind", Field::Str(kind)), ("timestamp", Field::Bytes(timestamp))]);
    all.extend(fields.iter().cloned());
    // The chain object is known only when the line is written: leave its place, then fill it.
    let mark: &[u8] = b"\0";
    all.push(("chain", Field::Raw(mark)));
    let mut bytes = Vec::new();
    write_object(&all, &mut bytes)?;
    let place = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    Ok(move |chain: &[u8], out: &mut Vec<u8>| {
        out.extend_from_slice(&bytes[..place]);
        out.extend_from_slice(chain);
        out.extend_from_slice(&bytes[(place + 1).min(bytes.len())..]);
    })
}
