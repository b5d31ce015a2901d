//! `rgt show ID`: one record, in full.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use super::paint::{Hue, Paint, readable, verdict_hue};
use super::say::say;
use super::tail::{ledger_dir, must_be_there};
use crate::ledger::Reader;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  rgt show 6f0c2e-17\n  rgt show --ledger ./evidence --json 6f0c2e-17 | jq .data.risk_factors\n\n\
    The end of an ID is enough where it is unambiguous. IDs: `rgt tail --ids`."
)]
pub struct ShowArgs {
    /// Ledger directory [default: the configured one]
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// The ledger's line itself
    #[arg(long)]
    json: bool,
    /// The record's ID
    #[arg(value_name = "ID")]
    id: String,
}

pub fn run(args: ShowArgs) -> Result<ExitCode> {
    let dir = ledger_dir(args.ledger.as_deref())?;
    must_be_there(&dir)?;
    let line = find(&dir, &args.id)?;
    if args.json {
        say(format_args!("{}\n", String::from_utf8_lossy(&line)))?;
        return Ok(ExitCode::SUCCESS);
    }
    let record: Value = serde_json::from_slice(&line).context("the line is no record; `rgt verify` tells more")?;
    say(pretty(&record, Paint::for_stdout()))?;
    Ok(ExitCode::SUCCESS)
}

fn find(dir: &std::path::Path, id: &str) -> Result<Vec<u8>> {
    #[derive(serde::Deserialize)]
    struct Id<'a> {
        id: &'a str,
    }
    let mut reader = Reader::open(dir)?;
    let mut line = Vec::new();
    let mut found: Vec<Vec<u8>> = Vec::new();
    while reader.next_line(&mut line)?.is_some() {
        match serde_json::from_slice::<Id<'_>>(&line) {
            Ok(record) if record.id == id => return Ok(line),
            Ok(record) if record.id.ends_with(id) && found.len() < 2 => found.push(line.clone()),
            _ => {}
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some(line), true) => Ok(line),
        (Some(_), false) => bail!("{id}: more than one record's ID ends so; give more of it"),
        (None, _) => bail!("{id}: no record in {} has this ID; `rgt tail --ids` shows them", dir.display()),
    }
}

fn pretty(record: &Value, paint: Paint) -> String {
    let mut out = String::new();
    if let Some(fields) = record.as_object() {
        for (key, value) in fields {
            write(key, value, 0, paint, &mut out);
        }
    }
    out
}

fn write(key: &str, value: &Value, depth: usize, paint: Paint, out: &mut String) {
    let lead = "  ".repeat(depth);
    let name = paint.paint(Hue::Dim, &format!("{lead}{key:<width$}", width = 24_usize.saturating_sub(lead.len())));
    match value {
        Value::Object(fields) => {
            out.push_str(name.trim_end());
            out.push('\n');
            for (key, value) in fields {
                write(key, value, depth + 1, paint, out);
            }
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            out.push_str(name.trim_end());
            out.push('\n');
            for item in items {
                out.push_str(&format!("{lead}  - {}\n", short(item)));
            }
        }
        Value::Array(items) => {
            let all: Vec<String> = items.iter().map(short).collect();
            out.push_str(&format!("{name} {}\n", all.join("  ")));
        }
        Value::String(text) => {
            let hue = if key == "policy_verdict" { verdict_hue(text) } else { Hue::Plain };
            out.push_str(&format!("{name} {}\n", paint.paint(hue, &readable(text))));
        }
        other => out.push_str(&format!("{name} {other}\n")),
    }
}

/// On one line.
fn short(value: &Value) -> String {
    match value {
        Value::String(text) => readable(text),
        Value::Object(fields) => {
            let all: Vec<String> = fields.iter().map(|(key, value)| format!("{key}={}", short(value))).collect();
            all.join(" ")
        }
        other => other.to_string(),
    }
}
