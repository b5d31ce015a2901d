//! What must be true of every kernel of the matrix, in either way of saying no.

use rgt_tests::machine::{Done, LOSES, Mode, Told, degraded, kind};
use serde_json::Value;

const RULE: &str = "RULE_FILE_DELETE_BLOCK";
const EACCES: i64 = -13;

/// One boot for each kernel, and a test for each of these.
macro_rules! machines {
    ($($name:ident: $kernel:literal, $mode:expr;)+) => {
        $(rgt_tests::machine!($name, $kernel, $mode, |kernel, mode| rgt_tests::machine::boot(kernel, mode, "vm", &[]), [
            loads,
            refuses_outside_tmp,
            allows_inside_tmp,
            refuses_cutting_to_nothing,
            judges_the_true_place,
            refuses_what_has_no_known_place,
            judges_in_overlays,
            leaves_neighbours_alone,
            records_every_probe,
            refuses_under_load,
            observes_when_told_to,
            rests_while_idle,
            refuses_to_fork_unmarked,
            notices_silence,
            says_when_nothing_can_deny,
            verifies,
            doctor_knows,
        ]);)+
    };
}

pub fn loads(told: &Told, kernel: &str, mode: Mode) -> Done {
    let lsms = told.fact("lsm").split(',').any(|lsm| lsm == "bpf");
    assert_eq!(lsms, mode == Mode::Lsm, "LSM list: {}", told.fact("lsm"));
    assert_eq!(told.fact("exec"), "7", "the agent's own exit status");
    let start = kind(told, "main", "start");
    assert_eq!(start["mode"], mode.name(), "{start}");
    assert_eq!(start["degraded"], degraded(kernel), "{start}");
    kind(told, "main", "stop");
    let gaps: Vec<&Value> = told.records("main").filter(|data| data["kind"] == "gap").collect();
    assert!(gaps.is_empty(), "events were lost: {gaps:?}");
    Ok(())
}

/// The check met EACCES, its file is as it was, and one record says so.
fn refused(told: &Told, mode: Mode, check: &str, place: &str, state: &str) {
    let met = told.check(check);
    assert!(met.status != 0 && met.message.contains("Permission denied"), "{check}: {met:?}");
    assert_eq!(met.state, state, "{check}: what stands there");
    let denial = denial(told, check, place);
    assert_eq!(denial["policy_rule_id"], RULE, "{check}: {denial}");
    assert_eq!(denial["enforcement"], "blocked", "{check}: {denial}");
    assert_eq!(denial["mode"], mode.name(), "{check}: {denial}");
    assert_eq!(denial["judged"], "kernel", "{check}: {denial}");
    assert_eq!(denial["action_attempted"]["result"], EACCES, "{check}: {denial}");
}

/// The one denial that speaks of a place.
fn denial<'a>(told: &'a Told, check: &str, place: &str) -> &'a Value {
    let of_place: Vec<&Value> = told
        .denials("main")
        .filter(|data| data["action_attempted"]["object"] == place || data["action_attempted"]["object2"] == place)
        .collect();
    match of_place[..] {
        [denial] => denial,
        _ => panic!("{check}: {} denials speak of {place}, not one: {of_place:?}", of_place.len()),
    }
}

/// The check succeeded; no denial speaks of its place.
fn allowed(told: &Told, check: &str, place: &str, state: &str) {
    let met = told.check(check);
    assert_eq!(met.status, 0, "{check}: {met:?}");
    assert_eq!(met.state, state, "{check}: what stands there");
    for denial in told.denials("main") {
        assert_ne!(denial["action_attempted"]["object"], place, "{check}: {denial}");
    }
}

pub fn refuses_outside_tmp(told: &Told, _: &str, mode: Mode) -> Done {
    refused(told, mode, "unlink", "/data/unlink", "7");
    refused(told, mode, "rmdir", "/data/dir", "there");
    refused(told, mode, "rename_away", "/data/away", "5");
    refused(told, mode, "rename_into_tmp", "/data/from", "5");
    // The old name is in /tmp: only what is replaced is not.
    refused(told, mode, "rename_over", "/data/over", "5");
    refused(told, mode, "symlink", "/data/symlink", "8");
    refused(told, mode, "dots", "/data/dots", "5");
    refused(told, mode, "own_mount", "/data/own/x", "2");
    Ok(())
}

pub fn allows_inside_tmp(told: &Told, _: &str, _: Mode) -> Done {
    for (check, place) in [
        ("tmp_unlink", "/tmp/w/unlink"),
        ("tmp_rmdir", "/tmp/w/dir"),
        ("tmp_rename_over", "/tmp/w/old"),
        ("tmp_rename_out", "/tmp/w/new"),
        // One name of two: the file is still there.
        ("tmp_hard_link", "/tmp/w/hard"),
        ("tmp_own_mount", "/tmp/own/x"),
    ] {
        allowed(told, check, place, "gone");
    }
    // Adding to a file deletes nothing.
    allowed(told, "append", "/data/append", "12");
    Ok(())
}

pub fn refuses_cutting_to_nothing(told: &Told, _: &str, mode: Mode) -> Done {
    refused(told, mode, "truncate", "/data/truncate", "9");
    refused(told, mode, "cut", "/data/cut", "4");
    allowed(told, "tmp_truncate", "/tmp/w/truncate", "0");
    // Nothing is lost there.
    allowed(told, "kernels_own", "/proc/self/comm", "3");
    allowed(told, "kernels_own_cut", "/proc/self/comm", "3");
    Ok(())
}

pub fn judges_the_true_place(told: &Told, _: &str, mode: Mode) -> Done {
    refused(told, mode, "bind", "/data/bind", "5");
    refused(told, mode, "chroot", "/data/jail/tmp/x", "2");
    refused(told, mode, "namespace", "/data/ns", "3");
    allowed(told, "tmp_bind", "/tmp/w/bound", "gone");
    allowed(told, "tmp_chroot", "/tmp/jail/data/x", "gone");
    for (place, argument) in [("/data/bind", "/tmp/m/bind"), ("/data/jail/tmp/x", "/tmp/x"), ("/data/ns", "/tmp/ns/ns")]
    {
        let attempt = &denial(told, place, place)["action_attempted"];
        assert_eq!(attempt["argument"], argument, "{attempt}");
        assert_eq!(attempt["object"], place, "{attempt}");
    }
    Ok(())
}

/// A filesystem that was mounted where only the agent sees it.
pub fn refuses_what_has_no_known_place(told: &Told, _: &str, mode: Mode) -> Done {
    let met = told.check("foreign");
    assert!(met.status != 0 && met.message.contains("Permission denied"), "{met:?}");
    let denials: Vec<&Value> =
        told.denials("main").filter(|data| data["action_attempted"]["argument"] == "/tmp/ns/foreign").collect();
    assert_eq!(denials.len(), 1, "{denials:?}");
    assert_eq!(denials[0]["policy_rule_id"], "RULE_UNKNOWN", "{}", denials[0]);
    assert_eq!(denials[0]["enforcement"], "blocked", "{}", denials[0]);
    assert_eq!(denials[0]["mode"], mode.name(), "{}", denials[0]);
    Ok(())
}

pub fn judges_in_overlays(told: &Told, _: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("overlay"), "mounted");
    allowed(told, "tmp_overlay", "/tmp/overlay/x", "gone");
    allowed(told, "tmp_overlay_upper", "/tmp/overlay/y", "gone");
    refused(told, mode, "overlay", "/data/merged/x", "2");
    refused(told, mode, "overlay_upper", "/data/merged/y", "7");
    Ok(())
}

pub fn leaves_neighbours_alone(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("early neighbour"), "0");
    assert_eq!(told.fact("neighbour"), "0", "while the agent ran");
    assert_eq!(told.fact("neighbour's records"), "0");
    Ok(())
}

pub fn records_every_probe(told: &Told, kernel: &str, _: Mode) -> Done {
    assert_eq!(told.fact("exec probe"), "0");
    assert_eq!(told.fact("probed left"), "10");
    let mut probed: Vec<&str> = Vec::new();
    for denial in told.denials("probe") {
        let attempt = &denial["action_attempted"];
        assert_eq!(attempt["credentials"]["uid"], 1000, "{denial}");
        assert_eq!(denial["policy_rule_id"], RULE, "{denial}");
        probed.push(attempt["argument"].as_str().unwrap_or_default());
    }
    probed.sort_unstable();
    let mut wanted = Vec::new();
    for directory in ["probed", "secret"] {
        for name in ["absent", "present"] {
            wanted.extend((0..5).map(|n| format!("/data/{directory}/{name}{n}")));
        }
    }
    if degraded(kernel) && probed.len() < wanted.len() {
        return Err(format!("{} of {} probes recorded: {LOSES}", probed.len(), wanted.len()));
    }
    assert_eq!(probed, wanted);
    Ok(())
}

/// 240 deletions by short-lived children of four processes, while neighbours preempt them.
pub fn refuses_under_load(told: &Told, kernel: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("exec load"), "0");
    let (left, recorded) = (told.fact("load left"), told.fact("load recorded"));
    // LSM programs are never skipped: they must refuse everything. What is recorded takes tracepoints.
    if !degraded(kernel) || mode == Mode::Lsm {
        assert_eq!(left, "240", "of 240 files");
    }
    if degraded(kernel) && (left, recorded) != ("240", "240") {
        return Err(format!("{left} of 240 files left, {recorded} denials recorded: {LOSES}"));
    }
    assert_eq!(recorded, "240", "of 240 denials");
    assert_eq!(told.fact("load of others"), "", "denials of what was no deletion");
    Ok(())
}

pub fn observes_when_told_to(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("exec observe"), "0");
    assert_eq!(told.fact("observed left"), "0");
    would_block(told, "observe", "/data/observed", "observe");
    assert_eq!(kind(told, "observe", "start")["mode"], "observe");
    Ok(())
}

/// One denial of that place, and it denied nothing.
fn would_block(told: &Told, ledger: &str, place: &str, mode: &str) {
    let denials: Vec<&Value> = told.denials(ledger).collect();
    assert_eq!(denials.len(), 1, "{denials:?}");
    let denial = denials[0];
    assert_eq!(denial["action_attempted"]["argument"], place, "{denial}");
    assert_eq!(denial["action_attempted"]["result"], 0, "{denial}");
    assert_eq!(denial["policy_rule_id"], RULE, "{denial}");
    assert_eq!(denial["enforcement"], "would_block", "{denial}");
    assert_eq!(denial["mode"], mode, "{denial}");
}

/// `kernel.ftrace_enabled` turned off under an agent, and on again.
pub fn notices_silence(told: &Told, kernel: &str, _: Mode) -> Done {
    assert_eq!(told.fact("told too early"), "0");
    if told.fact("ftrace in silence") == "1" {
        assert_eq!(kernel, "5.10", "which refuses to turn it off");
        assert_eq!(told.fact("silence told"), "0");
        assert_eq!(told.fact("late left"), "1", "refused throughout");
        return Ok(());
    }
    assert_eq!(told.fact("silence told"), "1");
    assert_eq!(told.fact("silence shouted"), "1");
    assert_eq!(told.fact("exec --enforce in silence"), "125");
    assert_eq!(told.fact("degraded in silence"), "1");
    assert_eq!(told.fact("speech told"), "1");
    assert_eq!(told.fact("late left"), "1", "refused again");
    Ok(())
}

/// Where no further task can be marked, an agent that is enforced on makes none, or one that may do nothing; its
/// neighbours do.
pub fn refuses_to_fork_unmarked(told: &Told, _: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("filled"), "0");
    assert_eq!(told.fact("neighbour forks"), "yes");
    // Once a second in which it happens.
    assert_ne!(told.fact("full told"), "0", "the fault is in the ledger");
    assert_eq!(told.fact("full left"), "1", "what the child would have removed");
    // By fmod_ret nothing that can refuse a fork is attached: the child is there, and may remove nothing.
    let forks = mode == Mode::FmodRet;
    assert_eq!(told.fact("full said"), if forks { "0" } else { "1" });
    assert_eq!(told.fact("full went on"), if forks { "1" } else { "0" }, "a shell that cannot fork ends");
    assert_eq!(told.fact("full exec"), if forks { "0" } else { "2" });
    Ok(())
}

/// Tracepoints are attached while somebody is governed; attached again, they see all of an agent.
pub fn rests_while_idle(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("idle links"), "0");
    assert_eq!(told.fact("busy links"), "8");
    assert_eq!(told.fact("links afterwards"), "0");
    let denials: Vec<&Value> = told.denials("idle").collect();
    assert_eq!(denials.len(), 1, "{denials:?}");
    assert_eq!(denials[0]["enforcement"], "blocked", "{}", denials[0]);
    Ok(())
}

/// Hooks that are attached and never run: `kernel.ftrace_enabled=0`.
pub fn says_when_nothing_can_deny(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("ftrace"), "0");
    assert_eq!(told.fact("exec --enforce"), "125");
    assert_eq!(told.fact("ran unenforced"), "0");
    assert_eq!(told.fact("exec without hooks"), "0");
    assert_eq!(told.fact("said without hooks"), "1");
    would_block(told, "nothing", "/data/nothing", "observe");
    Ok(())
}

pub fn verifies(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("daemon"), "0");
    for ledger in ["main", "probe", "observe", "load", "idle", "silent", "nothing"] {
        assert_eq!(told.fact(&format!("verify {ledger}")), "0", "{ledger}");
    }
    Ok(())
}

pub fn doctor_knows(told: &Told, _: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("doctor"), "0", "{}", told.doctor);
    let said = told.doctor.lines().find_map(|line| line.strip_prefix("mode: "));
    let said = said.unwrap_or_else(|| panic!("no mode:\n{}", told.doctor));
    assert_eq!(said.split(':').next(), Some(mode.name()), "{}", told.doctor);
    let mut probes = 0;
    for line in told.doctor.lines() {
        if line.starts_with("raw tracepoint ") || line.split_whitespace().next() == Some(mode.name()) {
            probes += 1;
            assert!(line.ends_with(" loads") || line.contains(" in this kernel: "), "{line}");
        }
    }
    assert!(probes > 8, "{}", told.doctor);
    assert!(told.doctor.contains("a denial was tried, and denied"), "{}", told.doctor);
    Ok(())
}
