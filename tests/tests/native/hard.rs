//! Calls that are easy to miss, or to misread, when no tracer makes pages resident.

use std::collections::BTreeMap;
use std::time::Duration;

use rgt_tests::native::{Attempt, Dir, Done, Exec, Ledger, full, native};

/// Everything below here is denied, so that each record says whether the name was judged as it is.
const POLICY: &str = "version: 1\nname: hard\nrules:\n  - { id: HARD, deny: [file.*, dir.list], path: /hard/** }\n";

fn hard(dir: &Dir, args: &[&str]) -> Done {
    let program = dir.compile("hard", include_str!("hard.c"), &["-pthread"]);
    let command: Vec<String> =
        [program.display().to_string()].into_iter().chain(args.iter().map(|arg| (*arg).to_owned())).collect();
    let policy = dir.join("hard.yaml");
    std::fs::write(&policy, POLICY).unwrap();
    Exec::new(dir, "ledger").with("--policy").with(policy).limit(Duration::from_secs(120)).run(command)
}

type Calls = BTreeMap<(String, i64, String), i64>;

/// What the program tells of its own calls is in the ledger, neither more nor less; `-` stands for no argument.
#[track_caller]
fn as_told(done: &Done, ledger: &Ledger, prefix: &str) -> usize {
    let (mut told, mut recorded) = (Calls::new(), Calls::new());
    let mut count = 0;
    for line in done.out.lines() {
        let mut words = line.splitn(3, ' ');
        let (name, result, argument) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        *told.entry((name.to_owned(), result.parse().unwrap(), argument.to_owned())).or_default() += 1;
        count += 1;
    }
    for each in &ledger.attempts {
        let argument = each.argument.as_ref().map_or("-".to_owned(), |_| each.argument());
        let key = (each.syscall.clone(), each.result.unwrap_or(i64::MIN), argument);
        if key.2.starts_with(prefix) || told.contains_key(&key) {
            *recorded.entry(key).or_default() += 1;
        }
    }
    let missing: Vec<_> = told.iter().filter(|(key, count)| recorded.get(key) != Some(count)).take(20).collect();
    let surplus: Vec<_> = recorded.iter().filter(|(key, count)| told.get(key) != Some(count)).take(20).collect();
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "told, and otherwise recorded: {missing:?}\nrecorded, and otherwise told: {surplus:?}"
    );
    count
}

fn by_read<'a>(attempts: impl Iterator<Item = &'a Attempt>) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for each in attempts {
        *counts.entry(each.argument_read.as_str()).or_default() += 1;
    }
    counts
}

#[test]
fn names_in_cold_pages() {
    native("names_in_cold_pages", &["cc"], |dir| {
        let done = hard(dir, &["cold"]);
        let ledger = done.succeeded();
        let count = as_told(&done, &ledger, "/hard/");
        let read = by_read(ledger.attempts.iter().filter(|each| each.argument().starts_with("/hard/")));
        println!("{count} names on cold pages, all there; read at {read:?}");
        for each in ledger.attempts.iter().filter(|each| each.argument().starts_with("/hard/")) {
            assert_eq!(
                (each.verdict.as_str(), &each.directory),
                ("DENY", &None),
                "an absolute name starts from the root: {each:?}"
            );
        }
        assert!(read.get("return").is_some_and(|count| *count > 0), "no page was cold: the test tests nothing");
        let execed = ledger.one("execve", "/bin/true");
        assert_eq!(execed.argv, [&b"/bin/true"[..], b"cold"], "{execed:?}");
    });
}

#[test]
fn what_calls_are_given() {
    native("what_calls_are_given", &["cc"], |dir| {
        let done = hard(dir, &["given"]);
        let ledger = done.succeeded();
        let (own, parent) = done.out.trim().split_once(' ').expect("its own number and its parent's");
        for (call, given) in [
            ("kill", format!(r#"{{"pid":{own}}}"#)),
            ("ptrace", format!(r#"{{"pid":{parent},"request":7}}"#)),
            ("setresuid", r#"{"euid":0,"ruid":-1,"suid":-1}"#.to_owned()),
            ("unshare", r#"{"flags":67108864}"#.to_owned()),
            ("chmod", r#"{"mode":416}"#.to_owned()),
        ] {
            let found: Vec<String> = ledger
                .attempts
                .iter()
                .filter(|each| each.syscall == call)
                .map(|each| each.parameters.to_string())
                .collect();
            assert!(found.contains(&given), "{call}: {found:?}, not {given}");
        }
    });
}

#[test]
fn unreadable_names() {
    native("unreadable_names", &["cc"], |dir| {
        let done = hard(dir, &["faults"]);
        let ledger = done.succeeded();
        let faults: Vec<_> = ledger.attempts.iter().filter(|each| each.result == Some(-14)).collect();
        assert_eq!(faults.len(), 4, "{faults:?}");
        for each in &faults {
            assert_eq!(each.argument_read, "none", "{each:?}");
        }
        assert_eq!(ledger.one("openat", "/hard/edge").result, Some(-2));
    });
}

#[test]
fn vfork_children() {
    native("vfork_children", &["cc"], |dir| {
        let done = hard(dir, &["vfork"]);
        let ledger = done.succeeded();
        let count = as_told(&done, &ledger, "/hard/");
        let children: std::collections::BTreeSet<_> = ledger
            .attempts
            .iter()
            .filter(|each| each.argument().starts_with("/hard/vfork/"))
            .map(|each| each.pid)
            .collect();
        assert_eq!(children.len(), 20, "each by its own child");
        println!("{count} calls of 20 vfork children");
    });
}

#[test]
fn exec_by_a_thread() {
    native("exec_by_a_thread", &["cc"], |dir| {
        let done = hard(dir, &["thread"]);
        assert_eq!(done.code, 1, "cat of an absent file: {}", done.err);
        let ledger = done.ledger();
        let before = ledger.one("openat", "/hard/thread/before");
        assert_ne!(before.tid, before.pid, "{before:?}");
        let execed: Vec<_> = ledger.find("execve", "/usr/bin/sh");
        assert_eq!(execed.len(), 1, "{execed:?}");
        assert_eq!((execed[0].result, execed[0].pid), (Some(0), before.pid), "{execed:?}");
        assert_eq!(execed[0].argv.len(), 3, "{execed:?}");
        let after = ledger.one("openat", "/hard/thread/after");
        assert_eq!(after.result, Some(-2));
        println!("execve by thread {} of {}: recorded as {}/{}", before.tid, before.pid, execed[0].pid, execed[0].tid);
    });
}

#[test]
fn killed_in_mid_call() {
    native("killed_in_mid_call", &["cc"], |dir| {
        for (name, milliseconds, by_outcome) in [("soon", "50", false), ("late", "700", true)] {
            let program = dir.compile("hard", include_str!("hard.c"), &["-pthread"]);
            let done = Exec::new(dir, name).run([program.to_str().unwrap(), "killed", milliseconds]);
            let ledger = done.succeeded();
            let open = ledger.one("openat", "killed");
            println!(
                "killed after {milliseconds} ms in its open: result {:?}, end {:?}, by an outcome record: {}",
                open.result, open.end, open.by_outcome
            );
            // The call comes back with the kernel's own ERESTARTSYS, or never.
            assert!(open.result == Some(-512) || open.end.as_deref() == Some("killed"), "{open:?}");
            assert_eq!(open.by_outcome, by_outcome, "{open:?}");
        }
    });
}

#[test]
fn a_call_made_again_with_another_name_is_another_attempt() {
    native("a_call_made_again_with_another_name_is_another_attempt", &["cc"], |dir| {
        let done = hard(dir, &["rewritten"]);
        let ledger = done.succeeded();
        let pipe = ledger.one("openat", "rewritten-pipe");
        let none = ledger.one("openat", "rewritten-none");
        assert_eq!((pipe.result, none.result), (Some(-512), Some(-2)), "{pipe:?}\n{none:?}");
    });
}

#[test]
fn slow_calls_have_an_outcome() {
    native("slow_calls_have_an_outcome", &["cc"], |dir| {
        let wait = if full() { "60000" } else { "700" };
        let done = hard(dir, &["slow", wait]);
        let ledger = done.succeeded();
        let open = ledger.one("openat", "slow");
        assert!(open.by_outcome && open.result.is_some_and(|result| result >= 0), "{open:?}");
        let connects = ledger.find("connect", "full");
        let told = done.out.lines().filter(|line| line.starts_with("connect ")).count();
        assert_eq!(connects.len(), told, "{connects:?}");
        let slow: Vec<_> = connects.iter().filter(|each| each.by_outcome).collect();
        assert_eq!(slow.len(), 1, "{connects:?}");
        assert_eq!(slow[0].result, Some(-11), "{slow:?}");
        println!(
            "an open of 800 ms and a connect of {wait} ms: recorded without a result, then with {:?} and {:?}",
            open.result, slow[0].result
        );
    });
}

#[test]
fn calls_by_the_32_bit_gate() {
    native("calls_by_the_32_bit_gate", &["cc"], |dir| {
        let done = hard(dir, &["compat"]);
        if done.out == "none 0 -\n" {
            println!("SKIP calls_by_the_32_bit_gate: this kernel has no int 0x80");
            return;
        }
        let ledger = done.succeeded();
        println!("{}", done.out.trim());
        let mut told = done.out.lines();
        for call in ["open", "openat", "unlink", "mkdir", "chmod", "rename"] {
            let result: i64 = told.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
            let each = ledger.one(call, "/hard/compat/a");
            assert_eq!((each.compat, each.result), (true, Some(result)), "{each:?}");
        }
        assert_eq!(ledger.one("rename", "/hard/compat/a").argument2.as_deref(), Some(&b"/hard/compat/b"[..]));
        let connects: Vec<_> = ledger.attempts.iter().filter(|each| each.argument() == "/hard/compat/s").collect();
        println!("{:?}", connects.iter().map(|each| (&each.syscall, &each.verb, each.result)).collect::<Vec<_>>());
        assert_eq!(connects.len(), 2, "{connects:?}");
        assert!(
            connects.iter().all(|each| each.compat && each.verb == "net.connect" && each.result == Some(-2)),
            "{connects:?}"
        );
        assert_eq!(ledger.one("execve", "/hard/compat/program").result, Some(-2));
        let execed: Vec<_> = ledger.find("execve", "/usr/bin/true");
        assert_eq!(execed.len(), 1, "{execed:?}");
        assert_eq!((execed[0].compat, execed[0].result), (true, Some(0)), "{execed:?}");
    });
}
