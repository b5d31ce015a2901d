//! Whatever is done to a ledger: `verify` says so, and calls it by its name.

mod support;

use std::fs;
use std::path::PathBuf;

use rgt::ledger::{Ledger, LedgerConfig};
use rgt::seal::head::Head;
use rgt::seal::tree::Tree;
use rgt::seal::verify::{Fault, Report, verify};
use sha2::{Digest, Sha256};
use support::{Random, Scratch, copy_dir, fill};

struct Case {
    scratch: Scratch,
    segments: Vec<PathBuf>,
    pristine: PathBuf,
}

impl Case {
    fn new(random: &mut Random) -> Case {
        let scratch = Scratch::new();
        let config = LedgerConfig { segment_bytes: 96 << 10, ..scratch.config() };
        let mut ledger = Ledger::open(&scratch.ledger(), &config).unwrap();
        fill(&mut ledger, random, 8, 200);
        ledger.close().unwrap();
        let pristine = scratch.0.join("pristine");
        copy_dir(&scratch.ledger(), &pristine);
        let mut segments: Vec<PathBuf> = fs::read_dir(scratch.ledger())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"))
            .collect();
        segments.sort();
        assert!(segments.len() > 2);
        Case { scratch, segments, pristine }
    }

    fn restore(&self) {
        copy_dir(&self.pristine, &self.scratch.ledger());
    }

    fn verify(&self) -> Report {
        verify(&self.scratch.ledger(), &self.scratch.keys(), &mut |_| {}).unwrap()
    }

    fn expect(&self, what: &str, faults: &[Fault]) {
        let problem = self.verify().problem;
        let fault = problem.as_ref().map(|problem| problem.fault);
        assert!(fault.is_some_and(|fault| faults.contains(&fault)), "{what}: {problem:?}");
    }

    fn edit(&self, segment: usize, edit: impl FnOnce(&mut Vec<Vec<u8>>)) {
        let path = &self.segments[segment];
        let text = fs::read(path).unwrap();
        let mut lines: Vec<Vec<u8>> = text.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        edit(&mut lines);
        fs::write(path, lines.concat()).unwrap();
    }
}

#[test]
fn random_tampering_is_found_and_named() {
    let mut random = Random::seeded();
    let case = Case::new(&mut random);
    assert_eq!(case.verify().problem, None);
    let newest = case.segments.len() - 1;
    for round in 0..400 {
        let segment = random.below(case.segments.len() as u64) as usize;
        let text = fs::read(&case.segments[segment]).unwrap();
        let count = text.iter().filter(|&&byte| byte == b'\n').count() as u64;
        let line = random.below(count) as usize;
        let other = (line as u64 + 1 + random.below(count - 1)) % count;
        let (low, high) = (line.min(other as usize), line.max(other as usize));
        let (what, faults): (String, &[Fault]) = match round % 7 {
            0 => {
                let at = random.below(text.len() as u64) as usize;
                let bit = 1 << random.below(8);
                let mut changed = text.clone();
                changed[at] ^= bit;
                fs::write(&case.segments[segment], changed).unwrap();
                (format!("flip bit {bit} of byte {at} in segment {segment}"), &[Fault::Modified])
            }
            1 if segment == newest && low as u64 == count - 1 => continue,
            1 => {
                let last = segment == newest && line as u64 == count - 1;
                case.edit(segment, |lines| drop(lines.remove(line)));
                let fault: &[Fault] = if last { &[Fault::Truncated] } else { &[Fault::Missing] };
                (format!("delete line {line} of segment {segment}"), fault)
            }
            2 => {
                case.edit(segment, |lines| lines.swap(low, high));
                (format!("swap lines {low} and {high} of segment {segment}"), &[Fault::Reordered])
            }
            3 => {
                case.edit(segment, |lines| {
                    let copy = lines[low].clone();
                    lines.insert(high, copy);
                });
                (format!("line {low} again at {high} of segment {segment}"), &[Fault::Duplicated])
            }
            4 => {
                case.edit(segment, |lines| {
                    let copy = lines[high].clone();
                    lines.insert(low, copy);
                });
                (format!("line {high} early at {low} of segment {segment}"), &[Fault::Duplicated])
            }
            5 => {
                let at = random.below(fs::metadata(&case.segments[newest]).unwrap().len()) as usize;
                let text = fs::read(&case.segments[newest]).unwrap();
                fs::write(&case.segments[newest], &text[..at]).unwrap();
                (format!("cut the tail at byte {at}"), &[Fault::Truncated])
            }
            _ => {
                let head = case.scratch.ledger().join("head.json");
                let mut text = fs::read(&head).unwrap();
                let at = random.below(text.len() as u64) as usize;
                text[at] ^= 1 << random.below(8);
                fs::write(head, text).unwrap();
                (format!("flip in byte {at} of the head"), &[Fault::Modified])
            }
        };
        case.expect(&what, faults);
        case.restore();
    }
    assert_eq!(case.verify().problem, None);
}

#[test]
fn whole_segments() {
    let mut random = Random::seeded();
    let case = Case::new(&mut random);
    let newest = case.segments.len() - 1;
    for (segment, fault) in [(0, Fault::Missing), (1, Fault::Missing), (newest, Fault::Truncated)] {
        fs::remove_file(&case.segments[segment]).unwrap();
        case.expect(&format!("segment {segment} gone"), &[fault]);
        case.restore();
    }
    let (first, second) = (fs::read(&case.segments[0]).unwrap(), fs::read(&case.segments[1]).unwrap());
    fs::write(&case.segments[0], &second).unwrap();
    fs::write(&case.segments[1], &first).unwrap();
    case.expect("segments exchanged", &[Fault::Reordered]);
    case.restore();
    fs::remove_file(case.scratch.ledger().join("head.json")).unwrap();
    case.expect("head gone", &[Fault::Truncated]);
    case.restore();
    // A segment alone: its tail is vouched for by the next one's name.
    case.edit(1, |lines| drop(lines.pop()));
    let report = verify(&case.segments[1], &case.scratch.keys(), &mut |_| {}).unwrap();
    assert_eq!(report.problem.map(|problem| problem.fault), Some(Fault::Truncated));
}

/// Without any of the ledger's keys: the tail is cut, and a head is signed with a key of one's own.
#[test]
fn a_cut_tail_under_a_head_of_ones_own() {
    let case = Case::new(&mut Random::seeded());
    let own = rgt::seal::NodeKey::load_or_make(&rgt::seal::SealConfig {
        key_dir: case.scratch.0.join("own"),
        ..Default::default()
    })
    .unwrap();
    let newest = case.segments.last().unwrap();
    let forge = |lines: usize| {
        let mut tree = Tree::default();
        let (mut chain, mut last) = (String::new(), [0; 32]);
        let text: Vec<u8> = case.segments.iter().flat_map(|segment| fs::read(segment).unwrap()).collect();
        for line in text.split(|byte| *byte == b'\n').take(lines) {
            last = Sha256::digest(line).into();
            tree.push(&last);
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            chain = value["data"]["chain"]["id"].as_str().unwrap().to_string();
        }
        Head { last: hex::encode(last), ..Head::sign(&own, &chain, "node-1", &tree) }
            .write(&case.scratch.ledger(), &own, |_| Ok(()))
            .unwrap();
    };
    let cut = || {
        case.restore();
        case.edit(case.segments.len() - 1, |lines| lines.truncate(3));
        case.segments.iter().map(|segment| fs::read_to_string(segment).unwrap().lines().count()).sum::<usize>()
    };
    let whole = cut();
    for over in [0, 1, whole] {
        cut();
        forge(over);
        case.expect(&format!("a head over {over}"), &[Fault::Modified]);
        let alone = verify(newest, &case.scratch.keys(), &mut |_| {}).unwrap();
        assert!(alone.problem.is_some() || alone.head.is_none(), "a segment alone under a head over {over}: {alone:?}");
    }
    // Nor does going on make it good without a word.
    drop(Ledger::open(&case.scratch.ledger(), &case.scratch.config()).unwrap());
    let text = fs::read_to_string(newest).unwrap();
    assert!(text.lines().last().unwrap().contains("\"head_missing\":true"));
}

#[test]
fn foreign_lines_and_keys() {
    let mut random = Random::seeded();
    let case = Case::new(&mut random);
    let report = verify(&case.scratch.ledger(), &[], &mut |_| {}).unwrap();
    assert_eq!(report.problem.map(|problem| problem.fault), Some(Fault::UnknownKey));

    // Another ledger of the same node and key: every line is genuine, but of another chain.
    let other = case.scratch.0.join("other");
    let mut ledger = Ledger::open(&other, &case.scratch.config()).unwrap();
    fill(&mut ledger, &mut random, 8, 30);
    ledger.close().unwrap();
    let foreign = fs::read(other.join("rgt-00000000000000000000.jsonl")).unwrap();
    let foreign: Vec<&[u8]> = foreign.split_inclusive(|&byte| byte == b'\n').collect();
    case.edit(0, |lines| lines[5] = foreign[5].to_vec());
    case.expect("a line of another ledger", &[Fault::BrokenBootChain]);
    case.restore();

    let text = case.scratch.0.join("notes.txt");
    fs::write(&text, "dear diary\n").unwrap();
    let report = verify(&text, &case.scratch.keys(), &mut |_| {}).unwrap();
    assert_eq!(report.problem.map(|problem| problem.fault), Some(Fault::Malformed));
    assert!(verify(&case.scratch.0.join("nothing"), &[], &mut |_| {}).is_err());
}

/// A key holder who forgets that a boot must be said.
#[test]
fn a_boot_that_nobody_announced() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    fill(&mut ledger, &mut Random::seeded(), 8, 5);
    ledger.close().unwrap();
    let segment = scratch.ledger().join("rgt-00000000000000000000.jsonl");
    let text = fs::read_to_string(&segment).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let mut prev: Option<String> = None;
    let mut out = String::new();
    for (n, line) in text.lines().enumerate() {
        let mut line = line.to_string();
        if n >= 3 {
            line = line.replace(boot.trim(), "00000000-0000-0000-0000-000000000000");
        }
        let parts = rgt::record::envelope::Parts::of(line.as_bytes()).unwrap();
        let mut data = String::from_utf8(parts.data.to_vec()).unwrap();
        if let Some(prev) = prev {
            let at = data.find("\"prev\":\"").unwrap() + 8;
            data.replace_range(at..at + 64, &prev);
        }
        let signature = scratch.keys()[0].sign([parts.kind, parts.source, parts.time, parts.id, data.as_bytes()]);
        let old = String::from_utf8(parts.data.to_vec()).unwrap();
        let old_signature = String::from_utf8(parts.signature.to_vec()).unwrap();
        let line = line.replace(&old, &data).replace(&old_signature, std::str::from_utf8(&signature).unwrap());
        prev = Some(hex::encode(<sha2::Sha256 as sha2::Digest>::digest(line.as_bytes())));
        out += &line;
        out.push('\n');
    }
    fs::write(&segment, out).unwrap();
    let report = verify(&scratch.ledger(), &scratch.keys(), &mut |_| {}).unwrap();
    let problem = report.problem.unwrap();
    assert_eq!((problem.fault, problem.line), (Fault::BrokenBootChain, 4), "{problem:?}");
}

#[test]
fn exit_codes_are_for_good() {
    let codes = [
        (Fault::Modified, 10),
        (Fault::Missing, 11),
        (Fault::Reordered, 12),
        (Fault::Truncated, 13),
        (Fault::Duplicated, 14),
        (Fault::UnknownKey, 15),
        (Fault::BrokenBootChain, 16),
        (Fault::Malformed, 17),
    ];
    for (fault, code) in codes {
        assert_eq!(fault as u8, code);
    }
}
