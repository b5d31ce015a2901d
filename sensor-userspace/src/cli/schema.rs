//! `rgt schema [NAME]`: the JSON Schemas of what a record holds, and of a policy file.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};

use crate::{policy, record};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  rgt schema policy.decision > policy.decision.json\n  rgt schema policy > policy.json      # for an editor: \"yaml-language-server: $schema=policy.json\"\n  rgt schema | jq keys"
)]
pub struct SchemaArgs {
    /// Which schema: envelope, a category such as policy.decision, or policy, a policy file's; all when left out.
    pub name: Option<String>,
}

/// Prints one schema, or an object of all of them by name.
pub fn run(args: SchemaArgs) -> Result<ExitCode> {
    let text = match &args.name {
        None => {
            let all: Map<String, Value> = all().into_iter().map(|(name, schema)| (name.to_string(), schema)).collect();
            text(&Value::Object(all))?
        }
        Some(name) => match all().into_iter().find(|(known, _)| known == name) {
            Some((_, schema)) => text(&schema)?,
            None => {
                let names: Vec<&str> = all().iter().map(|(name, _)| *name).collect();
                eprintln!("rgt schema {name}: there is no such schema; there are {}", names.join(", "));
                return Ok(ExitCode::from(2));
            }
        },
    };
    std::io::stdout().write_all(text.as_bytes()).context("standard output: cannot be written")?;
    Ok(ExitCode::SUCCESS)
}

/// All that there are, by name.
pub fn all() -> Vec<(&'static str, Value)> {
    let mut all = record::schema::all();
    all.push(("policy", policy::schema()));
    all
}

/// A schema as `docs/schema` keeps it.
pub fn text(schema: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(schema)? + "\n")
}
