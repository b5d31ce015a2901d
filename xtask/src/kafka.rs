//! A real Kafka broker and the example consumer's client, for the tests. Fetched once into the cache by the
//! ecosystems' own clients; afterwards only files are looked at.
//!
//! `tests/src/kafka.rs` includes this file, so that a test run alone finds the same places.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

const POM: &str = include_str!("../../tests/kafka/pom.xml");
const REQUIREMENTS: &str = include_str!("../../tests/kafka/requirements.txt");
/// Written last: a directory without it is the remains of an interrupted fetch.
const COMPLETE: &str = ".complete";

/// The directory that holds the broker's jars.
pub fn ensure(cache: &Path) -> Result<PathBuf> {
    let home = cache.join(format!("kafka-{:016x}", fingerprint(POM)));
    once(&home, |home| {
        let pom = home.join("pom.xml");
        fs::write(&pom, POM).with_context(|| pom.display().to_string())?;
        run(
            "fetching Kafka (54 MB of jars)",
            Command::new("mvn")
                .args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=lib", "-f"])
                .arg(&pom)
                .current_dir(home),
            "install it with `apt-get install maven`",
        )
    })?;
    Ok(home.join("lib"))
}

/// A Python interpreter that has the example consumer's Kafka client.
pub fn ensure_consumer(cache: &Path) -> Result<PathBuf> {
    let home = cache.join(format!("kafka-python-{:016x}", fingerprint(REQUIREMENTS)));
    let python = home.join("bin/python");
    once(&home, |home| {
        run(
            "making a Python environment",
            Command::new("python3").args(["-m", "venv"]).arg(home),
            "install it with `apt-get install python3-venv`",
        )?;
        let list = home.join("requirements.txt");
        fs::write(&list, REQUIREMENTS).with_context(|| list.display().to_string())?;
        run(
            "fetching the Kafka client for Python",
            // Wheels only: a source build would need a second librdkafka on the machine.
            Command::new(&python).args(["-m", "pip", "install", "-q", "--only-binary", ":all:", "-r"]).arg(&list),
            "it needs a wheel for this Python; see tests/kafka/requirements.txt",
        )
    })?;
    Ok(python)
}

/// Fills a directory unless it is complete; of two processes one fills and the other waits.
fn once(home: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let complete = home.join(COMPLETE);
    if complete.exists() {
        return Ok(());
    }
    let parent = home.parent().context("the cache has no parent directory")?;
    fs::create_dir_all(parent).with_context(|| {
        format!("{}: cannot make the cache; set RGT_CACHE to a writable directory", parent.display())
    })?;
    let lock = home.with_extension("lock");
    let lock = File::create(&lock).with_context(|| lock.display().to_string())?;
    lock.lock().context("cannot lock the cache")?;
    if complete.exists() {
        return Ok(());
    }
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| home.display().to_string())?;
    }
    fs::create_dir_all(home).with_context(|| home.display().to_string())?;
    fill(home)?;
    File::create(&complete).with_context(|| complete.display().to_string())?;
    Ok(())
}

fn run(what: &str, command: &mut Command, cure: &str) -> Result<()> {
    eprintln!("==> {what}");
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("{what}: cannot run {program}: {cure}"))?;
    if !out.status.success() {
        bail!(
            "{what}: {program} failed ({}); {cure}; its own words:\n{}{}",
            out.status,
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
    }
    Ok(())
}

/// FNV-1a: names a directory by what it is made from; another pom, another directory.
fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
