//! What is said over the control socket.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::policy::Included;

/// Longest request or answer line.
pub const MAX_LINE: usize = 4 << 20;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Govern a process that waits to become a command.
    Exec(Box<ExecRequest>),
    /// That command has ended: answer when its last record is in the ledger.
    Ended {
        #[serde(default)]
        status: String,
        /// By whoever started it with a daemon that is no more.
        #[serde(default)]
        run_id: Option<String>,
    },
    /// Put another policy in force for agents that run.
    Apply(Box<ApplyRequest>),
    /// Something is approved for agents that run, or no longer.
    Approve(Box<ApproveRequest>),
    Agents {},
    Status {},
    /// Ends enforcement and the daemon.
    Stop {},
    /// Ends a daemon that `exec` started, and leaves its agents to the one that asks.
    Yield {},
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WantedMode {
    Observe,
    Enforce,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExecRequest {
    /// The waiting process: a child of whoever asks.
    pub pid: u32,
    /// `--name`.
    #[serde(default)]
    pub name: Option<String>,
    /// The command's base name.
    pub command: String,
    /// The policy's text.
    #[serde(default)]
    pub policy: Option<String>,
    /// How messages call it.
    #[serde(default)]
    pub policy_name: Option<String>,
    /// What it includes: the daemon reads no file on behalf of whoever asks.
    #[serde(default)]
    pub policy_includes: Included,
    /// Absolute.
    #[serde(default)]
    pub ledger: Option<String>,
    #[serde(default)]
    pub set: Vec<String>,
    #[serde(default)]
    pub mode: Option<WantedMode>,
    /// W3C `traceparent`, announced by the caller.
    #[serde(default)]
    pub traceparent: Option<String>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// All agents of this name.
    pub agent: String,
    /// The policy's text.
    pub policy: String,
    /// How messages call it.
    pub policy_name: String,
    #[serde(default)]
    pub policy_includes: Included,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveRequest {
    /// All agents of this name.
    pub agent: String,
    pub approval: String,
    /// Taken back, not given.
    #[serde(default)]
    pub revoke: bool,
    /// How long it holds, in milliseconds; none: for the run.
    #[serde(default)]
    pub lasts_ms: Option<u64>,
    /// Why, for the record.
    #[serde(default)]
    pub reason: Option<String>,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Malformed,
    Forbidden,
    /// The daemon is about to end: ask the next one.
    Ending,
    Failed,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub kind: Kind,
    pub error: String,
}

impl Refusal {
    pub fn new(kind: Kind, error: impl Into<String>) -> Refusal {
        Refusal { kind, error: error.into() }
    }

    pub fn failed(error: impl std::fmt::Display) -> Refusal {
        Refusal::new(Kind::Failed, error.to_string())
    }
}

pub type Answer = Result<Value, Refusal>;

/// An answer as a line, newline included.
pub fn line(answer: &Answer) -> Vec<u8> {
    let value = match answer {
        Ok(value) => serde_json::json!({ "ok": value }),
        Err(refusal) => serde_json::json!({ "refused": refusal }),
    };
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

pub fn parse_answer(line: &[u8]) -> Answer {
    let malformed =
        |cause: String| Refusal::new(Kind::Malformed, format!("the daemon's answer makes no sense: {cause}"));
    let mut value: Value = serde_json::from_slice(line).map_err(|cause| malformed(cause.to_string()))?;
    if let Some(refused) = value.get_mut("refused") {
        return Err(serde_json::from_value(refused.take()).map_err(|cause| malformed(cause.to_string()))?);
    }
    match value.get_mut("ok") {
        Some(ok) => Ok(ok.take()),
        None => Err(malformed("neither `ok` nor `refused`".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_were() {
        for answer in [Ok(serde_json::json!({"a": 1})), Err(Refusal::new(Kind::Ending, "later"))] {
            assert_eq!(parse_answer(&line(&answer)), answer);
        }
        assert_eq!(parse_answer(b"[]").unwrap_err().kind, Kind::Malformed);
        assert_eq!(parse_answer(b"{\"refused\":1}").unwrap_err().kind, Kind::Malformed);
    }

    #[test]
    fn requests_are_strict() {
        assert!(serde_json::from_str::<Request>("{\"op\":\"agents\"}").is_ok());
        assert!(serde_json::from_str::<Request>("{\"op\":\"exec\",\"pid\":1,\"command\":\"x\"}").is_ok());
        for bad in [
            "{}",
            "{\"op\":\"x\"}",
            "{\"op\":\"exec\",\"pid\":-1,\"command\":\"x\"}",
            "{\"op\":\"exec\",\"pid\":1,\"command\":\"x\",\"z\":1}",
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }
}
