//! `rgt policy suggest` over real ledgers: which records count, and what is said when there is no policy.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use rgt::attempt::{Attempt, End, Judged, Judgement};
use rgt::cli::policy::{PolicyArgs, execute};
use rgt::ledger::{Ledger, LedgerConfig};
use rgt::record::{Recorder, RecorderOptions};
use sensor_common::action::Action;
use support::{Scratch, attempt, run};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: PolicyArgs,
}

/// Exit status, stdout, stderr.
fn suggest(ledger: &Path, options: &[&str]) -> (u8, String, String) {
    let ledger = ledger.to_str().unwrap();
    let words = ["policy", "suggest", "--workspace", "/work"].iter().chain(options).chain([&ledger]);
    let line = Line::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = execute(&line.args, &mut out, &mut err).unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// No hook saw it: the argument was judged.
fn allow() -> Judgement {
    Judgement { judged: Judged::Argument, ..support::allow() }
}

fn write(argument: &[u8]) -> Attempt {
    Attempt {
        action: Action::FileWrite,
        actions: vec![Action::FileCreate, Action::FileWrite],
        object: None,
        ..attempt(1_793_700_000_000_000_000, argument)
    }
}

/// Two agents' attempts in one ledger.
fn two_agents(ledger: &mut Ledger, count: u64) {
    for (agent, place) in [("team/coder", "/srv/coder"), ("team/tester", "/srv/tester")] {
        let mut recorder = Recorder::new(run(agent), RecorderOptions::default()).unwrap();
        recorder.sandbox("start", &[], ledger).unwrap();
        for number in 0..count {
            let path = format!("{place}/{number}\n%");
            recorder.attempt(&write(path.as_bytes()), &allow(), ledger).unwrap();
        }
        recorder.sandbox("stop", &[], ledger).unwrap();
    }
}

#[test]
fn records_are_chosen() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    two_agents(&mut ledger, 3);
    ledger.close().unwrap();
    let (status, all, err) = suggest(&scratch.ledger(), &[]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(all.contains("6 attempts of 2 agents (run 2 runs)"), "{all}");
    assert!(all.contains("/srv/coder") && all.contains("/srv/tester") && all.contains("name: \"suggested\""), "{all}");
    for options in [["--agent", "team/coder"], ["--run", "team/coder-run"]] {
        let (status, one, err) = suggest(&scratch.ledger(), &options);
        assert_eq!((status, err.as_str()), (0, ""));
        assert!(one.contains("/srv/coder") && !one.contains("/srv/tester"), "{one}");
        assert!(
            one.contains("3 attempts of team/coder (run team/coder-run)") && one.contains("name: \"coder\""),
            "{one}"
        );
    }
    let (_, named, _) = suggest(&scratch.ledger(), &["--name", "mine", "--on-unknown", "allow"]);
    assert!(named.contains("name: \"mine\"") && named.contains("on_unknown: allow"), "{named}");
    let (_, json, _) = suggest(&scratch.ledger(), &["--json"]);
    let object: serde_json::Value = serde_json::from_str(json.strip_suffix('\n').unwrap()).unwrap();
    assert_eq!((&object["policy"], &object["attempts"]), (&all.into(), &6.into()));
}

#[test]
fn a_segment_is_enough() {
    let scratch = Scratch::new();
    let config = LedgerConfig { segment_bytes: 64 << 10, compress_from: 64 << 10, ..scratch.config() };
    let mut ledger = Ledger::open(&scratch.ledger(), &config).unwrap();
    two_agents(&mut ledger, 100);
    ledger.close().unwrap();
    let mut segments: Vec<PathBuf> = fs::read_dir(scratch.ledger())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_str().unwrap().starts_with("rgt-")))
        .collect();
    segments.sort();
    assert!(segments.len() > 2 && segments[0].to_str().unwrap().ends_with(".jsonl.zst"), "{segments:?}");
    let count = |text: &str| -> u64 {
        let (_, rest) = text.split_once(" from ").unwrap();
        rest.split_once(' ').unwrap().0.parse().unwrap()
    };
    let (status, whole, err) = suggest(&scratch.ledger(), &[]);
    assert_eq!((status, err.as_str(), count(&whole)), (0, "", 200));
    // The first holds attempts for sure, and each is in exactly one.
    let parts: Vec<u64> = segments
        .iter()
        .map(|segment| suggest(segment, &[]))
        .map(|(status, text, _)| if status == 0 { count(&text) } else { 0 })
        .collect();
    assert!(parts[0] > 0 && parts[0] < 200, "{parts:?}");
    assert_eq!(parts.iter().sum::<u64>(), 200, "{parts:?}");
}

#[test]
fn what_cannot_be_answered_is_said() {
    let scratch = Scratch::new();
    let mut ledger = scratch.open();
    let mut recorder = Recorder::new(run("coder"), RecorderOptions::default()).unwrap();
    recorder.attempt(&write(b"/srv/a"), &allow(), &mut ledger).unwrap();
    // A name that starts from nobody knows where, and it was made there.
    let strange = recorder.attempt(&write(b"somewhere"), &allow(), &mut ledger).unwrap();
    let refused = Attempt { end: End::Returned(-2), ..write(b"") };
    recorder.attempt(&refused, &allow(), &mut ledger).unwrap();
    ledger.close().unwrap();
    let (status, out, err) = suggest(&scratch.ledger(), &[]);
    assert_eq!((status, out.as_str()), (1, ""), "{err}");
    let id = strange.to_string();
    assert!(err.contains("`somewhere`") && err.contains(&id) && err.contains("--on-unknown"), "{err}");
    let (status, out, err) = suggest(&scratch.ledger(), &["--on-unknown", "allow"]);
    assert_eq!((status, err.as_str()), (0, ""), "{out}");

    let nothing = scratch.0.join("nothing");
    fs::create_dir(&nothing).unwrap();
    let copy = scratch.0.join("copy.jsonl");
    fs::write(&copy, "{}\n").unwrap();
    for (ledger, options, told) in [
        (scratch.0.join("absent"), &[][..], "cannot be read"),
        (nothing, &[], "no segment"),
        (copy, &[], "a segment is called"),
        (scratch.ledger(), &["--agent", "nobody"], "no attempt"),
        (scratch.ledger(), &["--home", "/"], "--home /"),
        (scratch.ledger(), &["--home", "/a/../b"], "--home /a/../b"),
    ] {
        let (status, out, err) = suggest(&ledger, options);
        assert_eq!((status, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(told), "{err}");
    }
    let segment = scratch.ledger().join("rgt-00000000000000000000.jsonl");
    fs::write(&segment, "no record\n").unwrap();
    let (status, _, err) = suggest(&segment, &[]);
    assert_eq!(status, 2);
    assert!(err.contains("1 lines are no records") && err.contains("rgt verify"), "{err}");
}
