//! `rgt unload`: the operator's off switch.

use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::json;

use super::connect;
use super::say::say;
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
    let stopped = match connect::try_ask(&Request::Stop {}) {
        Ok(answer) => Some(answer.map_err(|refusal| anyhow!("{}", refusal.error))?),
        // Nobody to ask; what he put in force may be there all the same.
        Err(_) if unpin()? => None,
        Err(_) if is_root() => {
            let nothing = "nothing is enforced: no daemon lives, and none has left anything in force\n";
            say(if args.json { "{\"stopped\":null}\n" } else { nothing })?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(cause) => return Err(connect::no_daemon(&cause)),
    };
    let pid = stopped.as_ref().and_then(|stopped| stopped.get("stopped")?.as_u64());
    if args.json {
        say(format_args!("{}\n", json!({ "stopped": pid })))?;
    } else {
        match pid {
            Some(pid) => say(format_args!("enforcement has ended; the daemon was process {pid}\n"))?,
            None => say("enforcement has ended; no daemon lived, and what the last one had put in force is removed\n")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_root() -> bool {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    unsafe { libc::geteuid() == 0 }
}

/// Ends what outlived its daemon. False where there is nothing of the kind.
fn unpin() -> Result<bool> {
    if !is_root() || !pins::present() {
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
