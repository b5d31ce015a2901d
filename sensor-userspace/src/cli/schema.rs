//! `rgt schema [NAME]`: the JSON Schemas of what a record holds.

use std::process::ExitCode;

use clap::Args;

#[derive(Args, Debug)]
pub struct SchemaArgs {
    /// Which schema; all of them when left out.
    pub name: Option<String>,
}

pub fn run(_args: SchemaArgs) -> anyhow::Result<ExitCode> {
    anyhow::bail!("rgt schema: not built yet")
}
