//! `cargo xtask test`: unit and property tests, then those that need this machine's kernel, then
//! the VM's. Everything is streamed; the last line is `N passed, N failed, N skipped`.

mod parse;

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::{build, command, paths};
use parse::Tally;

#[derive(Args)]
pub struct Options {
    /// The big counts too, and what takes long
    #[arg(long)]
    full: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

/// The crate of what needs a kernel, a VM or a real server.
const TESTS: &str = "rgt-tests";
/// Its targets that run on this machine's own kernel, one at a time; the others boot VMs, which do not see each other.
const HERE: [&str; 2] = ["kafka", "native"];
const SLOWEST: usize = 10;

pub fn run(options: &Options) -> Result<u8> {
    let seed = match std::env::var("RGT_SEED") {
        Ok(seed) if !seed.is_empty() => seed,
        _ => random()?.to_string(),
    };
    println!("RGT_SEED={seed}{}", if options.full { " RGT_FULL=1" } else { "" });
    let mut all = Summary::default();

    let started = Instant::now();
    let built = build::run();
    all.step("setup and build", started.elapsed());
    match built {
        Ok(()) => run_steps(options, &seed, &mut all)?,
        // Whoever reads only the last line must see that nothing was tested.
        Err(error) => all.tally.failures.push(format!("build: {error:#}")),
    }
    Ok(all.print())
}

fn run_steps(options: &Options, seed: &str, all: &mut Summary) -> Result<()> {
    let root = paths::root()?;
    let xtask = std::env::current_exe().context("cannot tell where xtask is")?;
    let targets = targets(&root)?;
    let run = |step: &Step| {
        let mut cargo = build::host_cargo(&root);
        cargo
            .args(["test", "--release", "--no-fail-fast"])
            .args(&step.cargo)
            .arg("--")
            .args(&step.libtest)
            .args(&options.filter)
            .env("RGT_BIN", paths::rgt(&root))
            .env("RGT_ROOT", &root)
            .env("XTASK", &xtask)
            .env("RGT_SEED", seed)
            .env_remove("RGT_FULL");
        if options.full {
            cargo.env("RGT_FULL", "1");
        }
        println!("\n==> {}", step.name);
        let started = Instant::now();
        Ok((run_step(step, &mut cargo)?, started.elapsed()))
    };
    let (here, virtual_machines) = steps(&targets);
    for step in &here {
        let (tally, time) = run(step)?;
        all.step(&step.name, time);
        all.tally.add(tally);
    }
    for (step, done) in side_by_side(virtual_machines, run) {
        let (tally, time) = done?;
        all.step(&step.name, time);
        all.tally.add(tally);
    }
    Ok(())
}

/// Runs steps as processors allow. An emulated machine keeps one busy.
fn side_by_side<T: Send>(steps: Vec<Step>, run: impl Fn(&Step) -> Result<T> + Sync) -> Vec<(Step, Result<T>)> {
    let lanes = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let left = Mutex::new(VecDeque::from(steps));
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let Some(step) = locked(&left).pop_front() else {
                        return;
                    };
                    let result = run(&step);
                    locked(&done).push((step, result));
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// What a thread that panicked left is whole: nothing is changed in halves.
fn locked<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Step {
    name: String,
    cargo: Vec<String>,
    libtest: Vec<&'static str>,
    /// One test at a time, so that the time between two results is a test's.
    serial: bool,
}

impl Step {
    fn of_tests(name: &str, choice: &[&str]) -> Self {
        let mut cargo = vec!["--package".to_owned(), TESTS.to_owned()];
        cargo.extend(choice.iter().map(|word| (*word).to_owned()));
        // Kernel programs exist once a machine: two tests at a time would see each other's.
        Self { name: format!("{TESTS}: {name}"), cargo, libtest: vec!["--test-threads=1", "--nocapture"], serial: true }
    }
}

/// One step for the fast tests of all crates and one for each target of the tests crate: those that run here, and
/// those that boot VMs.
fn steps(targets: &[String]) -> (Vec<Step>, Vec<Step>) {
    let mut here = vec![Step {
        name: "unit and property tests".into(),
        cargo: ["--workspace", "--exclude", TESTS].map(String::from).to_vec(),
        // What a passing test printed may say that it skipped.
        libtest: vec!["--show-output"],
        serial: false,
    }];
    here.push(Step::of_tests("helpers", &["--lib"]));
    let step = |target: &String| Step::of_tests(target, &["--test", target]);
    let (native, virtual_machines): (Vec<&String>, Vec<&String>) =
        targets.iter().partition(|target| HERE.contains(&target.as_str()));
    here.extend(native.into_iter().map(step));
    (here, virtual_machines.into_iter().map(step).collect())
}

/// The test targets of the tests crate, in order.
fn targets(root: &Path) -> Result<Vec<String>> {
    let mut cargo = build::host_cargo(root);
    cargo.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]);
    let text = command::output(&mut cargo)
        .context("cargo metadata failed: is a Cargo.toml broken? (`cargo metadata --no-deps` says)")?;
    let metadata: serde_json::Value = serde_json::from_str(&text).context("cargo metadata: not JSON")?;
    let mut names = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten().filter(|package| package["name"] == TESTS) {
        for target in package["targets"].as_array().into_iter().flatten() {
            if target["kind"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind == "test")) {
                names.extend(target["name"].as_str().map(str::to_owned));
            }
        }
    }
    names.sort();
    Ok(names)
}

/// Runs cargo, passes its output on, each test's in one piece, and reads the results in it.
fn run_step(step: &Step, cargo: &mut Command) -> Result<Tally> {
    let mut child = cargo.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot run cargo")?;
    let mut parser = parse::Parser::new(&step.name, step.serial);
    let mut pipe = child.stdout.take().context("cargo has no stdout")?;
    let mut buffer = [0; 16384];
    let mut line = Vec::new();
    let mut unshown = Vec::new();
    while let Ok(count @ 1..) = pipe.read(&mut buffer) {
        for &byte in &buffer[..count] {
            unshown.push(byte);
            if byte == b'\n' {
                parser.line(&String::from_utf8_lossy(&line), Instant::now());
                line.clear();
                if !parser.is_in_a_test() {
                    show(&mut unshown);
                }
            } else {
                line.push(byte);
            }
        }
    }
    show(&mut unshown);
    let status = child.wait()?;
    Ok(parser.end(status.success()))
}

fn show(bytes: &mut Vec<u8>) {
    let mut out = std::io::stdout().lock();
    // Nobody reading is no reason to stop testing.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
    bytes.clear();
}

#[derive(Default)]
struct Summary {
    tally: Tally,
    steps: Vec<(Duration, String)>,
}

impl Summary {
    fn step(&mut self, name: &str, time: Duration) {
        self.steps.push((time, format!("step {name}")));
    }

    /// Prints what a person wants to know, and the last line; the exit status.
    fn print(mut self) -> u8 {
        let _ = std::io::stderr().flush();
        let mut times = self.steps;
        times.append(&mut self.tally.times);
        times.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
        println!("\nslowest:");
        for (time, name) in times.iter().take(SLOWEST) {
            println!("  {:8.1} s  {name}", time.as_secs_f32());
        }
        for (title, lines) in [("skipped:", &self.tally.skips), ("failed:", &self.tally.failures)] {
            if !lines.is_empty() {
                println!("{title}");
                for line in lines {
                    println!("  {line}");
                }
            }
        }
        let failed = self.tally.failures.len();
        println!("{} passed, {failed} failed, {} skipped", self.tally.passed, self.tally.skips.len());
        u8::from(failed > 0)
    }
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("/dev/urandom")?;
    // Short enough to type again.
    Ok(u64::from_le_bytes(bytes) >> 24)
}
