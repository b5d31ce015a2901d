//! `rgt unload`: the operator's off switch.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use super::connect;
use super::say::say;
use crate::agent::we_are_root;
use crate::config::RUNTIME_DIR;
use crate::control::protocol::Request;
use crate::daemon::{self, state};
use crate::kernel::pins;

#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sudo rgt unload\n\nThe daemon drains its events, closes its ledgers, detaches its \
    programs and ends. Agents run on, ungoverned. Where the daemon is dead and enforcement outlived it, that is ended."
)]
pub struct UnloadArgs {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

pub fn run(args: UnloadArgs) -> Result<ExitCode> {
    const REMOVED: &str = "enforcement has ended; no daemon lived, and what the last one had put in force is removed";
    const NOTHING: &str = "nothing is enforced: no daemon lives, and none has left anything in force";
    let (pid, words) = match connect::try_ask(&Request::Stop {}) {
        Ok(answer) => {
            let stopped = answer.map_err(|refusal| anyhow!("{}", refusal.error))?;
            (stopped.get("stopped").and_then(Value::as_u64), REMOVED)
        }
        // Nobody to ask; what he put in force may be there all the same.
        Err(_) if unpin()? => (None, REMOVED),
        Err(_) if we_are_root() => (None, NOTHING),
        Err(cause) => return Err(connect::no_daemon(&cause)),
    };
    match pid {
        _ if args.json => say(format_args!("{}\n", json!({ "stopped": pid })))?,
        Some(pid) => say(format_args!("enforcement has ended; the daemon was process {pid}\n"))?,
        None => say(format_args!("{words}\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Ends what outlived its daemon. False where there is nothing of the kind.
fn unpin() -> Result<bool> {
    if !we_are_root() || !pins::present() {
        return Ok(false);
    }
    if pins::is_marked(std::process::id()) {
        bail!("a governed process may not end its own governance");
    }
    if let Some(holder) = daemon::holder() {
        bail!(
            "a daemon holds the lock and does not answer: process {}; it may be starting or ending. Try again, or kill it first",
            holder.pid
        );
    }
    fs::create_dir_all(RUNTIME_DIR).with_context(|| format!("cannot make the directory {RUNTIME_DIR}"))?;
    // No daemon starts meanwhile.
    let _alone = daemon::Lock::take(true)?;
    let removed = pins::remove_all().context("what is pinned could not be removed")?;
    state::remove(&state::path());
    Ok(removed)
}
