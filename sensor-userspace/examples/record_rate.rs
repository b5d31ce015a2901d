//! How fast attempts become sealed records in a ledger, by one thread, beside HMAC-SHA256 alone over the same bytes in
//! the same run: a ratio, for the machine moves both. One JSON object; `cargo xtask bench` keeps it.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use anyhow::Result;
use hmac::{Hmac, Mac};
use rgt::ledger::{Ledger, LedgerConfig, Reader};
use rgt::record::{Recorder, RecorderOptions};
use serde_json::json;
use sha2::Sha256;
use support::{Scratch, allow, attempt, run};

const RECORDS: u64 = 50_000;
/// Taken in turn; the median of each counts.
const ROUNDS: usize = 5;
const PATHS: [&[u8]; 4] =
    [b"/usr/lib/x86_64-linux-gnu/libc.so.6", b"/work/src/main.rs", b"/etc/ld.so.cache", b"/tmp/build/deps/main.o"];

fn main() -> Result<()> {
    let (mut records, mut seals, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let scratch = Scratch::new();
        records.push(write(&scratch)?);
        let lines = lines(&scratch)?;
        bytes = lines.iter().map(Vec::len).sum();
        seals.push(seal(&lines)?);
    }
    let per_second = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        RECORDS as f64 / times[ROUNDS / 2].as_secs_f64()
    };
    let (records, seals) = (per_second(&mut records), per_second(&mut seals));
    let told = json!({
        "records": RECORDS, "bytes_a_record": bytes as u64 / RECORDS, "records_per_second": records as u64,
        "hmac_per_second": seals as u64, "of_hmac_percent": (records / seals * 100.0).round() as u64,
    });
    println!("{told}");
    Ok(())
}

/// Until the last line is with the kernel; nothing is compressed meanwhile.
fn write(scratch: &Scratch) -> Result<Duration> {
    let config = LedgerConfig { segment_bytes: u64::MAX, ..scratch.config() };
    let mut ledger = Ledger::open(&scratch.ledger(), &config)?;
    let mut recorder = Recorder::new(run("bench"), RecorderOptions::default())?;
    let judgement = allow();
    let mut at = 1_793_700_000_000_000_000;
    let from = Instant::now();
    for number in 0..RECORDS as usize {
        at += 1_000_000;
        let mut attempt = attempt(at, PATHS[number % PATHS.len()]);
        attempt.object = attempt.argument.clone();
        recorder.attempt(&attempt, &judgement, &mut ledger)?;
    }
    ledger.flush(false)?;
    Ok(from.elapsed())
}

fn lines(scratch: &Scratch) -> Result<Vec<Vec<u8>>> {
    let mut reader = Reader::open(&scratch.ledger())?;
    let (mut line, mut all) = (Vec::new(), Vec::new());
    while reader.next_line(&mut line)?.is_some() {
        all.push(line.clone());
    }
    Ok(all)
}

fn seal(lines: &[Vec<u8>]) -> Result<Duration> {
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32])?;
    let from = Instant::now();
    let mut all = 0_u8;
    for line in lines {
        let mut mac = key.clone();
        mac.update(line);
        all ^= mac.finalize().into_bytes()[0];
    }
    std::hint::black_box(all);
    Ok(from.elapsed())
}
