//! `rgt run`: the daemon.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::config::Config;
use crate::daemon;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt run                                   with what is built in\n  \
    rgt run --config /etc/rgt/rgt.toml\n  rgt run --set ledger.dir=/data/rgt --set node.name=edge-7\n\n\
    It stays in the foreground; SIGTERM or SIGINT ends it in good order. With NOTIFY_SOCKET it tells systemd \
    when it is ready. RUST_LOG=debug shows more.")]
pub struct RunArgs {
    /// Configuration file [default: /etc/rgt/rgt.toml where it exists]
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Set one configuration key; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// Never deny, whatever the policies say
    #[arg(long)]
    observe: bool,
    /// End after the last agent
    #[arg(long, hide = true)]
    ephemeral: bool,
}

pub fn run(args: RunArgs) -> Result<ExitCode> {
    if args.ephemeral {
        // What the caller of `exec` had open is its command's, not the daemon's.
        // SAFETY: nothing of this process has opened a descriptor above 2 yet that it still uses.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
    }
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    let config = Config::load(args.config.as_deref(), &args.set)?;
    let options = daemon::Options { config, ephemeral: args.ephemeral, enforce_allowed: !args.observe };
    daemon::run(options, daemon::load)?;
    Ok(ExitCode::SUCCESS)
}
