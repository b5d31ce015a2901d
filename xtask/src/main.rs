//! `cargo xtask VERB`: everything from a bare machine to a tested, running `rgt`. One verb a file.

mod bench;
mod build;
mod command;
mod demo;
mod paths;
mod setup;
mod test;
mod toolchain;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and show rgt from a bare machine")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what the build and the VM need; does nothing when all is there
    Setup,
    /// Build the kernel side and rgt: the result is target/release/rgt
    Build,
    /// Unit, native and VM tests; the last line is `N passed, N failed, N skipped`
    Test(test::Options),
    /// Run a command as root in a throw-away VM with one of Debian's kernels
    Vm(vm::Options),
    /// An example agent under a policy, its records on screen, then their verification
    Demo,
    /// What rgt costs, in instructions: JSON under target/bench/
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let result = match Cli::parse().verb {
        Verb::Setup => setup::run().map(|_| 0),
        Verb::Build => build::run().map(|_| 0),
        Verb::Test(options) => test::run(&options),
        Verb::Vm(options) => vm::run(&options),
        Verb::Demo => demo::run().map(|()| 0),
        Verb::Bench(options) => bench::run(&options).map(|()| 0),
    };
    match result {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
