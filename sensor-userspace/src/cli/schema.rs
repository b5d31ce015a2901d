//! `rgt schema [NAME]`: the JSON Schemas of what a record holds.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value};

use crate::record::schema;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt schema policy.decision > policy.decision.json\n  rgt schema | jq keys")]
pub struct SchemaArgs {
    /// Which schema: envelope, or a category such as policy.decision; all when left out.
    pub name: Option<String>,
}

/// Prints one schema, or an object of all of them by name.
pub fn run(args: SchemaArgs) -> Result<ExitCode> {
    let text = match &args.name {
        None => {
            let all: Map<String, Value> =
                schema::all().into_iter().map(|(name, schema)| (name.to_string(), schema)).collect();
            text(&Value::Object(all))?
        }
        Some(name) => match schema::by_name(name) {
            Some(schema) => text(&schema)?,
            None => {
                let names: Vec<&str> = schema::all().iter().map(|(name, _)| *name).collect();
                eprintln!("rgt schema {name}: there is no such schema; there are {}", names.join(", "));
                return Ok(ExitCode::from(2));
            }
        },
    };
    std::io::stdout().write_all(text.as_bytes()).context("standard output: cannot be written")?;
    Ok(ExitCode::SUCCESS)
}

/// A schema as `docs/schema` keeps it.
pub fn text(schema: &Value) -> Result<String> {
    Ok(serde_json::to_string_pretty(schema)? + "\n")
}
