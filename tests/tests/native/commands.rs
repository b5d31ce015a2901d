//! What `cargo xtask` promises whoever has run it before.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use rgt_tests::native::{native, output};

/// None: the tests were not started by it.
fn xtask(name: &str) -> Option<PathBuf> {
    let found = std::env::var_os("XTASK").map(PathBuf::from);
    if found.is_none() {
        println!("SKIP {name}: XTASK names no xtask; run it by `cargo xtask test`");
    }
    found
}

#[test]
fn what_is_built_is_not_built_again_nor_fetched() {
    let name = "what_is_built_is_not_built_again_nor_fetched";
    let Some(xtask) = xtask(name) else { return };
    native(name, &["unshare"], |_| {
        for what in ["setup", "build"] {
            // A network of its own, with nobody in it.
            let (code, said) = output(Command::new("unshare").arg("--net").arg(&xtask).arg(what));
            assert_eq!(code, 0, "xtask {what}: {said}");
            assert!(!said.contains("Compiling") && !said.contains("apt-get"), "xtask {what}: {said}");
        }
    });
}

#[test]
fn the_demo_shows_an_agent_and_ends() {
    let name = "the_demo_shows_an_agent_and_ends";
    let Some(xtask) = xtask(name) else { return };
    native(name, &["cc"], |_| {
        let done = Command::new(&xtask).arg("demo").stdin(Stdio::null()).output().unwrap();
        assert!(done.status.success(), "{}: {}", done.status, String::from_utf8_lossy(&done.stderr));
        let out = String::from_utf8_lossy(&done.stdout);
        let rows =
            |verdict: &str| out.lines().filter(|line| line.split_whitespace().any(|word| word == verdict)).count();
        assert!(rows("ALLOW") > 10 && rows("DENY") > 0, "{out}");
        for part in ["This kernel: rgt can ", "rgt verify ", "Enforcement in a VM, on any machine:"] {
            assert!(out.contains(part), "{part:?}: {out}");
        }
        let observes = out.contains("This kernel: rgt can observe here");
        let outcome = if observes {
            "deleted: this kernel lets rgt only observe"
        } else {
            "still there: its deletion was denied"
        };
        assert!(out.contains(outcome), "{out}");
        println!("{} rows: {} ALLOW, {} DENY", out.lines().count(), rows("ALLOW"), rows("DENY"));
    });
}
