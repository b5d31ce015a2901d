//! One boot of a kernel: the scripts of `tests/vm` run in it, and what they told.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use rgt_tests::vm::{Boot, Missing, Mode};
use serde_json::Value;

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
        self.checks
            .get(name)
            .unwrap_or_else(|| panic!("{name}: the agent did not come to it"))
    }

    /// `data` of a ledger's records.
    pub fn records(&self, ledger: &str) -> impl Iterator<Item = &Value> {
        let of =
            move |(from, record): &'_ (String, Value)| from == ledger && record["data"].is_object();
        self.records
            .iter()
            .filter(move |entry| of(entry))
            .map(|(_, record)| &record["data"])
    }

    pub fn denials(&self, ledger: &str) -> impl Iterator<Item = &Value> {
        self.records(ledger)
            .filter(|data| data["policy_verdict"] == "DENY")
    }
}

/// Programs for the VM, which has no compiler.
fn tools(scripts: &Path) -> Result<PathBuf, Missing> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vm-tools");
    std::fs::create_dir_all(&dir).map_err(|error| Missing::Failed(format!("{}: {error}", dir.display())))?;
    for tool in ["full", "swap"] {
        let mut cc = Command::new("cc");
        cc.args(["-static", "-O1", "-o"]).arg(dir.join(tool)).arg(scripts.join(format!("{tool}.c")));
        match cc.output() {
            Ok(done) if done.status.success() => {}
            Ok(done) => return Err(Missing::Failed(String::from_utf8_lossy(&done.stderr).into_owned())),
            Err(error) => return Err(Missing::Failed(format!("cc: {error}"))),
        }
    }
    Ok(dir)
}

/// Boots a kernel and runs a script of `tests/vm` in it; `add` are further `HOST:GUEST` files.
pub fn boot(kernel: &str, mode: Mode, script: &str, add: &[String]) -> Result<Told, Missing> {
    boot_with(kernel, mode, script, add, &[])
}

/// The same; the script gets these arguments.
pub fn boot_with(
    kernel: &str,
    mode: Mode,
    script: &str,
    add: &[String],
    arguments: &[&str],
) -> Result<Told, Missing> {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm");
    let tools = tools(&scripts)?;
    let mut boot = Boot::new(kernel, mode).add(&scripts, "/t").add(&tools, "/full").seconds(1800);
    for pair in add {
        boot = boot.options(&["--add", pair]);
    }
    let path = format!("/t/{script}.sh");
    let command: Vec<&str> = ["sh", path.as_str()].into_iter().chain(arguments.iter().copied()).collect();
    let out = boot.run(script, &command)?;
    Told::read(&out)
        .map_err(|line| Missing::Failed(format!("the scripts do not say such a thing: {line}")))
}
