//! A shell at a terminal works under `rgt exec` as without it.

use std::process::Command;

use rgt_tests::native::{Dir, Done, native, program, rgt};

/// Talks by the script to a shell that is, or that starts, an `rgt exec`.
fn talk(dir: &Dir, how: &str) -> Done {
    let script = dir.join("terminal.py");
    std::fs::write(&script, include_str!("terminal.py")).unwrap();
    let ledger = dir.join("ledger");
    let done = Command::new("timeout")
        .args(["-k", "2", "45"])
        .arg(program("python3").unwrap())
        .arg(&script)
        .arg(how)
        .arg(rgt())
        .args(["exec", "--ledger"])
        .arg(&ledger)
        .arg("--set")
        .arg(format!("seal.key_file={}", dir.key().display()))
        .current_dir(&dir.0)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (code, out, err) = (done.status.code().unwrap_or(-1), text(done.stdout), text(done.stderr));
    assert_eq!(code, 0, "{out}\n{err}");
    Done { code, out, err, ledger, key: dir.key() }
}

#[test]
fn a_shell_has_job_control() {
    native("a_shell_has_job_control", &["bash", "timeout"], |dir| {
        let done = talk(dir, "inside");
        let ledger = done.succeeded();
        let started = ledger.others.iter().find(|(_, data)| data["kind"] == "start").unwrap();
        let observing = started.1["mode"] == "observe";
        assert_eq!(done.out.contains("rgt exec: observing only: "), observing, "{}", done.out);
        let slept = ledger.attempts.iter().filter(|each| each.argv.first().is_some_and(|name| name == b"sleep"));
        assert_eq!(slept.count(), 2, "both jobs are recorded");
        println!("&, jobs, fg, Ctrl-C, Ctrl-Z, bg, kill and exit 42 of a shell under rgt exec");
    });
}

#[test]
fn a_shell_stops_and_continues_it() {
    native("a_shell_stops_and_continues_it", &["bash", "timeout"], |dir| {
        talk(dir, "outside").succeeded();
        println!("Ctrl-Z, jobs, fg and Ctrl-C of an rgt exec under a shell");
    });
}
