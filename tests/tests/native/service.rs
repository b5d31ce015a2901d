//! The systemd unit: systemd accepts it, and its capabilities are enough.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rgt_tests::native::{Dir, native, rgt, root};

const UNIT: &str = "deploy/systemd/rgt.service";

fn output(command: &mut Command) -> (i32, String) {
    let done = command.output().unwrap();
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    (done.status.code().unwrap_or(-1), text)
}

fn verify(dir: &Dir, name: &str, text: &str) -> (i32, String) {
    let unit = dir.join(name);
    fs::write(&unit, text).unwrap();
    fs::set_permissions(&unit, fs::Permissions::from_mode(0o644)).unwrap();
    output(Command::new("timeout").args(["-k", "2", "30", "systemd-analyze", "verify", "--man=no"]).arg(unit))
}

/// The unit with the binary under test, which need not be installed.
fn unit() -> String {
    let text = fs::read_to_string(root().join(UNIT)).unwrap();
    let rgt = fs::canonicalize(rgt()).unwrap();
    assert!(text.contains("ExecStart=/usr/local/bin/rgt run\n"), "{text}");
    text.replace("/usr/local/bin/rgt", rgt.to_str().unwrap())
}

#[test]
fn systemd_accepts_the_unit() {
    native("systemd_accepts_the_unit", &["systemd-analyze", "timeout"], |dir| {
        let (code, said) = verify(dir, "rgt.service", &unit());
        assert_eq!(code, 0, "{said}");
        assert!(!said.contains("rgt.service"), "nothing to complain of: {said}");
        // It would have said so.
        let (_, said) = verify(dir, "wrong.service", &unit().replace("LockPersonality", "LockPersonalty"));
        assert!(said.contains("LockPersonalty"), "{said}");
    });
}

#[test]
fn its_capabilities_are_enough() {
    native("its_capabilities_are_enough", &["setpriv", "timeout"], |_| {
        let unit = unit();
        let line = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).unwrap();
        let set: Vec<String> =
            line.split(' ').map(|name| format!("+{}", name.strip_prefix("CAP_").unwrap().to_lowercase())).collect();
        let limit = ["-k", "2", "30"];
        let whole = output(Command::new("timeout").args(limit).arg(rgt()).arg("doctor"));
        let bounded = format!("--bounding-set=-all,{}", set.join(","));
        let less = output(
            Command::new("timeout").args(limit).args(["setpriv", &bounded, "--no-new-privs"]).arg(rgt()).arg("doctor"),
        );
        println!("with {line}: {}", less.1.lines().last().unwrap_or_default());
        assert_eq!(less, whole, "what rgt can do here as root, it can do as the service");
        let none = output(
            Command::new("timeout").args(limit).args(["setpriv", "--bounding-set=-all"]).arg(rgt()).arg("doctor"),
        );
        assert_eq!(none.0, 1, "without any it could do nothing: {}", none.1);
    });
}
