//! An independent implementation, in Python, agrees on every byte.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rgt::ledger::{Ledger, LedgerConfig};
use support::{Random, Scratch, copy_dir, fill, repository};

fn python(scratch: &Scratch, path: &Path) -> Output {
    Command::new("python3")
        .arg(repository().join("tests/python/rgt_verify.py"))
        .arg("--key-file")
        .arg(scratch.key_file())
        .arg(path)
        .output()
        .unwrap()
}

#[test]
fn agrees_on_every_record() {
    let mut random = Random::seeded();
    for length in [8, 0, 1, 64] {
        let scratch = Scratch::new();
        let config = LedgerConfig { segment_bytes: 1 << 20, compress_from: 1 << 20, ..scratch.config() };
        for _ in 0..2 {
            let mut ledger = Ledger::open(&scratch.ledger(), &config).unwrap();
            fill(&mut ledger, &mut random, length, 300);
            ledger.close().unwrap();
        }
        let output = python(&scratch, &scratch.ledger());
        assert!(output.status.success(), "length {length}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn disagrees_when_anything_changed() {
    let mut random = Random::seeded();
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    fill(&mut ledger, &mut random, 8, 40);
    ledger.close().unwrap();
    let copy = scratch.0.join("copy");
    for _ in 0..10 {
        copy_dir(&scratch.ledger(), &copy);
        let segment = copy.join("rgt-00000000000000000000.jsonl");
        let mut text = fs::read(&segment).unwrap();
        let at = random.below(text.len() as u64) as usize;
        text[at] ^= 1 << random.below(7);
        fs::write(&segment, text).unwrap();
        assert!(!python(&scratch, &copy).status.success(), "flip in byte {at}");
    }
}
