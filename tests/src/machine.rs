//! One boot of a kernel: the scripts of `tests/vm` run in it, and what they told.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use crate::vm::scratch;
pub use crate::vm::{Boot, Missing, Mode};
use serde_json::Value;

/// One boot, and one test for each thing that must be true of it.
#[macro_export]
macro_rules! machine {
    ($name:ident, $kernel:literal, $mode:expr, $boot:expr, [$($check:ident),+ $(,)?]) => {
        mod $name {
            use super::*;

            static BOOTS: $crate::machine::Boots = $crate::machine::Boots {
                kernel: $kernel,
                first: std::sync::LazyLock::new(|| $boot($kernel, $mode)),
                second: std::sync::LazyLock::new(|| $boot($kernel, $mode)),
            };

            $(
                #[test]
                fn $check() {
                    if let Err(reason) = BOOTS.ask(|told| super::$check(told, $kernel, $mode)) {
                        println!("SKIP {}::{}: {reason}", stringify!($name), stringify!($check));
                    }
                }
            )+
        }
    };
}

/// Booted when a check first asks.
type Booted = LazyLock<Result<Told, Missing>>;

pub struct Boots {
    pub kernel: &'static str,
    pub first: Booted,
    pub second: Booted,
}

impl Boots {
    /// A failed check of a degraded kernel counts if another boot repeats it.
    pub fn ask(&self, check: impl Fn(&Told) -> Done) -> Done {
        let first = told(&self.first)?;
        if !degraded(self.kernel) {
            return check(first);
        }
        catch_unwind(AssertUnwindSafe(|| check(first))).unwrap_or_else(|_| {
            println!("booted once more, for {LOSES}");
            check(told(&self.second)?)
        })
    }
}

fn told(booted: &Booted) -> Result<&Told, String> {
    match &**booted {
        Ok(told) => Ok(told),
        Err(Missing::Skipped(reason)) => Err(reason.clone()),
        Err(Missing::Failed(reason)) => panic!("{reason}"),
    }
}

/// What an attempt of `agent.sh` met.
#[derive(Debug)]
pub struct Check {
    pub status: u8,
    /// What then stood at its place: `gone`, `there`, or a file's size.
    pub state: String,
    pub message: String,
}

#[derive(Debug, Default)]
pub struct Told {
    pub checks: HashMap<String, Check>,
    pub facts: HashMap<String, String>,
    /// Ledger and record.
    records: Vec<(String, Value)>,
    pub doctor: String,
}

impl Told {
    /// An error is the line that says nothing known.
    fn read(out: &str) -> Result<Self, String> {
        let mut told = Self::default();
        for line in out.lines() {
            let fields: Vec<&str> = line.splitn(5, '\t').collect();
            match fields[..] {
                ["@", check, status, state, message] => {
                    let check = (
                        check.to_owned(),
                        Check {
                            status: status.parse().map_err(|_| line)?,
                            state: state.to_owned(),
                            message: message.to_owned(),
                        },
                    );
                    told.checks.extend([check]);
                }
                ["#", fact, value] => told.facts.extend([(fact.to_owned(), value.to_owned())]),
                ["%", ledger, record] => {
                    let record = serde_json::from_str(record).map_err(|_| line)?;
                    told.records.push((ledger.to_owned(), record));
                }
                ["?", ref words @ ..] => {
                    told.doctor.push_str(&words.join("\t"));
                    told.doctor.push('\n');
                }
                _ => return Err(line.to_owned()),
            }
        }
        Ok(told)
    }

    pub fn fact(&self, name: &str) -> &str {
        self.facts.get(name).map_or("(not told)", String::as_str)
    }

    pub fn check(&self, name: &str) -> &Check {
        self.checks.get(name).unwrap_or_else(|| panic!("{name}: the agent did not come to it"))
    }

    /// `data` of a ledger's records.
    pub fn records(&self, ledger: &str) -> impl Iterator<Item = &Value> {
        let of = move |(from, record): &'_ (String, Value)| from == ledger && record["data"].is_object();
        self.records.iter().filter(move |entry| of(entry)).map(|(_, record)| &record["data"])
    }

    pub fn denials(&self, ledger: &str) -> impl Iterator<Item = &Value> {
        self.records(ledger).filter(|data| data["policy_verdict"] == "DENY")
    }
}

/// Programs for the VM, which has no compiler.
fn tools(scripts: &Path) -> Result<PathBuf, Missing> {
    let dir = scratch().join(format!("vm-tools-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| Missing::Failed(format!("{}: {error}", dir.display())))?;
    for tool in ["answers", "full", "limits", "swap", "unsure"] {
        let mut cc = Command::new("cc");
        cc.args(["-static", "-pthread", "-O1", "-o"]).arg(dir.join(tool)).arg(scripts.join(format!("{tool}.c")));
        match cc.output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => return Err(Missing::Failed(String::from_utf8_lossy(&done.stderr).into_owned())),
            Err(error) => return Err(Missing::Failed(format!("cc: {error}"))),
        }
    }
    Ok(dir)
}

/// An error is the reason why a test was skipped.
pub type Done = Result<(), String>;

/// Tracepoint programs, fmod_ret ones too, are skipped for a task when another was preempted in one,
/// and 7.2 always preempts.
pub fn degraded(kernel: &str) -> bool {
    kernel == "7.2"
}

/// Said of a degraded kernel in `docs/kernels.md`: no test asserts what it cannot promise.
pub const LOSES: &str = "this kernel skips tracing programs";

/// The one record of a ledger that is of this kind.
pub fn kind<'a>(told: &'a Told, ledger: &str, kind: &str) -> &'a Value {
    let of_kind: Vec<&Value> = told.records(ledger).filter(|data| data["kind"] == kind).collect();
    match of_kind[..] {
        [record] => record,
        _ => panic!("{ledger}: {} records of kind {kind}, not one", of_kind.len()),
    }
}

/// Boots a kernel and runs a script of `tests/vm` in it; `add` are further `HOST:GUEST` files.
pub fn boot(kernel: &str, mode: Mode, script: &str, add: &[String]) -> Result<Told, Missing> {
    boot_with(kernel, mode, script, add, &[])
}

/// The same; the script gets these arguments.
pub fn boot_with(kernel: &str, mode: Mode, script: &str, add: &[String], arguments: &[&str]) -> Result<Told, Missing> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm");
    let tools = tools(&scripts)?;
    let mut boot = Boot::new(kernel, mode).add(&scripts, "/t").add(&tools, "/full").seconds(1800);
    for pair in add {
        boot = boot.options(&["--add", pair]);
    }
    let path = format!("/t/{script}.sh");
    let command: Vec<&str> = ["sh", path.as_str()].into_iter().chain(arguments.iter().copied()).collect();
    let out = boot.run(script, &command)?;
    Told::read(&out).map_err(|line| Missing::Failed(format!("the scripts do not say such a thing: {line}")))
}
