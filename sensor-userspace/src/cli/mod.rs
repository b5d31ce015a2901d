//! One file per subcommand, each thin.

mod agents;
mod approve;
mod completions;
mod connect;
mod doctor;
mod exec;
mod man;
mod paint;
pub mod policy;
mod run;
mod say;
pub mod schema;
mod show;
mod suggest;
mod tail;
mod top;
mod unload;
pub mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Kernel-level sensor and governor for AI agents.
#[derive(Debug, Parser)]
#[command(
    name = "rgt",
    version,
    about,
    after_help = "Exit status: 0 done · 1 failed · 2 wrong usage · of `exec`: the command's own, 128+n if signal n \
                  ended it, 125 if rgt itself failed, 126 if the command cannot be run, 127 if it is not found.\n\n\
                  Examples:\n  rgt exec -- make test                         watch one command\n  \
                  rgt exec --policy p.yaml --name ci -- ./agent   govern it by a policy\n  \
                  rgt tail -f                                   see what agents attempt\n  \
                  rgt verify /var/lib/rgt/ledger                is the ledger what was written?"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon.
    Run(run::RunArgs),
    /// Run one command as an agent; the exit status is the command's.
    Exec(exec::ExecArgs),
    /// Show the records, as they come with -f.
    Tail(tail::TailArgs),
    /// Show one record.
    Show(show::ShowArgs),
    /// Show the agents that are governed now.
    Agents(agents::AgentsArgs),
    /// Show how busy and how risky the agents are.
    Top(top::TopArgs),
    /// Approve something for an agent, for a time or its run, or take it back.
    Approve(approve::ApproveArgs),
    /// End enforcement: the operator's off switch.
    Unload(unload::UnloadArgs),
    /// Say what this kernel lets rgt do, and what is missing.
    Doctor(doctor::DoctorArgs),
    /// Check, test, explain, show or suggest a policy.
    Policy(policy::PolicyArgs),
    /// Check a ledger offline.
    Verify(verify::VerifyArgs),
    /// Print the JSON Schema of the records.
    Schema(schema::SchemaArgs),
    /// Print what completes rgt's commands and options in a shell.
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write one for each command.
    Man(man::ManArgs),
}

pub fn main() -> ExitCode {
    // A reader that goes away ends a command quietly; `exec` and `run` see to it themselves.
    // SAFETY: signal(2) with a default disposition runs no code of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    let cli = Cli::parse();
    let (name, result) = match cli.command {
        Command::Run(args) => ("run", run::run(args)),
        Command::Exec(args) => return exec::run(args),
        Command::Tail(args) => ("tail", tail::run(args)),
        Command::Show(args) => ("show", show::run(args)),
        Command::Agents(args) => ("agents", agents::run(args)),
        Command::Top(args) => ("top", top::run(args)),
        Command::Approve(args) => ("approve", approve::run(args)),
        Command::Unload(args) => ("unload", unload::run(args)),
        Command::Doctor(args) => ("doctor", doctor::run(args)),
        Command::Policy(args) => ("policy", policy::run(args)),
        Command::Verify(args) => ("verify", verify::run(args)),
        Command::Schema(args) => ("schema", schema::run(args)),
        Command::Completions(args) => ("completions", completions::run(args, Cli::command())),
        Command::Man(args) => ("man", man::run(args, Cli::command())),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("rgt {name}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A command line without `rgt` itself.
#[cfg(test)]
fn parse(words: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once(&"rgt").chain(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_has_an_example() {
        fn look(command: &clap::Command, path: &str, lacking: &mut Vec<String>) {
            let path = format!("{path} {}", command.get_name()).trim_start().to_owned();
            let help = command.clone().render_long_help().to_string();
            let examples = help.split("Example").nth(1).unwrap_or_default();
            if !examples.contains(&path) {
                lacking.push(path.clone());
            }
            command.get_subcommands().for_each(|below| look(below, &path, lacking));
        }
        let mut lacking = Vec::new();
        look(&Cli::command(), "", &mut lacking);
        assert_eq!(lacking, Vec::<String>::new());
    }
}
