//! What `rgt exec` and `rgt verify` promise their callers.

use std::fs;
use std::path::{Path, PathBuf};

use rgt_tests::native::daemon::Daemon;
use rgt_tests::native::{Dir, Done, Exec, Ledger, native, verify, verify_by_python, wait_for};

#[test]
fn exit_status_passes_through() {
    native("exit_status_passes_through", &[], |dir| {
        for (number, script, code) in [
            (0, "exit 0", 0),
            (1, "exit 7", 7),
            (2, "exit 255", 255),
            (3, "kill -TERM $$", 143),
            (4, "kill -KILL $$", 137),
            (5, "kill -SEGV $$", 139),
        ] {
            let done = Exec::new(dir, &format!("status-{number}")).sh(script);
            assert_eq!(done.code, code, "{script}: {}", done.err);
            done.ledger();
        }
        let absent = Exec::new(dir, "absent").run(["/no/such/program"]);
        assert_eq!(absent.code, 127, "{}", absent.err);
        let unknown = Exec::new(dir, "unknown").run(["rgt-no-such-program"]);
        assert_eq!(unknown.code, 127, "{}", unknown.err);
        let data = dir.join("data");
        fs::write(&data, "no program").unwrap();
        let refused = Exec::new(dir, "refused").run([&data]);
        assert_eq!(refused.code, 126, "{}", refused.err);
        println!("exit statuses 0, 7, 255, 143, 137, 139, 127, 127, 126 as they should be");
    });
}

#[test]
fn command_passes_through() {
    native("command_passes_through", &[], |dir| {
        let done =
            Exec::new(dir, "ledger").run(["sh", "-c", "printf '%s|' \"$@\"; printf err >&2", "sh", "a b", "", "ü\n"]);
        assert_eq!((done.code, done.out.as_str(), done.err.as_str()), (0, "a b||ü\n|", "err"));
    });
}

/// Says what comes to it, until it is told to end.
const LISTENER: &str = r#"
import signal
every = signal.valid_signals()
signal.pthread_sigmask(signal.SIG_BLOCK, every)
print("ready", flush=True)
while True:
    got = signal.sigwaitinfo(every)
    print(got.si_signo, got.si_code, flush=True)
    if got.si_signo == signal.SIGTERM:
        break
"#;

#[test]
fn signals_pass_through() {
    native("signals_pass_through", &[], |dir| {
        let running = Exec::new(dir, "ledger").start(["python3", "-c", LISTENER]);
        let pid = libc::pid_t::try_from(running.pid()).unwrap();
        let heard = |line: &str| {
            wait_for(&format!("{line:?}"), || {
                let said = fs::read_to_string(dir.join("ledger.out")).unwrap();
                said.lines().any(|said| said == line).then_some(())
            });
        };
        heard("ready");
        // Those by which `rgt exec` itself stops or fails, and the library's own two.
        let own = [
            libc::SIGKILL,
            libc::SIGSTOP,
            libc::SIGTSTP,
            libc::SIGTTIN,
            libc::SIGTTOU,
            libc::SIGSEGV,
            libc::SIGBUS,
            libc::SIGFPE,
            libc::SIGILL,
            libc::SIGTRAP,
            libc::SIGSYS,
            32,
            33,
        ];
        let passed: Vec<i32> =
            (1..=libc::SIGRTMAX()).filter(|signal| !own.contains(signal) && *signal != libc::SIGTERM).collect();
        for signal in &passed {
            // SAFETY: kill(2) takes integers; the process is our child, which has not been awaited.
            assert_eq!(unsafe { libc::kill(pid, *signal) }, 0);
            heard(&format!("{signal} 0"));
        }
        let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(7) };
        // SAFETY: as above; the value is a number that nobody follows.
        assert_eq!(unsafe { libc::sigqueue(pid, libc::SIGRTMIN(), value) }, 0);
        heard(&format!("{} {}", libc::SIGRTMIN(), libc::SI_QUEUE));
        // SAFETY: as above.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        let done = running.done();
        done.succeeded();
        assert_eq!(done.out.lines().count(), passed.len() + 3, "each comes once: {}", done.out);
        println!("{} signals passed on", passed.len() + 1);
    });
}

#[test]
fn first_attempt_is_the_command() {
    native("first_attempt_is_the_command", &[], |dir| {
        let ledger = Exec::new(dir, "ledger").run(["true", "--an-argument"]).succeeded();
        let first = &ledger.attempts[0];
        assert_eq!(first.syscall, "execve", "{first:?}");
        assert!(first.argument().ends_with("/true"), "{first:?}");
        assert_eq!((first.result, first.argv.clone()), (Some(0), vec![b"true".to_vec(), b"--an-argument".to_vec()]));
        let kinds: Vec<_> = ledger.others.iter().map(|(_, data)| data["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds.first(), Some(&"open"));
        assert!(kinds.contains(&"start") && kinds.contains(&"stop"), "{kinds:?}");
        assert_eq!(kinds.last(), Some(&"checkpoint"), "a closed ledger ends with its signed head: {kinds:?}");
        assert!(dir.join("ledger/head.json").is_file());
        // The process that became the command is the run's only one.
        assert!(ledger.attempts.iter().all(|each| each.pid == first.pid && each.run == first.run));
        assert_eq!(ledger.attempts.iter().filter(|each| each.syscall == "execve").count(), 1);
        println!("{} attempts, kinds of the rest: {kinds:?}", ledger.attempts.len());
    });
}

#[test]
fn a_ledger_is_continued() {
    native("a_ledger_is_continued", &[], |dir| {
        let first = Exec::new(dir, "ledger").run(["true"]).succeeded();
        let second = Exec::new(dir, "ledger").run(["true"]).succeeded();
        assert!(second.lines > first.lines);
        let runs: std::collections::BTreeSet<_> = second.attempts.iter().map(|each| &each.run).collect();
        assert_eq!(runs.len(), 2, "{runs:?}");
    });
}

fn copy(done: &Done, to: &Path) -> PathBuf {
    fs::create_dir(to).unwrap();
    let mut segment = None;
    for entry in fs::read_dir(&done.ledger).unwrap() {
        let from = entry.unwrap().path();
        let target = to.join(from.file_name().unwrap());
        fs::copy(&from, &target).unwrap();
        if target.extension().is_some_and(|extension| extension == "jsonl") {
            segment = Some(target);
        }
    }
    segment.unwrap()
}

/// The daemon's ledger has none of the run's earlier records.
#[test]
fn scores_of_what_is_left_behind_can_be_worked_out() {
    native("scores_of_what_is_left_behind_can_be_worked_out", &["setsid"], |dir| {
        let common = dir.join("common");
        let daemon = Daemon::start(dir, &common);
        let done = Exec::new(dir, "own").sh(
            "for n in 1 2 3 4 5 6 7 8 9 10; do cat /absent; done; setsid sh -c 'sleep 1; cat /etc/hostname' & exit 0",
        );
        assert_eq!(done.code, 0, "{}", done.err);
        let behind =
            || Ledger::read(&common).attempts.iter().any(|each| each.argument() == "/etc/hostname").then_some(());
        wait_for("what it left behind", behind);
        assert_eq!(daemon.stop(), 0);
        let told = Ledger::read(&common);
        assert!(told.others.iter().any(|(_, data)| data["kind"] == "adopt" && data["actions"].as_u64() > Some(10)));
        let (agrees, why) = verify_by_python(&common, &dir.key());
        assert!(agrees, "{why}");
    });
}

/// Whoever comes first has the lock; the other must not fail for it.
#[test]
fn a_command_and_a_daemon_may_start_at_once() {
    native("a_command_and_a_daemon_may_start_at_once", &[], |dir| {
        for round in 0..2_u64 {
            let running = Exec::new(dir, &format!("own-{round}")).start(["true"]);
            std::thread::sleep(std::time::Duration::from_millis(round));
            let daemon = Daemon::start(dir, &dir.join("common"));
            let done = running.done();
            assert_eq!(done.code, 0, "{}", done.err);
            assert_eq!(daemon.stop(), 0);
        }
    });
}

#[test]
fn tampering_is_found() {
    native("tampering_is_found", &[], |dir| {
        let done = Exec::new(dir, "ledger").sh("cat /etc/hostname; ls /; cat /no-such-file; exit 0");
        let attempts = done.succeeded().attempts.len();
        type Tamper = fn(&mut Vec<Vec<u8>>);
        let cases: [(&str, i32, Tamper); 9] = [
            ("nothing changed", 0, |_| {}),
            ("one bit of an argument", 10, |lines| {
                let middle = lines.len() / 2;
                let at = lines[middle].windows(10).position(|part| part == b"\"argument\"").unwrap() + 13;
                lines[middle][at] ^= 1;
            }),
            ("one digit of a signature", 10, |lines| {
                let line = &mut lines[5];
                let at = line.len() - 4;
                line[at] = if line[at] == b'0' { b'1' } else { b'0' };
            }),
            ("a space added", 10, |lines| lines[4].insert(1, b' ')),
            ("a line removed", 11, |lines| drop(lines.remove(6))),
            ("the first line removed", 11, |lines| drop(lines.remove(0))),
            ("two lines swapped", 12, |lines| lines.swap(5, 6)),
            ("the tail cut", 13, |lines| lines.truncate(lines.len() - 3)),
            ("a line twice", 14, |lines| lines.insert(6, lines[5].clone())),
        ];
        for (number, (name, expected, tamper)) in cases.into_iter().enumerate() {
            let (code, told, agrees) = tampered(dir, &done, number, tamper);
            println!("{name}: exit {code}; python {}", if agrees { "agrees" } else { "finds it" });
            assert_eq!(code, expected, "{name}: {told}");
            // Python takes the segments without their head as they are: where they begin and end is the head's to tell.
            let at_an_end = matches!(name, "the first line removed" | "the tail cut");
            assert_eq!(agrees, expected == 0 || at_an_end, "{name}");
        }
        let other = dir.join("other.key");
        fs::write(&other, format!("{}\n", "5a".repeat(32))).unwrap();
        let (code, told) = verify(&done.ledger, &other);
        assert!(code == 15 || code == 0, "another key: {code}, {told}");
        println!("{attempts} attempts, every tampering has its own exit code; another key: {code}");
    });
}

fn tampered(dir: &Dir, done: &Done, number: usize, tamper: fn(&mut Vec<Vec<u8>>)) -> (i32, String, bool) {
    let to = dir.join(format!("copy-{number}"));
    let segment = copy(done, &to);
    let bytes = fs::read(&segment).unwrap();
    let mut lines: Vec<Vec<u8>> =
        bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    tamper(&mut lines);
    let mut changed = lines.join(&b'\n');
    changed.push(b'\n');
    fs::write(&segment, changed).unwrap();
    let (code, told) = verify(&to, &done.key);
    let copy = Done { code: 0, out: String::new(), err: String::new(), ledger: to, key: done.key.clone() };
    (code, told, copy.verify_by_python().0)
}
