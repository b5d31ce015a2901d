use std::process::ExitCode;

fn main() -> ExitCode {
    rgt::cli::main()
}
