//! `rgt verify PATH`: is this ledger whole, and is it what was written?

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::seal::verify::{Fault, Problem, Report, verify};
use crate::seal::{SealConfig, SealKey};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt verify /var/lib/rgt/ledger\n  rgt verify --key-file key.hex ./evidence\n  \
rgt verify --json ./evidence | jq .problem\n\nExit codes: 0 whole and authentic; 1 cannot be read; 2 usage; 10 modified; 11 missing; \
12 reordered; 13 truncated; 14 duplicated; 15 unknown key; 16 broken boot chain; 17 malformed.")]
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

/// Verifies and prints; an error means that verification could not be done.
pub fn run(args: VerifyArgs) -> Result<ExitCode> {
    let keys = match keys(&args) {
        Ok(keys) => keys,
        Err(error) => {
            eprintln!("rgt verify: {error:#}");
            return Ok(ExitCode::from(2));
        }
    };
    let start = Instant::now();
    let mut shown = false;
    let on_terminal = std::io::stderr().is_terminal();
    let mut progress = |count: u64| {
        if on_terminal && start.elapsed() > Duration::from_secs(2) {
            shown = true;
            eprint!("\r{count} records verified");
        }
    };
    let report = verify(&args.path, &keys, &mut progress)?;
    if shown {
        eprintln!();
    }
    print(&args.path, &report, args.json).context("standard output: cannot be written")?;
    Ok(ExitCode::from(report.problem.map_or(0, |problem| problem.fault as u8)))
}

fn keys(args: &VerifyArgs) -> Result<Vec<SealKey>> {
    let mut config = SealConfig::default();
    for pair in &args.set {
        let Some((key, value)) = pair.split_once('=') else {
            bail!("--set {pair}: it has no value; write --set section.key=value");
        };
        // Other sections configure other commands, and mean nothing here.
        if let Some(key) = key.strip_prefix("seal.") {
            config.set(key, value)?;
        }
    }
    let mut keys = Vec::new();
    for file in args.key_files.iter().chain(&config.key_file) {
        keys.push(SealKey::load(file, config.key_encoding)?);
    }
    let default = config.default_key_file();
    if keys.is_empty() && default.exists() {
        keys.push(SealKey::load(&default, crate::seal::KeyEncoding::Hex)?);
    }
    Ok(keys)
}

fn print(path: &Path, report: &Report, json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        let problem = report.problem.as_ref();
        let object = serde_json::json!({
            "ok": problem.is_none(),
            "exit": problem.map_or(0, |problem| problem.fault as u8),
            "problem": problem.map(|problem| problem.fault.name()),
            "message": problem.map(|problem| &problem.message),
            "file": problem.map(|problem| &problem.file),
            "line": problem.map(|problem| problem.line),
            "path": path.display().to_string(),
            "records": report.records,
            "segments": report.segments,
            "chain": report.chain,
            "first": report.first,
            "last": report.last,
            "head": report.head,
            "root": report.root,
        });
        return writeln!(out, "{object}");
    }
    let Report { records, segments, chain, first, last, head, .. } = report;
    write!(out, "{}: {records} records in {segments} segments", path.display())?;
    if let (Some(first), Some(last)) = (first, last) {
        write!(out, ", chain {chain}, {first} to {last}")?;
    }
    match head {
        Some(size) => writeln!(out, ", signed head over {size}")?,
        None => writeln!(out, ", no signed head here: a cut tail would not be seen")?,
    }
    match &report.problem {
        None => writeln!(out, "verified: whole and authentic"),
        Some(Problem { fault, file, line, message }) => {
            let word = match fault {
                Fault::UnknownKey => "UNKNOWN KEY".to_string(),
                Fault::BrokenBootChain => "BROKEN BOOT CHAIN".to_string(),
                other => other.name().to_uppercase(),
            };
            let place = if *line > 0 { format!("{file}:{line}") } else { file.clone() };
            writeln!(out, "{word}: {place}: {message}")
        }
    }
}
