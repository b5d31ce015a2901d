//! Each family of actions: refused where a rule denies it, with a record that names the rule; else as ever.

use std::{path::Path, process::Command};

use rgt_tests::{
    machine,
    machine::{Done, LOSES, Missing, Mode, Told, degraded, kind},
};
use serde_json::Value;

#[path = "families/cases.rs"]
mod cases;
use cases::*;

fn boot(kernel: &str, mode: Mode) -> Result<Told, Missing> {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("families-{kernel}-{}", mode.name()));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/families.c");
    let done = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(source).output();
    match done {
        Ok(done) if done.status.success() => {}
        Ok(done) => return Err(Missing::Failed(String::from_utf8_lossy(&done.stderr).into_owned())),
        Err(error) => return Err(Missing::Skipped(format!("cc: {error}"))),
    }
    machine::boot(kernel, mode, "families", &[format!("{}:/usr/local/bin/families", program.display())])
}

macro_rules! machines {
    ($($name:ident: $kernel:literal, $mode:expr;)+) => {
        $(machine!($name, $kernel, $mode, boot, [
            refuses_by_place,
            leaves_nothing_behind,
            refuses_what_has_no_place,
            refuses_with_the_rules_errno,
            judges_what_is_inherited,
            refuses_by_socket,
            lets_other_sockets_be,
            refuses_by_signal,
            refuses_capabilities,
            knows_what_a_run_has_written,
            counts_by_time_what_finds_no_room,
            knows_what_goes_on,
            lets_the_rest_be,
            judges_by_the_whole_language,
            knows_which_program_acts,
            goes_by_what_programs_hold,
            knows_an_agents_own_directories,
            keeps_limits,
            knows_what_resolvers_answer,
            stays_closed_when_unsure,
            ledgers_verify,
        ]);)+
    };
}

machines! {
    lsm_5_10: "5.10", Mode::Lsm;
    fmod_ret_5_10: "5.10", Mode::FmodRet;
    lsm_6_1: "6.1", Mode::Lsm;
    fmod_ret_6_1: "6.1", Mode::FmodRet;
    lsm_6_12: "6.12", Mode::Lsm;
    fmod_ret_6_12: "6.12", Mode::FmodRet;
    lsm_7_2: "7.2", Mode::Lsm;
    fmod_ret_7_2: "7.2", Mode::FmodRet;
}

/// The call's return was passed.
fn is_told_without_result(kernel: &str, record: &Value) -> bool {
    degraded(kernel) && record["action_attempted"]["result"].is_null()
}

fn refuses(told: &Told, kernel: &str, mode: Mode, cases: &[Case], denied: &str, allowed: &str) -> Done {
    assert_eq!(kind(told, denied, "start")["mode"], mode.name());
    let mut unrecorded = Vec::new();
    for case in cases {
        let free = told.check(&format!("{allowed} {}", case.check));
        assert_eq!(free.status, case.free, "{} where it is allowed", case.check);
        let met = told.check(&format!("{denied} {}", case.check));
        if goes_through(kernel, case.check) {
            assert_eq!(met.status, case.free, "{} on a kernel without its hook", case.check);
            continue;
        }
        if degraded(kernel) && met.status == EACCES && case.met != EACCES {
            // The call's entry was passed, and with it the hook that goes by it; the next one has refused.
            unrecorded.push(case.check);
            continue;
        }
        assert_eq!(met.status, case.met, "{} where it is denied", case.check);
        let tells = |data: &&Value| {
            let attempt = &data["action_attempted"];
            // 5.10 asks LSM programs about an exchange from its other end.
            let named = |field: &str| attempt[field].as_str().unwrap_or_default() == case.object;
            attempt["syscall"] == case.syscall
                && (named("object") || !case.object.is_empty() && named("object2"))
                && data["policy_rule_id"] == case.rule
        };
        let records: Vec<&Value> = told.denials(denied).filter(tells).collect();
        let Some(record) = records.first() else {
            unrecorded.push(case.check);
            continue;
        };
        assert_eq!(record["enforcement"], "blocked", "{record}");
        assert_eq!(record["judged"], "kernel", "{record}");
        assert_eq!(record["mode"], mode.name(), "{record}");
        if !is_told_without_result(kernel, record) {
            assert_eq!(record["action_attempted"]["result"], -i64::from(case.met), "{record}");
        }
    }
    if degraded(kernel) && !unrecorded.is_empty() {
        return Err(format!("{unrecorded:?} not recorded: {LOSES}"));
    }
    assert!(unrecorded.is_empty(), "no record tells of {unrecorded:?}");
    Ok(())
}

fn refuses_by_place(told: &Told, kernel: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("exec denied"), "7");
    refuses(told, kernel, mode, PLACES, "denied", "allowed")
}

fn refuses_what_has_no_place(told: &Told, kernel: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("exec bare"), "7");
    refuses(told, kernel, mode, BARE, "bare", "free")
}

fn refuses_with_the_rules_errno(told: &Told, kernel: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("exec errnos"), "7");
    refuses(told, kernel, mode, ERRNOS, "errnos", "usual")
}

/// What the policy refuses is /dev/null for the agent; all else it has as it was.
fn judges_what_is_inherited(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("exec heir"), "0");
    assert_eq!(told.fact("inherited"), "/data/other /dev/null /dev/null /dev/null ");
    assert_eq!(told.fact("inherited denials"), "3");
    assert_eq!(told.fact("inherited observed"), "/data/read/x");
    assert_eq!(told.fact("inherited connection"), "/dev/null");
    assert_eq!(told.fact("inherited connection denials"), "1");
    assert_eq!(told.fact("inherited connection allowed"), "socket:[]");
    Ok(())
}

fn refuses_by_socket(told: &Told, kernel: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("exec sockets"), "7");
    refuses(told, kernel, mode, SOCKETS, "sockets", "unasked")
}

/// What is named by a rule that allows, what has no name, and where nobody listens: there the argument is judged.
fn lets_other_sockets_be(told: &Told, kernel: &str, _: Mode) -> Done {
    for check in [
        "unix open", "unix open abstract", "unix open datagram", "unix open write", "unix pair", "unix datagram pair",
        "unix answer",
    ] {
        assert_eq!(told.check(&format!("sockets {check}")).status, 0, "{check}");
    }
    assert_eq!(told.check("sockets unix nobody").status, libc::ENOENT as u8);
    // A rule that asks for no name refuses before anybody is looked for.
    assert_eq!(told.check("unconnected unix nobody").status, EACCES);
    assert_eq!(told.check("unconnected unix datagram").status, EACCES);
    let by_argument = |data: &&Value| {
        data["action_attempted"]["argument"] == "/data/run/denied.none"
            && data["policy_rule_id"] == "NO_SOCKET"
            && data["judged"] == "argument"
            && data["enforcement"] == "not_reached"
    };
    if degraded(kernel) && told.denials("sockets").filter(by_argument).count() == 0 {
        return Err(LOSES.to_owned());
    }
    assert_eq!(told.denials("sockets").filter(by_argument).count(), 1);
    Ok(())
}

fn refuses_by_signal(told: &Told, kernel: &str, mode: Mode) -> Done {
    assert_eq!(told.fact("exec signals"), "7");
    refuses(told, kernel, mode, SIGNALS, "signals", "unsignalled")?;
    // Signal 0 is none.
    for check in ["signal TERM", "signal TERM pidfd", "signal 0", "signal 0 stranger"] {
        assert_eq!(told.check(&format!("signals {check}")).status, 0, "{check}");
    }
    assert_eq!(told.check("signals signal nobody").status, libc::ESRCH as u8);
    let by_argument = |data: &&Value| {
        data["action_attempted"]["argument"] == "SIGKILL"
            && data["policy_rule_id"] == "NO_KILL"
            && data["judged"] == "argument"
            && data["enforcement"] == "not_reached"
    };
    if degraded(kernel) && told.denials("signals").filter(by_argument).count() == 0 {
        return Err(LOSES.to_owned());
    }
    assert_eq!(told.denials("signals").filter(by_argument).count(), 1);
    Ok(())
}

/// What it is used for goes without it, which mostly is not at all; the rest of what root does is as ever.
fn refuses_capabilities(told: &Told, kernel: &str, _: Mode) -> Done {
    assert_eq!(told.fact("exec capabilities"), "7");
    let mut unrecorded = Vec::new();
    for case in CAPABILITIES {
        assert_eq!(
            told.check(&format!("unneeded {}", case.check)).status,
            case.free,
            "{} where it is allowed",
            case.check
        );
        assert_eq!(
            told.check(&format!("capabilities {}", case.check)).status,
            case.met,
            "{} where it is denied",
            case.check
        );
        let tells = |data: &&Value| {
            let attempt = &data["action_attempted"];
            attempt["syscall"] == case.syscall
                && attempt["capability"] == case.object
                && data["policy_rule_id"] == case.rule
        };
        let Some(record) = told.denials("capabilities").find(tells) else {
            unrecorded.push(case.check);
            continue;
        };
        assert_eq!(record["enforcement"], "blocked", "{record}");
        assert_eq!(record["judged"], "kernel", "{record}");
        // What comes of a call that no entry shows is not known.
        let known = !["unlisted", "io_uring"].contains(&case.syscall);
        if !is_told_without_result(kernel, record) {
            assert_eq!(record["action_attempted"]["result"].as_i64(), known.then(|| -i64::from(case.met)), "{record}");
        }
    }
    for check in ["capability chmod", "capability setuid"] {
        assert_eq!(told.check(&format!("capabilities {check}")).status, 0, "{check}");
    }
    assert_eq!(told.check("capabilities capability not held").status, EPERM);
    let watched = told.fact("capabilities watched").parse().unwrap_or(0);
    if degraded(kernel) && (!unrecorded.is_empty() || watched < 2) {
        return Err(format!("{unrecorded:?} not recorded: {LOSES}"));
    }
    assert!(unrecorded.is_empty(), "no record tells of {unrecorded:?}");
    assert_eq!(watched, 2);
    Ok(())
}

fn came(told: &Told, part: &str, expected: &[(&str, &str)]) {
    assert_eq!(told.fact(&format!("exec {part}")), "0", "{part}");
    assert_eq!(told.fact(&format!("verify {part}")), "0", "{part}");
    for (what, came) in expected {
        assert_eq!(told.fact(&format!("{part} {what}")), *came, "{part}: {what}");
    }
    let refused = expected.iter().filter(|(_, came)| *came == "refused").count();
    assert_eq!(told.fact(&format!("denials {part}")), refused.to_string(), "{part}: records");
}

/// Its own files do not run; those of others and of before do, also where another makes them meanwhile.
fn knows_what_a_run_has_written(told: &Told, kernel: &str, _: Mode) -> Done {
    let mut expected = vec![
        ("old", "done"),
        ("another", "done"),
        ("own", "refused"),
        ("inherited", "refused"),
        ("not inherited", "done"),
        ("outside", "done"),
    ];
    let overlay = told.fact("written overlay") == "0";
    if overlay {
        expected.extend([
            ("overlay old", "done"),
            ("overlay own", "refused"),
            ("overlay copied up", "refused"),
            ("overlay mapped", "refused"),
        ]);
    }
    if degraded(kernel) && told.fact("denials written") != if overlay { "5" } else { "2" } {
        return Err(LOSES.to_owned());
    }
    came(told, "written", &expected);
    if overlay { Ok(()) } else { Err("no overlay here: the rest held".to_owned()) }
}

/// With the table full what was changed since the run began counts as written; the next run begins with an empty one.
fn counts_by_time_what_finds_no_room(told: &Told, kernel: &str, _: Mode) -> Done {
    if kernel != "6.12" {
        return Err("on 6.12 alone, for it takes long".to_owned());
    }
    assert_eq!(told.fact("full taken"), "66000");
    came(told, "full", &[("own", "refused"), ("old", "done"), ("outside", "refused")]);
    assert_ne!(told.fact("full told"), "0", "a record of kind `faults` says so");
    came(told, "emptied", &[("own", "refused"), ("of the one before", "done"), ("outside", "done")]);
    Ok(())
}

/// Of attempts, objects and bytes no more than a limit says, by however many processes; a window, and a run, begin anew.
fn knows_what_resolvers_answer(told: &Told, kernel: &str, mode: Mode) -> Done {
    for run in ["exec answers", "verify answers"] {
        assert_eq!(told.fact(run), "0", "{run}");
    }
    for (what, came) in [
        ("before", "13"),
        ("other told", "127.0.0.80"),
        ("told", "127.0.0.70"),
        ("after", "connected"),
        ("other port", "connected"),
        // What is said by whom nobody has named, elsewhere, or in another's name is heard and not believed.
        ("own told", "127.0.0.90"),
        ("apart told", "127.0.0.90"),
        ("forged", "not sent: 13"),
        ("late told", "127.0.0.71"),
    ] {
        assert_eq!(told.fact(&format!("answers {what}")), came, "{what}");
    }
    let refused = ["other", "not told", "late", "stranger"].map(|what| told.fact(&format!("answers {what}")));
    if degraded(kernel) && mode == Mode::FmodRet && refused.contains(&"connected") {
        return Err(LOSES.to_owned());
    }
    assert_eq!(refused, ["13"; 4]);
    // With no agent left to answer; a mark that outlived its process is one's for a while.
    if degraded(kernel) && told.fact("answers believer") == "13" {
        return Err(LOSES.to_owned());
    }
    assert_eq!(told.fact("answers believer"), "connected");
    // The record names the host that the moment's address was given for.
    let reached = |rule: &str| {
        let records = told.records("answers").filter(|data| data["policy_rule_id"] == rule);
        records.map(|data| data["action_attempted"]["host"].clone()).collect::<Vec<_>>()
    };
    if degraded(kernel) && reached("API").is_empty() {
        return Err(LOSES.to_owned());
    }
    assert_eq!(reached("API"), ["api.test"], "{:?}", reached("API"));
    assert!(reached("NOT_ELSEWHERE").iter().all(Value::is_null));
    Ok(())
}

fn keeps_limits(told: &Told, kernel: &str, mode: Mode) -> Done {
    for run in ["limited", "again"] {
        assert_eq!(told.fact(&format!("exec {run}")), "0", "{run}");
        for (what, came) in [
            ("counted", "3 2 0"),
            ("places", "3 4"),
            ("bytes", "10 -1"),
            ("window", "12"),
            ("before", "1"),
            ("after", "0"),
        ] {
            assert_eq!(told.fact(&format!("{run} {what}")), came, "{run}: {what}");
        }
        assert_eq!(told.fact(&format!("verify {run}")), "0", "{run}");
        // Two that count at once may both find the sum of both: fewer go through then, and never more.
        let raced: u32 = told.fact(&format!("{run} raced")).parse().unwrap();
        if degraded(kernel) && mode == Mode::FmodRet && raced > 20 {
            return Err(format!("{raced} of 20 went through: {LOSES}"));
        }
        assert!((15..=20).contains(&raced), "{run}: {raced}");
        let no_more = 7 + 60 - raced;
        // Of two messages to one address by one call nobody knows the second.
        let denials = format!("NOT_BUSY 1 NO_MORE {no_more} NO_MORE_BYTES 14 RULE_UNKNOWN 1 TOO_FAST 2 ");
        if degraded(kernel) && told.fact(&format!("{run} denials")) != denials {
            return Err(LOSES.to_owned());
        }
        assert_eq!(told.fact(&format!("{run} denials")), denials, "{run}");
    }
    Ok(())
}

/// Each way of the kernel side to be unsure that can be brought about here: refused, counted, told.
fn stays_closed_when_unsure(told: &Told, kernel: &str, mode: Mode) -> Done {
    for (name, fault, came) in [
        ("crowded", "too_many_states", "refused done"),
        ("deep", "walk_failed", "refused done refused"),
        ("long", "sections_full", "refused done refused"),
    ] {
        assert_eq!(told.fact(&format!("unsure {name}")), came, "{name}");
        assert_eq!(told.fact(&format!("unsure {name} told")), fault, "{name}");
        assert_eq!(told.fact(&format!("unsure {name} denials")), "1", "{name}");
        assert_eq!(told.fact(&format!("verify {name}")), "0", "{name}");
    }
    // Of 2,100 threads 2,048 find a place, but for what else is an agent's, or was and ended unseen.
    let refused: u32 = told.fact("unsure many").parse().unwrap();
    if degraded(kernel) && mode == Mode::FmodRet && refused < 52 {
        return Err(format!("{refused} of 52 were refused: {LOSES}"));
    }
    assert!(refused >= 52 && (refused < 100 || degraded(kernel)), "{refused}");
    assert_eq!(told.fact("unsure many told"), "no_slot");
    if degraded(kernel) && mode == Mode::FmodRet && told.fact("unsure many lost") == "0" {
        return Err(format!("hooks refused what no tracepoint had counted: {LOSES}"));
    }
    assert_ne!(told.fact("unsure many lost"), "0", "what was not recorded is declared lost");
    assert_eq!(told.fact("verify many"), "0");
    Ok(())
}

/// Refused before anything is made; and what is there already can be opened with O_CREAT.
fn leaves_nothing_behind(told: &Told, _: &str, _: Mode) -> Done {
    for check in ["file.create", "file.create mkdir", "file.create mknod", "file.link", "file.link symlink"] {
        assert_eq!(told.check(&format!("denied {check}")).state, "gone", "{check}");
        assert_ne!(told.check(&format!("allowed {check}")).state, "gone", "{check}");
    }
    for check in ["file.write", "file.write cut", "file.write truncate", "file.rename"] {
        assert_eq!(told.check(&format!("denied {check}")).state, "5", "{check}: its five bytes");
    }
    assert_eq!(told.check("denied file.create tmpfile").status, EACCES);
    assert_eq!(told.check("denied file.create there").status, 0);
    let there = |data: &&Value| {
        let attempt = &data["action_attempted"];
        attempt["object"] == "/data/create/there" && attempt["syscall"] == "openat"
    };
    assert_eq!(told.denials("denied").filter(there).count(), 0, "of a file that was there");
    Ok(())
}

/// An open that a signal interrupts and that goes on is one attempt: its hook comes twice, within the call.
fn knows_what_goes_on(told: &Told, kernel: &str, _: Mode) -> Done {
    for part in ["denied", "allowed"] {
        assert_eq!(told.check(&format!("{part} file.read waits")).status, 0);
        let unlisted = told.fact(&format!("unlisted {part}"));
        if degraded(kernel) && unlisted != "0" {
            return Err(format!("{unlisted} attempts were seen by their hooks alone: {LOSES}"));
        }
        assert_eq!(unlisted, "0", "{part}");
    }
    Ok(())
}

/// Wildcards, destinations with ports, and a label that one process sets and another meets at its next call.
fn judges_by_the_whole_language(told: &Told, _: &str, _: Mode) -> Done {
    for (what, came) in [
        ("pem", "refused"),
        ("key", "refused"),
        ("txt", "done"),
        ("env", "refused"),
        ("inner", "refused"),
        ("port", "reached"),
        ("other port", "refused"),
        ("confidential port", "refused"),
        ("confidential", "refused"),
        ("confidential write", "done"),
        ("regulated", "done"),
        ("regulated write", "refused"),
        ("before", "done"),
        ("after", "refused"),
        ("a child after", "refused"),
    ] {
        assert_eq!(told.fact(&format!("language {what}")), came, "{what}");
    }
    assert_eq!(told.fact("language of another"), "0", "its own run has seen nothing");
    assert_eq!(told.fact("language labels"), "1", "the record that set the label says so");
    assert_eq!(told.fact("language risk"), "1");
    assert_eq!(told.fact("language denials"), "10");
    assert_eq!(told.fact("verify language"), "0");
    Ok(())
}

/// By the executable's true place, whatever it is called by, across fork and exec; nameless ones are not in any list.
fn knows_which_program_acts(told: &Told, kernel: &str, _: Mode) -> Done {
    assert_eq!(told.fact("exec exe"), "0");
    for (what, came) in [
        ("in", "done"),
        ("out", "refused"),
        ("shell", "refused"),
        ("in child", "done"),
        ("out child", "refused"),
        ("in becomes out", "refused"),
        ("out becomes in", "done"),
        ("in from memory", "refused"),
        ("link to in", "done"),
        ("link to out", "refused"),
        ("bound out", "refused"),
        ("foreign in", "refused"),
        ("in deletes", "done"),
        ("out deletes", "refused"),
        ("out elsewhere", "done"),
        ("out from memory deletes", "done"),
        ("in ring", "done"),
        ("out ring", "refused"),
        ("in runs", "done"),
        ("out runs", "refused"),
        ("out passes for in", "refused"),
    ] {
        assert_eq!(told.fact(&format!("exe {what}")), came, "{what}");
    }
    assert_eq!(told.fact("verify exe"), "0");
    let denials = [
        ("ONLY_TALKERS", "7"),
        ("NOT_BY_OUT", "2"),
        ("OUT_RUNS_NOTHING", "1"),
        ("GUARD_PROGRAM", "1"),
        ("RULE_UNKNOWN", "1"),
    ];
    let came = |rule: &str| told.fact(&format!("exe denials {rule}"));
    if degraded(kernel) && denials.iter().any(|(rule, count)| came(rule) != *count) {
        return Err(LOSES.to_owned());
    }
    for (rule, count) in denials {
        assert_eq!(came(rule), count, "records of {rule}");
    }
    Ok(())
}

/// One policy, and to each agent its own; also where a filesystem is mounted on the way, and of all that there is.
fn knows_an_agents_own_directories(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("verify own"), "0");
    for (own, a, b, c, above) in [
        ("/own/a", "done", "refused", "refused", "refused"),
        ("/own/b/deep", "refused", "done", "refused", "refused"),
        ("/own/mounted/c", "refused", "refused", "done", "refused"),
        ("/", "done", "done", "done", "done"),
        ("/own", "done", "done", "done", "done"),
    ] {
        assert_eq!(told.fact(&format!("exec own {own}")), "0", "{own}");
        for (what, came) in [("a", a), ("b", b), ("c", c), ("above", above), ("tool", "done")] {
            assert_eq!(told.fact(&format!("own {own} {what}")), came, "{what} from {own}");
        }
    }
    Ok(())
}

/// By digest: nobody's changes go unseen, and what they came to is known soon after.
fn goes_by_what_programs_hold(told: &Told, kernel: &str, _: Mode) -> Done {
    for run in ["contents filesystem", "exec contents", "verify contents"] {
        assert_eq!(told.fact(run), "0", "{run}");
    }
    for (what, came) in [
        ("tool", "done"),
        ("other", "refused"),
        ("run", "done"),
        ("here", "refused"),
        ("copied", "refused"),
        ("own", "refused"),
        ("own as it was", "refused"),
        ("run changed", "refused"),
        ("run read", "refused"),
        ("tool meanwhile", "done"),
        ("run back", "done"),
    ] {
        assert_eq!(told.fact(&format!("contents {what}")), came, "{what}");
    }
    let denials = [("ONLY_TOOLS", "1"), ("NO_OTHER", "1"), ("RULE_UNKNOWN", "5")];
    let came = |rule: &str| told.fact(&format!("contents denials {rule}"));
    if degraded(kernel) && denials.iter().any(|(rule, count)| came(rule) != *count) {
        return Err(LOSES.to_owned());
    }
    for (rule, count) in denials {
        assert_eq!(came(rule), count, "records of {rule}");
    }
    Ok(())
}

fn lets_the_rest_be(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.check("denied file.map_exec anonymous").status, 0, "memory that no file is behind");
    assert_eq!(told.fact("exec benign"), "0");
    assert_eq!(told.fact("benign differs"), "0", "from the same session without a policy");
    assert!(told.fact("benign lines").parse::<u32>().is_ok_and(|lines| lines > 30), "{}", told.fact("benign lines"));
    assert_eq!(told.fact("benign denials"), "0");
    Ok(())
}

fn ledgers_verify(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("daemon"), "0");
    for ledger in [
        "denied", "allowed", "bare", "free", "errnos", "usual", "sockets", "unasked", "unconnected", "signals",
        "unsignalled", "capabilities", "unneeded",
    ] {
        assert_eq!(told.fact(&format!("verify {ledger}")), "0", "{ledger}");
    }
    Ok(())
}
