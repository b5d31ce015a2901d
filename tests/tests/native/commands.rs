//! What `cargo xtask` promises whoever has run it before.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rgt_tests::native::native;

/// None: the tests were not started by it.
fn xtask(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("XTASK").map(PathBuf::from);
    if found.is_none() {
        println!("SKIP {name}: XTASK names no xtask; run it by `cargo xtask test`");
    }
    found
}

/// Without a terminal, and to its end.
fn output(command: &mut Command) -> (Output, String) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let said = [&done.stdout[..], &done.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (done, said)
}

#[test]
fn what_is_built_is_not_built_again_nor_fetched() {
    let name = "what_is_built_is_not_built_again_nor_fetched";
    let Some(xtask) = xtask(name) else { return };
    native(name, &["unshare"], |_| {
        for what in ["setup", "build"] {
            // A network of its own, with nobody in it.
            let (done, said) = output(Command::new("unshare").arg("--net").arg(&xtask).arg(what));
            assert!(done.status.success(), "xtask {what}: {said}");
            assert!(!said.contains("Compiling") && !said.contains("apt-get"), "xtask {what}: {said}");
        }
    });
}

#[test]
fn the_demo_shows_an_agent_and_ends() {
    let name = "the_demo_shows_an_agent_and_ends";
    let Some(xtask) = xtask(name) else { return };
    native(name, &["cc"], |_| {
        let (done, said) = output(Command::new(&xtask).arg("demo"));
        assert!(done.status.success(), "{}: {said}", done.status);
        let out = String::from_utf8_lossy(&done.stdout);
        let rows = |verdict: &str| out.lines().filter(|line| line.split_whitespace().any(|word| word == verdict)).count();
        assert!(rows("ALLOW") > 10 && rows("DENY") > 0, "{out}");
        for part in ["This kernel: rgt can ", "rgt verify ", "Enforcement in a VM, on any machine:"] {
            assert!(out.contains(part), "{part:?}: {out}");
        }
        let observes = out.contains("This kernel: rgt can observe here");
        let outcome = if observes { "deleted: this kernel lets rgt only observe" } else { "still there: its deletion was denied" };
        assert!(out.contains(outcome), "{out}");
        println!("{} rows: {} ALLOW, {} DENY", out.lines().count(), rows("ALLOW"), rows("DENY"));
    });
}
