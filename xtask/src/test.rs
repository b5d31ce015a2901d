use clap::Args;
#[derive(Args)]
pub struct Options {}
pub fn run(_: &Options) -> anyhow::Result<u8> { anyhow::bail!("not yet") }
