//! What a command says on standard output. Where that cannot be written it is an error like any other.

use std::fmt::Display;
use std::io::Write;

use anyhow::{Context, Result};

pub(super) fn say(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{text}").and_then(|()| out.flush()).context("standard output cannot be written")
}
