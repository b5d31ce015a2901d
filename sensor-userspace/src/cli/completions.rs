//! `rgt completions SHELL`: what a shell completes rgt's words by.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt completions bash > /etc/bash_completion.d/rgt\n  \
    rgt completions zsh > /usr/local/share/zsh/site-functions/_rgt\n  \
    rgt completions fish > /etc/fish/completions/rgt.fish")]
pub struct CompletionsArgs {
    /// The shell that is to complete
    shell: For,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum For {
    Bash,
    Zsh,
    Fish,
}

pub fn run(args: CompletionsArgs, rgt: Command) -> Result<ExitCode> {
    std::io::stdout().write_all(&script(args.shell, rgt)).context("standard output: cannot be written")?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: For, mut rgt: Command) -> Vec<u8> {
    let shell = match shell {
        For::Bash => Shell::Bash,
        For::Zsh => Shell::Zsh,
        For::Fish => Shell::Fish,
    };
    let mut bytes = Vec::new();
    generate(shell, &mut rgt, "rgt", &mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_is_completed() {
        for (shell, head) in [(For::Bash, "_rgt() {"), (For::Zsh, "#compdef rgt"), (For::Fish, "complete -c rgt")] {
            let text = String::from_utf8(script(shell, Cli::command())).unwrap();
            assert!(text.contains(head), "{shell:?}: {text}");
            for command in Cli::command().get_subcommands() {
                assert!(text.contains(command.get_name()), "{shell:?}: {}", command.get_name());
            }
            assert!(text.contains("observe"), "{shell:?}: {text}");
        }
    }
}
