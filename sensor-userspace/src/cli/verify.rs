//! `rgt verify PATH`: is this ledger whole, and is it what was written?

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// One JSON object instead of text.
    #[arg(long)]
    pub json: bool,
    /// A key to verify with; may be given several times.
    #[arg(long = "key-file", value_name = "F")]
    pub key_files: Vec<PathBuf>,
    /// A configuration key, `seal.key_file=F`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// A segment or a ledger directory.
    pub path: PathBuf,
}

pub fn run(_args: VerifyArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("rgt verify: not built yet")
}
