//! How fast attempts become sealed records in a ledger, by one thread, beside HMAC-SHA256 alone over the same bytes in
//! the same run: a ratio, for the machine moves both. One JSON object; `cargo xtask bench` keeps it.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use rgt::ledger::{Ledger, LedgerConfig};
use rgt::record::{Recorder, RecorderOptions};
use serde_json::json;
use sha2::Sha256;
use support::{Scratch, allow, attempt, run};

const RECORDS: u64 = 50_000;
/// Taken in turn; the median of each counts.
const ROUNDS: usize = 5;
const PATHS: [&[u8]; 4] =
    [b"/usr/lib/x86_64-linux-gnu/libc.so.6", b"/work/src/main.rs", b"/etc/ld.so.cache", b"/tmp/build/deps/main.o"];

fn main() {
    let (mut records, mut seals, mut bytes) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let scratch = Scratch::new();
        records.push(write(&scratch));
        let lines = lines(&scratch);
        bytes = lines.iter().map(Vec::len).sum();
        seals.push(seal(&lines));
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
}

/// Until the last line is with the kernel; nothing is compressed meanwhile.
fn write(scratch: &Scratch) -> Duration {
    let config = LedgerConfig { segment_bytes: u64::MAX, ..scratch.config() };
    let mut ledger = Ledger::open(&scratch.ledger(), &config).expect("a ledger in the directory for temporary files");
    let mut recorder = Recorder::new(run("bench"), RecorderOptions::default()).expect("a run's recorder");
    let judgement = allow();
    let mut at = 1_793_700_000_000_000_000;
    let from = Instant::now();
    for number in 0..RECORDS as usize {
        at += 1_000_000;
        let mut attempt = attempt(at, PATHS[number % PATHS.len()]);
        attempt.object = attempt.argument.clone();
        recorder.attempt(&attempt, &judgement, &mut ledger).expect("a record");
    }
    ledger.flush(false).expect("the ledger's bytes written");
    from.elapsed()
}

fn lines(scratch: &Scratch) -> Vec<Vec<u8>> {
    let mut text = Vec::new();
    for entry in fs::read_dir(scratch.ledger()).expect("the ledger's directory") {
        let path = entry.expect("its entries").path();
        if path.extension().is_some_and(|ending| ending == "jsonl") {
            text.extend(fs::read(path).expect("a segment"));
        }
    }
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn seal(lines: &[Vec<u8>]) -> Duration {
    let key = Hmac::<Sha256>::new_from_slice(&[7; 32]).expect("a key of any length");
    let from = Instant::now();
    let mut all = 0_u8;
    for line in lines {
        let mut mac = key.clone();
        mac.update(line);
        all ^= mac.finalize().into_bytes()[0];
    }
    std::hint::black_box(all);
    from.elapsed()
}
