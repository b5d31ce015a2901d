//! `rgt policy apply`: another policy for agents that run.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::Failure;
use crate::cli::connect;
use crate::control::protocol::{ApplyRequest, Request};
use crate::policy::{self, read_text};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  sudo rgt policy apply stricter.yaml --agent review\n  \
    sudo rgt policy apply stricter.yaml --agent exec/1000/claude --json\n\n\
    Exit status: 0 in force; 1 it has errors, was refused, or no daemon runs; 2 the file cannot be read.")]
pub(super) struct Apply {
    /// The agent's name, as `rgt agents` shows it; all of that name get the policy.
    #[arg(long, value_name = "NAME")]
    agent: String,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn apply(args: &Apply, out: &mut dyn Write, err: &mut dyn Write) -> Result<u8, Failure> {
    let name = args.file.to_string_lossy().into_owned();
    let text = read_text(&args.file)
        .map_err(|cause| Failure::Usage(format!("cannot read {name}: {cause}; give the path of a policy file")))?;
    let (policy, policy_includes) = policy::parse_file(&name, &text)?;
    for warning in &policy.warnings {
        writeln!(err, "{warning}")?;
    }
    let request = ApplyRequest { agent: args.agent.clone(), policy: text, policy_name: name, policy_includes };
    let answer = connect::try_ask(&Request::Apply(Box::new(request)))
        .map_err(|cause| Failure::Undone(connect::no_daemon(&cause).to_string()))?;
    let done = match answer {
        Ok(done) => done,
        Err(refusal) => return Err(Failure::Undone(refusal.error)),
    };
    if args.json {
        writeln!(out, "{done}")?;
        return Ok(0);
    }
    let agents = done["agents"].as_array().map_or(0, Vec::len);
    let hash = done["agents"][0]["policy_hash"].as_str().unwrap_or_default();
    let named = done["policy"].as_str().unwrap_or_default();
    writeln!(out, "policy {named} ({hash}) is in force for {agents} agent{}", if agents == 1 { "" } else { "s" })?;
    Ok(0)
}
