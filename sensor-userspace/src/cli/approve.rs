//! `rgt approve`: what an operator lets an agent do, for now.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::connect;
use super::say::say;
use crate::config::duration;
use crate::control::protocol::{ApproveRequest, Request};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo rgt approve ci deploy --for 30m --reason 'release 12'\n  \
    sudo rgt approve ci deploy                   for as long as the run lasts\n  \
    sudo rgt approve ci deploy --revoke\n\nRules with `when: { approval: deploy }` hold meanwhile. Only root outside \
    every agent may approve; each approval and its end are signed records. `rgt agents --json` shows what is approved.")]
pub struct ApproveArgs {
    /// How long it holds, such as 30m or 8h [default: as long as the run]
    #[arg(long = "for", value_name = "TIME", value_parser = lasting, conflicts_with = "revoke")]
    lasts: Option<Duration>,
    /// Take it back
    #[arg(long)]
    revoke: bool,
    /// Why, for the record
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    /// The agent's name, as `rgt agents` shows it; it is approved for all that run under it
    agent: String,
    /// What is approved: the word that rules ask for
    #[arg(value_name = "NAME")]
    approval: String,
}

/// With a unit: who writes 30 means minutes or hours, and nobody milliseconds.
fn lasting(text: &str) -> Result<Duration, String> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("`{text}` has no unit; write such as {text}s, {text}m or {text}h"));
    }
    duration(text)
}

pub fn run(args: ApproveArgs) -> Result<ExitCode> {
    let request = ApproveRequest {
        agent: args.agent,
        approval: args.approval,
        revoke: args.revoke,
        lasts_ms: args.lasts.map(|lasts| u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX)),
        reason: args.reason,
    };
    let (agent, approval) = (request.agent.clone(), request.approval.clone());
    let done = connect::ask(&Request::Approve(Box::new(request)))?;
    if args.json {
        say(format_args!("{done}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let runs = match done["agents"].as_array().map_or(0, Vec::len) {
        1 => "1 run".to_owned(),
        many => format!("{many} runs"),
    };
    match (done["state"].as_str(), done["until"].as_str()) {
        (Some("given"), Some(until)) => {
            say(format_args!("{approval} is approved for {agent}, {runs}, until {until}\n"))?
        }
        (Some("given"), None) => {
            say(format_args!("{approval} is approved for {agent}, {runs}, as long as it lasts\n"))?
        }
        _ => say(format_args!("{approval} is no longer approved for {agent}, {runs}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        assert_eq!(lasting("30m"), Ok(Duration::from_secs(1800)));
        assert!(lasting("30").unwrap_err().contains("30m"));
        assert!(lasting("soon").is_err());
    }
}
