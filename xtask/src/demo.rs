//! `cargo xtask demo`: an example agent under the article's policy, its records on screen as they
//! come, then the verification of the ledger. Needs no terminal and ends by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::{build, command, paths};

const POLICY: &str = "policies/article.yaml";
const AGENT: &str = "tests/demo/agent.sh";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The agent needs a second or two; a compiler on a busy machine a few more.
const AGENT_TIME: Duration = Duration::from_secs(120);
/// The table is complete when nothing has come for this long.
const QUIET: Duration = Duration::from_millis(1500);
const QUIET_AT_MOST: Duration = Duration::from_secs(15);

pub fn run() -> Result<()> {
    build::run()?;
    let root = paths::root()?;
    let rgt = paths::rgt(&root);
    for needed in [POLICY, AGENT] {
        if !root.join(needed).is_file() {
            bail!("{needed}: missing: the checkout is incomplete (`git status`)");
        }
    }
    let ledger = paths::target(&root).join("demo/ledger");
    if ledger.exists() {
        std::fs::remove_dir_all(&ledger).with_context(|| ledger.display().to_string())?;
    }
    std::fs::create_dir_all(ledger.parent().context("no parent")?)?;
    let victim = Victim::new()?;

    println!("\nThis kernel: {}", abilities(&rgt));
    println!("The agent:   sh {AGENT}, under {POLICY}\n");
    let status = govern(&root, &rgt, &ledger, &victim)?;
    if !status.success() {
        bail!(
            "the agent's run ended with {status}; what rgt said is above (`{} doctor` tells what this machine lacks)",
            rgt.display()
        );
    }
    println!("\n{}", count(&ledger)?);
    println!(
        "The file outside the workspace, {}: {}",
        victim.file.display(),
        if victim.file.exists() {
            "still there: its deletion was denied"
        } else {
            "deleted: this kernel lets rgt only observe"
        }
    );
    println!("\n==> rgt verify {}", ledger.display());
    let verified = Command::new(&rgt)
        .arg("verify")
        .arg(&ledger)
        .stdin(Stdio::null())
        .status()
        .with_context(|| rgt.display().to_string())?;
    if !verified.success() {
        bail!("rgt verify {}: {verified}; its own words are above", ledger.display());
    }
    println!(
        "\nEnforcement in a VM, on any machine:\n  cargo xtask vm --kernel 6.12 --add {AGENT}:/agent.sh -- rgt exec --policy /{POLICY} --name demo-agent -- sh /agent.sh"
    );
    Ok(())
}

/// Runs the agent, with the table of its records beside it.
fn govern(root: &Path, rgt: &Path, ledger: &Path, victim: &Victim) -> Result<ExitStatus> {
    let mut agent = Command::new(rgt);
    agent
        .current_dir(root)
        .args(["exec", "--policy", POLICY, "--name", "demo-agent", "--ledger"])
        .arg(ledger)
        .args(["--", "sh", AGENT])
        // The same wherever it is run: version managers and library paths bring thousands of rows of their own.
        .env_clear()
        .env("PATH", PATH)
        // Where the article's policy lets an agent delete.
        .env("TMPDIR", "/tmp")
        .env("RGT_DEMO_VICTIM", &victim.file)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut agent = Ended(agent.spawn().with_context(|| format!("cannot run {}", rgt.display()))?);
    let words = [
        forward(agent.0.stdout.take(), "  agent: ", &Lines::default()),
        forward(agent.0.stderr.take(), "  ", &Lines::default()),
    ];

    // `tail` wants a ledger; `exec` makes it when the agent starts.
    let started = Instant::now();
    while !has_records(ledger) && agent.0.try_wait()?.is_none() && started.elapsed() < Duration::from_secs(30) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let shown = Lines::default();
    let mut tail = Command::new(rgt);
    tail.args(["tail", "-f", "--ledger"]).arg(ledger).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut tail = Ended(tail.spawn().with_context(|| format!("cannot run {} tail", rgt.display()))?);
    let table = forward(tail.0.stdout.take(), "", &shown);

    let status = loop {
        if let Some(status) = agent.0.try_wait()? {
            break status;
        }
        if started.elapsed() > AGENT_TIME {
            bail!("the agent did not end within {} s", AGENT_TIME.as_secs());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    for thread in words {
        let _ = thread.join();
    }
    shown.wait_for_quiet();
    drop(tail);
    let _ = table.join();
    if status.success() && shown.count() == 0 {
        bail!("`rgt tail -f --ledger {}` showed no record", ledger.display());
    }
    Ok(status)
}

fn has_records(ledger: &Path) -> bool {
    segments(ledger).iter().any(|segment| segment.metadata().is_ok_and(|meta| meta.len() > 0))
}

fn segments(ledger: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(ledger).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|ext| ext == "jsonl")).collect()
}

/// How many records of which verdict there are.
fn count(ledger: &Path) -> Result<String> {
    let mut counts = [("ALLOW", 0), ("DENY", 0), ("CHALLENGE", 0)];
    let mut records = 0;
    for segment in segments(ledger) {
        let file = std::fs::File::open(&segment).with_context(|| segment.display().to_string())?;
        for line in BufReader::new(file).split(b'\n') {
            let record: serde_json::Value =
                serde_json::from_slice(&line?).with_context(|| format!("{}: not JSON", segment.display()))?;
            records += 1;
            for (verdict, count) in &mut counts {
                *count += u32::from(record["data"]["policy_verdict"] == *verdict);
            }
        }
    }
    let [(_, allow), (_, deny), (_, challenge)] = counts;
    Ok(format!("{records} records: {allow} ALLOW, {deny} DENY, {challenge} CHALLENGE"))
}

/// One line on what `rgt` can do on this kernel, from `rgt doctor`.
fn abilities(rgt: &Path) -> String {
    let mode = command::output(Command::new(rgt).args(["doctor", "--json"])).and_then(|text| {
        let objects: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        objects.iter().find_map(|object| object["mode"].as_str().map(str::to_owned))
    });
    match mode.as_deref() {
        Some("observe") => "rgt can observe here, not deny: what the policy forbids is recorded as would_block".into(),
        Some(mode) => format!("rgt can deny here, by {mode}"),
        // Another form of answer is still an answer.
        None => command::output(Command::new(rgt).arg("doctor"))
            .and_then(|text| text.lines().find(|line| !line.trim().is_empty()).map(str::to_owned))
            .unwrap_or_else(|| format!("unknown: `{} doctor` failed", rgt.display())),
    }
}

/// Lines shown, and when the last one came.
#[derive(Clone)]
struct Lines {
    started: Instant,
    count: Arc<AtomicU64>,
    last: Arc<AtomicU64>,
}

impl Default for Lines {
    fn default() -> Self {
        Self { started: Instant::now(), count: Arc::default(), last: Arc::default() }
    }
}

impl Lines {
    fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last.store(self.now(), Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    fn wait_for_quiet(&self) {
        let from = self.now();
        loop {
            let now = self.now();
            let quiet = Duration::from_millis(now - self.last.load(Ordering::Relaxed).max(from));
            if quiet > QUIET || Duration::from_millis(now - from) > QUIET_AT_MOST {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Passes lines on to our stdout, each behind a prefix.
fn forward(pipe: Option<impl Read + Send + 'static>, prefix: &'static str, lines: &Lines) -> JoinHandle<()> {
    let lines = lines.clone();
    std::thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let mut out = std::io::stdout().lock();
            // Nobody reading our output must not stop the agent.
            let _ = out
                .write_all(prefix.as_bytes())
                .and_then(|()| out.write_all(&line))
                .and_then(|()| out.write_all(b"\n"));
            lines.add();
        }
    })
}

/// Ends the program when dropped: `tail -f` goes on for ever.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file of the demo's own outside /tmp, that the agent tries to delete.
struct Victim {
    dir: PathBuf,
    file: PathBuf,
}

impl Victim {
    fn new() -> Result<Self> {
        let dir = PathBuf::from(format!("/var/tmp/rgt-demo-{}", std::process::id()));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        let file = dir.join("keep.txt");
        std::fs::write(&file, "made by the demo, to be deleted by its agent\n")
            .with_context(|| file.display().to_string())?;
        Ok(Self { dir, file })
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
