//! `rgt unload`: the operator's off switch.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use super::connect;
use crate::control::protocol::Request;

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sudo rgt unload\n\nThe daemon drains its events, closes its ledgers, detaches its \
    programs and ends. Agents run on, ungoverned."
)]
pub struct UnloadArgs {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub fn run(args: UnloadArgs) -> Result<ExitCode> {
    let stopped = connect::ask(&Request::Stop {})?;
    if args.json {
        println!("{stopped}");
    } else {
        let pid = stopped
            .get("stopped")
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0);
        println!("enforcement has ended; the daemon was process {pid}");
    }
    Ok(ExitCode::SUCCESS)
}
