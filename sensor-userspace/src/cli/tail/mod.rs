//! `rgt tail`: the records, in a table that a person can read, or as they stand in the ledger.

mod errno;
mod filter;
pub mod row;

use std::io::{BufWriter, ErrorKind, StdoutLock, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::Value;

use super::paint::{Paint, columns};
use crate::config::Config;
use crate::ledger::Reader;
use filter::Filter;
use row::Layout;

/// How often a followed ledger is looked at.
const STEP: Duration = Duration::from_millis(50);

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  rgt tail -f\n  rgt tail --verdict DENY --since 1h\n  rgt tail --agent builder --action file.delete\n  \
    rgt tail --json --ledger ./evidence | jq .data.action_attempted\n\n\
    --json prints the ledger's lines as they stand. In the table, bytes that are no text and whatever could \
    move a terminal's cursor are shown escaped. A record's ID for `rgt show` is in --json, or with --ids."
)]
pub struct TailArgs {
    /// Go on with what comes; Ctrl-C ends it
    #[arg(short, long)]
    follow: bool,
    /// The ledger's lines themselves
    #[arg(long)]
    json: bool,
    /// Ledger directory [default: the configured one]
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Only this agent's records (an agent id or a run id)
    #[arg(long, value_name = "A")]
    agent: Option<String>,
    /// Only ALLOW, DENY or CHALLENGE
    #[arg(long, value_name = "V", ignore_case = true, value_parser = ["ALLOW", "DENY", "CHALLENGE"])]
    verdict: Option<String>,
    /// Only what this rule decided
    #[arg(long, value_name = "R")]
    rule: Option<String>,
    /// Only this action, file.delete, a family, file.*, or a class, destructive
    #[arg(long, value_name = "A", value_parser = filter::action)]
    action: Option<String>,
    /// Only records from then on: 10m, 2h, or 2026-11-03T10:00:00Z
    #[arg(long, value_name = "T", value_parser = filter::since)]
    since: Option<String>,
    /// Show each record's ID
    #[arg(long)]
    ids: bool,
    /// With -f: end when the ledger has been closed
    #[arg(long, hide = true)]
    until_closed: bool,
}

pub fn run(args: TailArgs) -> Result<ExitCode> {
    let dir = ledger_dir(args.ledger.as_deref())?;
    let filter = Filter::new(&args);
    if !args.follow {
        must_be_there(&dir)?;
    } else if !args.until_closed && !is_there(&dir)? {
        eprintln!("rgt tail: ledger {}: not there yet; waiting for it", dir.display());
    }
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut printer = Printer {
        filter,
        json: args.json,
        layout: Layout::new(columns(), args.ids),
        paint: Paint::for_stdout(),
        headed: false,
    };
    let mut reader = None;
    let mut line = Vec::new();
    loop {
        // Asked before reading: what was written before the end is then read.
        let closed = args.until_closed && is_closed(&dir);
        if reader.is_none() && is_there(&dir)? {
            reader = Some(Reader::open(&dir)?);
        }
        if let Some(reader) = &mut reader {
            while reader.next_line(&mut line)?.is_some() {
                printer.print(&line, &mut out)?;
            }
        }
        out.flush()?;
        if !args.follow || closed {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(STEP);
    }
}

/// The one given, else the configured one.
pub fn ledger_dir(given: Option<&Path>) -> Result<PathBuf> {
    match given {
        Some(dir) => Ok(dir.to_path_buf()),
        None => Ok(Config::load(None, &[])?.ledger_dir),
    }
}

/// An error where it cannot be told: what may not be seen is not what is not there.
fn is_there(dir: &Path) -> Result<bool> {
    match dir.read_dir() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => bail!(
            "ledger {}: {error}; ask as the user whose it is (`sudo`), or name another with `--ledger DIR`",
            dir.display()
        ),
        Err(error) => bail!("ledger {}: {error}; `--ledger DIR` names another one", dir.display()),
    }
}

pub fn must_be_there(dir: &Path) -> Result<()> {
    if !is_there(dir)? {
        bail!("ledger {}: no such directory; `--ledger DIR` names another one", dir.display());
    }
    Ok(())
}

fn is_closed(dir: &Path) -> bool {
    let head = std::fs::read(dir.join("head.json")).unwrap_or_default();
    serde_json::from_slice::<Value>(&head).is_ok_and(|head| head["closed"] == true)
}

struct Printer {
    filter: Filter,
    json: bool,
    layout: Layout,
    paint: Paint,
    headed: bool,
}

impl Printer {
    fn print(&mut self, line: &[u8], out: &mut BufWriter<StdoutLock<'_>>) -> Result<()> {
        // Without a filter a line need not even be understood to be shown as it stands.
        if self.json && self.filter.passes_all() {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            return Ok(());
        }
        let Ok(record) = serde_json::from_slice::<Value>(line) else {
            writeln!(
                out,
                "{}",
                self.paint.paint(super::paint::Hue::Red, "(a line that is no record; `rgt verify` tells more)")
            )?;
            return Ok(());
        };
        if !self.filter.passes(&record) {
            return Ok(());
        }
        if self.json {
            out.write_all(line)?;
            out.write_all(b"\n")?;
            return Ok(());
        }
        if !self.headed {
            self.headed = true;
            writeln!(out, "{}", self.layout.head(self.paint))?;
        }
        writeln!(out, "{}", self.layout.row(&record, self.paint))?;
        Ok(())
    }
}
