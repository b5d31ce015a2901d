//! `rgt policy suggest` from a real workload's ledger: the same work, done again under it, is not denied.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use rgt_tests::native::records::each_line;
use rgt_tests::native::{Dir, Exec, native, program, rgt};
use serde_json::Value;

const WORK: &str = r#"
rm -rf clone && git clone -q origin clone && cd clone &&
cc -O1 -o hello hello.c && ./hello && strip hello && mv hello done && ln -s done link && chmod 700 done &&
find . /etc/apt -name '*.c' > found; cat /no/such/file 2>/dev/null; ls /tmp > /dev/null;
PYTHON -c 'import json, socket, tempfile; json.dump({}, tempfile.TemporaryFile("w")); socket.socket().connect_ex(("127.0.0.1", 9))' &&
kill -0 $$
"#;

fn suggest(ledger: &Path, options: &[&str]) -> Output {
    Command::new(rgt()).args(["policy", "suggest"]).args(options).arg(ledger).output().unwrap()
}

/// Of each denied action and object, how often.
fn denied(ledger: &Path) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::new();
    each_line(ledger, |line| {
        let event: Value = serde_json::from_slice(line).unwrap();
        let (data, action) = (&event["data"], &event["data"]["action_attempted"]);
        if data["policy_verdict"] == "DENY" {
            let told = format!("{} {}: {}", action["verb"], action["argument"], data["decision_reason"]);
            *all.entry(told).or_default() += 1;
        }
    });
    all
}

fn origin(dir: &Dir) {
    let origin = dir.join("origin");
    fs::create_dir(&origin).unwrap();
    fs::write(origin.join("hello.c"), "#include <stdio.h>\nint main(void) { return puts(\"hello\") < 0; }\n").unwrap();
    for args in
        [&["init", "-q"][..], &["add", "."], &["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]]
    {
        let done = Command::new("git").current_dir(&origin).args(args).output().unwrap();
        assert!(done.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

#[test]
fn the_same_work_is_allowed_again() {
    native("the_same_work_is_allowed_again", &["git", "cc", "find", "strip"], |dir| {
        origin(dir);
        let work = WORK.replace("PYTHON", program("python3").unwrap().to_str().unwrap());
        let seen = Exec::new(dir, "seen").sh(&work);
        let attempts = seen.succeeded().attempts.len();

        let made = suggest(&seen.ledger, &[]);
        let (text, told) = (String::from_utf8(made.stdout).unwrap(), String::from_utf8_lossy(&made.stderr));
        assert_eq!(made.status.code(), Some(0), "{told}");
        assert!(text.contains("default: deny") && text.contains("\"${workspace}/**\""), "{text}");
        assert!(text.lines().count() < 250, "{} lines from {attempts} attempts:\n{text}", text.lines().count());
        let policy = dir.join("suggested.yaml");
        fs::write(&policy, &text).unwrap();
        let checked = Command::new(rgt()).args(["policy", "check"]).arg(&policy).output().unwrap();
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{}\n{text}",
            String::from_utf8_lossy(&checked.stderr)
        );

        let again = Exec::new(dir, "again").with("--policy").with(&policy).sh(&work);
        let repeated = again.succeeded().attempts.len();
        assert_eq!(denied(&again.ledger), BTreeMap::new(), "{text}");
        assert!(repeated * 10 > attempts * 9, "{attempts} attempts at first, {repeated} then");

        // The policy is one: what was not done before is denied.
        let other = Exec::new(dir, "other")
            .with("--policy")
            .with(&policy)
            .sh("cat /etc/shadow /etc/passwd; : > /etc/rgt-x; exit 0");
        let told = denied(&other.ledger);
        fs::remove_file("/etc/rgt-x").ok();
        for object in ["/etc/shadow", "/etc/rgt-x"] {
            assert!(told.keys().any(|each| each.contains(object)), "{object}: {told:?}");
        }
        println!("{attempts} attempts, {} lines of policy", text.lines().count());
        println!("{text}");
    });
}
