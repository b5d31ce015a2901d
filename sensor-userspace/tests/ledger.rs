//! The ledger: what is written is what is read, whatever happens to the writer.

mod support;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rgt::ledger::{Cursor, Ledger, LedgerConfig, Position, Reader};
use rgt::record::Field;
use rgt::seal::verify::{Fault, verify};
use support::{Random, Scratch, fill};

fn check(scratch: &Scratch) -> u64 {
    let report = verify(&scratch.ledger(), &scratch.keys(), &mut |_| {}).unwrap();
    assert_eq!(report.problem, None);
    report.records
}

fn lines(scratch: &Scratch) -> Vec<(Position, Vec<u8>)> {
    let mut reader = Reader::open(&scratch.ledger()).unwrap();
    let (mut line, mut all) = (Vec::new(), Vec::new());
    while let Some(at) = reader.next_line(&mut line).unwrap() {
        all.push((at, line.clone()));
    }
    all
}

#[test]
fn verifies_after_close_and_after_going_on() {
    let scratch = Scratch::new();
    let mut random = Random::seeded();
    for round in 0..3 {
        let mut ledger = scratch.open();
        fill(&mut ledger, &mut random, 8, 100);
        let records = ledger.next_seq();
        ledger.close().unwrap();
        assert_eq!(check(&scratch), records + 1, "round {round}");
    }
    for (n, (at, line)) in lines(&scratch).into_iter().enumerate() {
        assert_eq!(at.seq, n as u64);
        serde_json::from_slice::<serde_json::Value>(&line).unwrap();
    }
}

#[test]
fn rotates_and_compresses() {
    let scratch = Scratch::new();
    let config = LedgerConfig { segment_bytes: 64 << 10, compress_from: 64 << 10, ..scratch.config() };
    let mut ledger = Ledger::open(&scratch.ledger(), &config).unwrap();
    let mut follower = Reader::open(&scratch.ledger()).unwrap();
    fill(&mut ledger, &mut Random::seeded(), 8, 400);
    ledger.flush(false).unwrap();
    let (mut line, mut followed) = (Vec::new(), 0);
    while follower.next_line(&mut line).unwrap().is_some() {
        followed += 1;
    }
    assert_eq!(followed, ledger.next_seq());
    ledger.close().unwrap();
    let count = check(&scratch);
    assert_eq!(lines(&scratch).len() as u64, count);
    let names: Vec<String> = fs::read_dir(scratch.ledger())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(names.iter().filter(|name| name.ends_with(".jsonl.zst")).count() > 3, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".jsonl")).count(), 1, "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with(".tmp")), "{names:?}");
    // Each segment verifies alone, and from anywhere reading goes on to the end.
    for name in names.iter().filter(|name| name.starts_with("rgt-")) {
        let report = verify(&scratch.ledger().join(name), &scratch.keys(), &mut |_| {}).unwrap();
        assert_eq!(report.problem, None, "{name}");
    }
    let all = lines(&scratch);
    for (at, expected) in all.iter().step_by(37) {
        let mut reader = Reader::at(&scratch.ledger(), *at).unwrap();
        assert_eq!(reader.next_line(&mut line).unwrap(), Some(*at));
        assert_eq!(&line, expected);
        let mut reader = Reader::from_seq(&scratch.ledger(), at.seq).unwrap();
        assert_eq!(reader.next_line(&mut line).unwrap(), Some(*at));
    }
}

#[test]
fn a_torn_last_line_is_moved_aside_and_said() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    fill(&mut ledger, &mut Random::seeded(), 8, 20);
    let expected = ledger.next_seq();
    drop(ledger);
    let segment = scratch.ledger().join("rgt-00000000000000000000.jsonl");
    for torn in [b"{\"specversion\":\"1.0\",\"type\":\"rgt.pol".as_slice(), b"\0\0\0\0\n", b"{}\n\0"] {
        let mut file = fs::OpenOptions::new().append(true).open(&segment).unwrap();
        file.write_all(torn).unwrap();
        let report = verify(&scratch.ledger(), &scratch.keys(), &mut |_| {}).unwrap();
        assert!(report.problem.is_some());
        drop(scratch.open());
        let (_, last) = lines(&scratch).pop().unwrap();
        let said = format!("\"torn_bytes\":{}", torn.len());
        assert!(String::from_utf8(last).unwrap().contains(&said));
        check(&scratch);
    }
    assert_eq!(check(&scratch), expected + 3);
    let kept = fs::read_dir(scratch.ledger()).unwrap();
    assert_eq!(kept.filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "torn")).count(), 3);
}

#[test]
fn only_what_is_synced_is_safe() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    let safe = ledger.safe();
    let is_safe = || safe.load(std::sync::atomic::Ordering::Acquire);
    let opened = ledger.next_seq();
    assert_eq!(is_safe(), opened, "what opening says");
    fill(&mut ledger, &mut Random::seeded(), 8, 10);
    ledger.flush(false).unwrap();
    assert_eq!(is_safe(), opened, "written, and lost with the power");
    ledger.flush(true).unwrap();
    assert_eq!(is_safe(), ledger.next_seq());
    ledger.close().unwrap();
    assert_eq!(is_safe(), check(&scratch));
}

#[test]
fn a_second_writer_is_refused() {
    let scratch = Scratch::new();
    let ledger = scratch.open();
    let refused = Ledger::open(&scratch.ledger(), &scratch.config()).err().unwrap().to_string();
    assert!(refused.contains("another process is writing"), "{refused}");
    drop(ledger);
    scratch.open();
}

/// A child that a neighbouring thread starts holds every descriptor until its exec, and with it the lock.
#[test]
fn a_closed_ledger_can_be_opened_while_children_start() {
    let scratch = Scratch::new();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                Command::new("true").status().unwrap();
            }
        });
        let opened = (0..200).find_map(|round| {
            let opened = Ledger::open(&scratch.ledger(), &scratch.config()).and_then(Ledger::close);
            opened.err().map(|error| (round, format!("{error:#}")))
        });
        done.store(true, Ordering::Relaxed);
        assert_eq!(opened, None);
    });
}

#[test]
fn who_looks_whether_it_is_held_keeps_no_writer_out() {
    let scratch = Scratch::new();
    scratch.open().close().unwrap();
    let looker = fs::File::open(scratch.ledger().join("lock")).unwrap();
    looker.lock_shared().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| {
            thread::sleep(Duration::from_millis(100));
            drop(looker);
        });
        scratch.open().close().unwrap();
    });
}

#[test]
fn what_is_put_in_its_place_is_not_written_to() {
    let scratch = Scratch::new();
    let config = LedgerConfig { segment_bytes: 16 << 10, compress_from: 16 << 10, ..scratch.config() };
    let mut random = Random::seeded();
    let mut ledger = Ledger::open(&scratch.ledger(), &config).unwrap();
    fill(&mut ledger, &mut random, 8, 20);
    ledger.flush(true).unwrap();
    let (moved, other) = (scratch.0.join("moved"), scratch.0.join("other"));
    fs::rename(scratch.ledger(), &moved).unwrap();
    fs::create_dir(&other).unwrap();
    std::os::unix::fs::symlink(&other, scratch.ledger()).unwrap();
    // New segments, heads and compressed files, all of which are made by name.
    fill(&mut ledger, &mut random, 8, 100);
    ledger.close().unwrap();
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    let report = verify(&moved, &scratch.keys(), &mut |_| {}).unwrap();
    assert_eq!(report.problem, None);
    assert!(report.records > 100);
    let names = fs::read_dir(&moved).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    let ends = |end: &str| names.iter().any(|name| name.to_string_lossy().ends_with(end));
    assert!(ends(".jsonl.zst") && ends(".jsonl"), "{names:?}");
}

#[test]
fn a_link_of_another_users_is_not_followed() {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    if unsafe { libc::geteuid() } != 0 {
        return println!("SKIP: only root can make another user's link");
    }
    let scratch = Scratch::new();
    let real = scratch.0.join("real");
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, scratch.ledger()).unwrap();
    scratch.open().close().unwrap();
    check(&scratch);
    std::os::unix::fs::lchown(scratch.ledger(), Some(65534), None).unwrap();
    let refused = Ledger::open(&scratch.ledger(), &scratch.config());
    let refused = format!("{:#}", refused.err().unwrap());
    let name = scratch.ledger().display().to_string();
    assert!(refused.contains("user 65534") && refused.contains(&name), "{refused}");
}

#[test]
fn a_cut_ledger_is_not_continued() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    fill(&mut ledger, &mut Random::seeded(), 8, 20);
    ledger.close().unwrap();
    let segment = scratch.ledger().join("rgt-00000000000000000000.jsonl");
    let text = fs::read(&segment).unwrap();
    fs::write(&segment, &text[..text.len() / 2]).unwrap();
    let refused = Ledger::open(&scratch.ledger(), &scratch.config()).err().unwrap().to_string();
    assert!(refused.contains("shorter"), "{refused}");
}

#[test]
fn a_lost_or_forged_head_does_not_go_unsaid() {
    let scratch = Scratch::new();
    scratch.open().close().unwrap();
    let head = scratch.ledger().join("head.json");
    let text = fs::read_to_string(&head).unwrap();
    fs::write(&head, text.replace("\"closed\": true", "\"closed\": false")).unwrap();
    let refused = Ledger::open(&scratch.ledger(), &scratch.config()).err().unwrap().to_string();
    assert!(refused.contains("not as its node signed it"), "{refused}");
    fs::remove_file(&head).unwrap();
    drop(scratch.open());
    let (_, last) = lines(&scratch).pop().unwrap();
    assert!(String::from_utf8(last).unwrap().contains("\"head_missing\":true"));
    // Whatever is written from now on.
    scratch.open().close().unwrap();
    let report = verify(&scratch.ledger(), &scratch.keys(), &mut |_| {}).unwrap();
    let problem = report.problem.unwrap();
    assert_eq!(problem.fault, Fault::Truncated);
    assert!(problem.message.contains("head.json was missing when record 2 was written"), "{}", problem.message);
}

#[test]
fn a_crash_is_told_by_the_next_opening() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    fill(&mut ledger, &mut Random::seeded(), 8, 20);
    ledger.flush(true).unwrap();
    // As if its process had been killed.
    drop(ledger);
    let opened = |closed: bool| {
        let before = lines(&scratch).len();
        scratch.open().close().unwrap();
        let text = String::from_utf8(lines(&scratch)[before].1.clone()).unwrap();
        assert_eq!(text.contains("\"not_closed\":true"), !closed, "{text}");
    };
    opened(false);
    opened(true);
    check(&scratch);
}

#[test]
fn a_crash_right_after_the_first_record_is_no_cut() {
    let scratch = Scratch::new();
    scratch.open().close().unwrap();
    let segment = scratch.ledger().join("rgt-00000000000000000000.jsonl");
    let whole = fs::read(&segment).unwrap();
    fs::write(&segment, whole.split_inclusive(|byte| *byte == b'\n').next().unwrap()).unwrap();
    fs::remove_file(scratch.ledger().join("head.json")).unwrap();
    scratch.open().close().unwrap();
    check(&scratch);
}

/// An agent may own the directory that root is told to write to.
#[test]
fn links_and_pipes_lead_nowhere() {
    let scratch = Scratch::new();
    let (dir, secret) = (scratch.ledger(), scratch.0.join("shadow"));
    fs::write(&secret, "root:x\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let untouched = || {
        assert_eq!(fs::read_to_string(&secret).unwrap(), "root:x\n");
        assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    };
    for name in ["lock", "head.tmp", "chain.tmp", "rgt-00000000000000000000.jsonl", "head.json", "chain.json"] {
        for hard in [false, true] {
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
            match hard {
                true => fs::hard_link(&secret, dir.join(name)).unwrap(),
                false => std::os::unix::fs::symlink(&secret, dir.join(name)).unwrap(),
            }
            let opened = Ledger::open(&dir, &scratch.config());
            assert_eq!(opened.is_ok(), name.ends_with(".tmp"), "{name}, {hard}");
            drop(opened);
            untouched();
            fs::remove_dir_all(&dir).unwrap();
        }
        fs::create_dir_all(&dir).unwrap();
        // Nor does anybody wait for the other end.
        let pipe = std::ffi::CString::new(dir.join(name).to_str().unwrap()).unwrap();
        // SAFETY: `pipe` is NUL-terminated and lives through the call.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        drop(Ledger::open(&dir, &scratch.config()));
        fs::remove_dir_all(&dir).unwrap();
    }
}

#[test]
fn places_that_cannot_be_written() {
    let scratch = Scratch::new();
    let file = scratch.0.join("file");
    fs::write(&file, "").unwrap();
    for (dir, said) in [
        (file.clone(), "it is a file; name a directory"),
        (file.join("below"), "cannot be made; name a writable place"),
        ("/proc/self/fdinfo".into(), "cannot be written to; make the directory writable"),
    ] {
        let refused = Ledger::open(&dir, &scratch.config()).err().unwrap().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let mut config = scratch.config();
    config.seal.key_file = Some(file.clone());
    let refused = Ledger::open(&scratch.ledger(), &config).err().unwrap().to_string();
    assert!(refused.contains("64 hex digits"), "{refused}");
    config.type_prefix = "a\"b".to_string();
    let refused = Ledger::open(&scratch.ledger(), &config).err().unwrap().to_string();
    assert!(refused.contains("record.type_prefix"), "{refused}");
}

#[test]
fn another_key_is_said_and_both_verify() {
    let scratch = Scratch::new();
    scratch.open().close().unwrap();
    let other = scratch.0.join("other.key");
    fs::write(&other, "correct horse battery staple\n").unwrap();
    let mut config = scratch.config();
    config.seal.set("key_encoding", "utf8").unwrap();
    config.seal.set("key_file", other.to_str().unwrap()).unwrap();
    Ledger::open(&scratch.ledger(), &config).unwrap().close().unwrap();
    let mut keys = scratch.keys();
    let report = verify(&scratch.ledger(), &keys, &mut |_| {}).unwrap();
    assert_eq!(report.problem.map(|problem| problem.fault), Some(Fault::UnknownKey));
    keys.push(rgt::seal::SealKey::load(&other, rgt::seal::KeyEncoding::Utf8).unwrap());
    assert_eq!(verify(&scratch.ledger(), &keys, &mut |_| {}).unwrap().problem, None);
    assert!(config.seal.set("mode", "ratchet").unwrap_err().to_string().contains("does not exist in this version"));
}

#[test]
fn secrets_are_private_and_never_shown() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    scratch.open().close().unwrap();
    let key = fs::read_to_string(scratch.key_file()).unwrap();
    assert_eq!(key.len(), 65);
    assert_eq!(fs::metadata(scratch.key_file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!format!("{:?}", scratch.keys()).contains(key.trim()));
    let mode = fs::metadata(scratch.ledger()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn cursors_survive() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    for n in 0..5 {
        ledger.audit("test", &[("n", Field::Uint(n))]).unwrap();
    }
    ledger.flush(false).unwrap();
    let mut line = Vec::new();
    for seq in 0..6 {
        let mut cursor = Cursor::open(&scratch.ledger(), "kafka").unwrap();
        let mut reader = cursor.reader().unwrap();
        assert_eq!(reader.next_line(&mut line).unwrap().map(|at| at.seq), Some(seq));
        cursor.commit(reader.position()).unwrap();
    }
    let mut reader = Cursor::open(&scratch.ledger(), "kafka").unwrap().reader().unwrap();
    assert_eq!(reader.next_line(&mut line).unwrap(), None);
    ledger.audit("later", &[]).unwrap();
    assert_eq!(reader.next_line(&mut line).unwrap(), None, "not flushed yet");
    ledger.flush(false).unwrap();
    assert_eq!(reader.next_line(&mut line).unwrap().map(|at| at.seq), Some(6));
    assert!(Cursor::open(&scratch.ledger(), "../x").is_err());
}

/// The process that `survives_sigkill` kills: this test binary once more.
#[test]
fn writer_child() {
    let Some(dir) = std::env::var_os("RGT_TEST_CHILD") else {
        return;
    };
    let scratch = std::mem::ManuallyDrop::new(Scratch(dir.into()));
    let config =
        LedgerConfig { segment_bytes: 256 << 10, compress_from: 256 << 10, checkpoint_every: 500, ..scratch.config() };
    let mut ledger = Ledger::open(&scratch.ledger(), &config).unwrap();
    let mut random = Random::seeded();
    loop {
        fill(&mut ledger, &mut random, 8, 50);
    }
}

#[test]
fn survives_sigkill_at_any_moment() {
    let scratch = Scratch::new();
    let mut random = Random::seeded();
    let mut before = 0;
    for round in 0..12 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writer_child"])
            .env("RGT_TEST_CHILD", &scratch.0)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20 + random.below(400)));
        child.kill().unwrap();
        child.wait().unwrap();
        scratch.open().close().unwrap();
        let records = check(&scratch);
        assert!(records > before, "round {round}");
        before = records;
    }
}
