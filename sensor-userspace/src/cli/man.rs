//! `rgt man [DIR]`: the manual pages, made from what `--help` says.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt man | man -l -                      read it\n  \
    rgt man /usr/local/share/man/man1       install rgt.1, rgt-exec.1, rgt-policy-check.1, …")]
pub struct ManArgs {
    /// Write one page for rgt and each of its commands here, instead of printing rgt's
    dir: Option<PathBuf>,
}

pub fn run(args: ManArgs, rgt: Command) -> Result<ExitCode> {
    match args.dir {
        None => std::io::stdout().write_all(&page(rgt)?).context("standard output: cannot be written")?,
        Some(dir) => write(&dir, rgt)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: Command) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    Man::new(command.disable_help_subcommand(true)).render(&mut bytes)?;
    Ok(bytes)
}

fn write(dir: &Path, rgt: Command) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))?;
    clap_mangen::generate_to(rgt, dir).with_context(|| format!("cannot write the pages to {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_has_a_page() {
        let dir = std::env::temp_dir().join(format!("rgt-man-{}", std::process::id()));
        write(&dir.join("man1"), Cli::command()).unwrap();
        let read = |name: &str| {
            let file = dir.join("man1").join(format!("{name}.1"));
            fs::read_to_string(file).unwrap().replace('\\', "")
        };
        for command in Cli::command().get_subcommands() {
            let text = read(&format!("rgt-{}", command.get_name()));
            assert!(text.contains(".SH SYNOPSIS"), "{text}");
        }
        assert!(read("rgt").contains("rgt-exec(1)"), "{}", read("rgt"));
        assert!(read("rgt-policy-check").contains(".TH rgt-policy-check 1"));
        assert!(read("rgt-exec").contains("make test"), "the examples of --help");
        let printed = String::from_utf8(page(Cli::command()).unwrap()).unwrap();
        assert!(printed.contains(".TH rgt 1") && !printed.contains("help(1)"), "{printed}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_told() {
        let error = write(Path::new("/dev/null"), Cli::command()).unwrap_err();
        assert!(format!("{error:#}").contains("/dev/null"), "{error:#}");
    }
}
