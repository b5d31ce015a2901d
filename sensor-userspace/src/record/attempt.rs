//! `data` of an attempt: what was tried, what was said to it, what led there, how risky it is.

use super::canonical::{self, Object};
use crate::attempt::{ArgumentRead, Attempt, End, Judgement, Run, Verdict};

/// A run's constant fields, encoded once.
pub(super) struct Identity {
    pub agent_id: Vec<u8>,
    pub container: Option<Vec<u8>>,
    pub environment: Option<Vec<u8>>,
    pub instance: Vec<u8>,
    pub principal: Vec<u8>,
    pub run_id: Vec<u8>,
    pub trace_id: Vec<u8>,
}

impl Identity {
    pub fn of(run: &Run) -> Identity {
        let quoted = |text: &String| canonical::quoted(text.as_bytes());
        Identity {
            agent_id: quoted(&run.agent_id),
            container: run.container.as_ref().map(quoted),
            environment: run.environment.as_ref().map(quoted),
            instance: quoted(&run.instance),
            principal: quoted(&run.principal),
            run_id: quoted(&run.run_id),
            trace_id: quoted(&run.trace_id),
        }
    }
}

/// Trajectory and risk as they stood when the attempt was recorded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    /// Entries joined by commas.
    pub trajectory: &'a [u8],
    pub truncated: bool,
    pub score: u8,
    /// The object `risk_factors`.
    pub factors: &'a [u8],
}

pub(super) struct AttemptData<'a> {
    pub identity: &'a Identity,
    pub attempt: &'a Attempt,
    pub judgement: &'a Judgement,
    pub timestamp: &'a [u8],
    pub chain: &'a [u8],
    pub context: Context<'a>,
    pub outcome_of: Option<&'a str>,
}

impl AttemptData<'_> {
    pub fn write(&self, out: &mut Vec<u8>) {
        let (identity, attempt, judgement) = (self.identity, self.attempt, self.judgement);
        Object::write(out, |data| {
            data.object("action_attempted", |action| write_action(attempt, judgement, action));
            data.raw("agent_id", &identity.agent_id);
            if let Some(approval) = &judgement.approval {
                data.plain("approval_status", approval.status().as_bytes());
            }
            data.array_of("behavioral_trajectory", self.context.trajectory);
            data.raw("chain", self.chain);
            data.plain("classification", classification(judgement.verdict).as_bytes());
            if let Some(container) = &identity.container {
                data.raw("container", container);
            }
            if !judgement.reason.is_empty() {
                data.str("decision_reason", &judgement.reason);
            }
            if judgement.degraded {
                data.bool("degraded", true);
            }
            match attempt.end {
                End::Killed => data.plain("end", b"killed"),
                End::Unknown => data.plain("end", b"unknown"),
                End::Returned(_) | End::Pending => {}
            }
            data.plain("enforcement", judgement.enforcement.name().as_bytes());
            if let Some(environment) = &identity.environment {
                data.raw("environment", environment);
            }
            if !attempt.incomplete.is_empty() {
                data.strings("incomplete", &attempt.incomplete);
            }
            data.raw("instance", &identity.instance);
            data.plain("judged", judgement.judged.name().as_bytes());
            if !judgement.labels.is_empty() {
                data.strings("labels", &judgement.labels);
            }
            if attempt.late {
                data.bool("late", true);
            }
            data.uint("live_risk_score", u64::from(self.context.score));
            data.plain("mode", judgement.mode.name().as_bytes());
            if let Some(id) = self.outcome_of {
                data.str("outcome_of", id);
            }
            if !judgement.policy_hash.is_empty() {
                data.str("policy_hash", &judgement.policy_hash);
            }
            data.str("policy_rule_id", &judgement.rule_id);
            data.plain("policy_verdict", judgement.verdict.name().as_bytes());
            data.raw("principal", &identity.principal);
            data.raw("risk_factors", self.context.factors);
            data.raw("run_id", &identity.run_id);
            data.plain("severity", judgement.severity.name().as_bytes());
            data.plain("timestamp", self.timestamp);
            data.raw("trace_id", &identity.trace_id);
            if self.context.truncated {
                data.bool("trajectory_truncated", true);
            }
            if let Some(id) = judgement.approval.as_ref().and_then(|approval| approval.id.as_ref()) {
                data.str("user_approval_id", id);
            }
            if !judgement.watched.is_empty() {
                data.strings("watched", &judgement.watched);
            }
        });
    }
}

const fn classification(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Allow => "allowed",
        Verdict::Challenge => "suspicious",
        Verdict::Deny => "unauthorized",
    }
}

fn write_action(attempt: &Attempt, judgement: &Judgement, action: &mut Object<'_>) {
    if attempt.compat {
        action.plain("abi", b"compat");
    }
    if attempt.actions.len() > 1 {
        action.strings("actions", attempt.actions.iter().map(|action| action.verb()));
    }
    if let Some(argument) = &attempt.argument {
        action.str("argument", argument);
    }
    if let Some(argument) = &attempt.argument2 {
        action.str("argument2", argument);
    }
    match attempt.argument_read {
        ArgumentRead::Entry => {}
        ArgumentRead::Return => action.plain("argument_read", b"return"),
        ArgumentRead::None => action.plain("argument_read", b"none"),
    }
    if let Some(argv) = &attempt.argv {
        action.strings("argv", &argv.args);
        if argv.truncated {
            action.bool("argv_truncated", true);
        }
    }
    if let Some(capability) = &attempt.capability {
        action.str("capability", capability);
    }
    action.plain("class", attempt.action.class().name().as_bytes());
    let who = &attempt.credentials;
    action.object("credentials", |credentials| {
        credentials.plain("caps", hex(who.caps, &mut [0; 16]));
        // What is the same is not said twice: nearly always it is.
        if who.egid != who.gid {
            credentials.uint("egid", u64::from(who.egid));
        }
        if who.euid != who.uid {
            credentials.uint("euid", u64::from(who.euid));
        }
        credentials.uint("gid", u64::from(who.gid));
        credentials.uint("uid", u64::from(who.uid));
    });
    if let Some(directory) = &attempt.directory {
        action.str("directory", directory);
    }
    if let Some(directory) = &attempt.directory2 {
        action.str("directory2", directory);
    }
    if let Some((exe, ancestors)) = attempt.exe_chain.split_first() {
        action.str("exe", exe);
        if !ancestors.is_empty() {
            action.strings("exe_chain", ancestors);
        }
    }
    if let Some(host) = &judgement.host {
        action.str("host", host);
    }
    if let Some(object) = &attempt.object {
        action.str("object", object);
    }
    if let Some(object) = &attempt.object2 {
        action.str("object2", object);
    }
    if !attempt.parameters.is_empty() {
        action.object("parameters", |parameters| {
            for (name, value) in &attempt.parameters {
                parameters.int(name, *value);
            }
        });
    }
    action.uint("pid", u64::from(attempt.pid));
    if let End::Returned(result) = attempt.end {
        action.int("result", result);
    }
    action.plain("syscall", attempt.syscall.as_bytes());
    if attempt.tid != attempt.pid {
        action.uint("tid", u64::from(attempt.tid));
    }
    action.plain("verb", attempt.action.verb().as_bytes());
}

/// A capability mask in hex, as `/proc/PID/status` shows it but without leading zeros.
fn hex(mask: u64, out: &mut [u8; 16]) -> &[u8] {
    let digits = (16 - mask.leading_zeros() as usize / 4).max(1);
    for (n, digit) in out[..digits].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(mask >> (4 * n) & 15) as usize];
    }
    &out[..digits]
}
