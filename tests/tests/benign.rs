//! Ordinary work under a policy with several denials: it goes as it does without one, for a user and in
//! a container's overlay.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rgt_tests::vm::{self, Boot, Missing, Mode};
use serde_json::Value;

/// What is refused although it harms nobody, and why.
const HARMED: &[(&str, &str)] =
    &[("write_own_proc", "`>` truncates, which counts as file.delete in /proc too, where nothing can be deleted")];
const PLACES: [&str; 2] = ["agent user", "agent container"];
/// Without git, gcc and Python, which not every machine has.
const LEAST: usize = 55;

/// Programs that are packed where this machine has them.
fn packed(boot: Boot) -> Boot {
    let mut boot = boot;
    for (host, guest) in [("/bin/bash", "/usr/bin/bash"), ("/usr/bin/git", "/usr/bin/git")] {
        boot = add(boot, host.into(), guest);
    }
    for version in ["12", "13", "14"] {
        let own = format!("/usr/lib/gcc/x86_64-linux-gnu/{version}");
        let compiler = PathBuf::from(format!("/usr/bin/x86_64-linux-gnu-gcc-{version}"));
        if !compiler.is_file() {
            continue;
        }
        for part in ["cc1", "collect2", "liblto_plugin.so"] {
            let file = format!("{own}/{part}");
            boot = add(boot, PathBuf::from(&file), &file);
        }
        for (program, guest) in [(compiler, "gcc"), ("/usr/bin/as".into(), "as"), ("/usr/bin/ld".into(), "ld")] {
            boot = add(boot, program, &format!("/usr/bin/{guest}"));
        }
        break;
    }
    let library = PathBuf::from("/usr/lib/python3.11");
    if library.is_dir() {
        boot = add(boot, "/usr/bin/python3.11".into(), "/usr/bin/python3");
        boot = add(boot, python(&library), "/usr/lib/python3.11");
    }
    boot
}

fn add(boot: Boot, host: PathBuf, guest: &str) -> Boot {
    if host.exists() { boot.add(&host, guest) } else { boot }
}

/// The part of Python's library that the cases need: all of it would be most of the VM.
fn python(library: &Path) -> PathBuf {
    let to = vm::scratch().join("python");
    let _ = std::fs::remove_dir_all(&to);
    std::fs::create_dir_all(&to).unwrap();
    for name in [
        "encodings", "collections", "importlib", "re", "json", "http", "urllib", "email", "html", "lib-dynload",
        "__pycache__",
    ] {
        copy(&library.join(name), &to.join(name));
    }
    for entry in std::fs::read_dir(library).unwrap().flatten() {
        if entry.path().is_file() {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    }
    to
}

fn copy(from: &Path, to: &Path) {
    let done = std::process::Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success(), "cp -a {}", from.display());
}

fn benign(name: &str, kernel: &str, mode: Mode) {
    if !Path::new("/bin/bash").exists() {
        return println!("SKIP {name}: no bash to pack");
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("benign");
    let boot = packed(Boot::new(kernel, mode).add(&scripts, "/t").options(&["--memory", "2048"]).seconds(900));
    let out = match boot.run("benign", &["bash", "/t/benign.sh"]) {
        Ok(out) => out,
        Err(Missing::Skipped(reason)) => return println!("SKIP {name}: {reason}"),
        Err(Missing::Failed(reason)) => panic!("{reason}"),
    };

    // Case, where, status and what it said.
    let mut cases: BTreeMap<&str, BTreeMap<&str, (&str, &str)>> = BTreeMap::new();
    let mut refused = Vec::new();
    for line in out.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["~", place, case, status, said] => drop(cases.entry(case).or_default().insert(place, (status, said))),
            ["#", fact, value] => assert_eq!(value, "0", "{fact}"),
            ["%", record] => {
                let record: Value = serde_json::from_str(record).unwrap();
                let data = &record["data"];
                assert_ne!(data["kind"], "gap", "events were lost: {data}");
                if data["kind"] == "start" {
                    assert_eq!(data["mode"], mode.name(), "how it was governed");
                } else {
                    refused.push(data["action_attempted"].to_string());
                }
            }
            _ => panic!("the scripts do not say such a thing: {line}"),
        }
    }
    assert!(cases.len() >= LEAST, "{} cases", cases.len());
    let mut harmed = Vec::new();
    for (case, told) in &cases {
        let control = told.get("control user").unwrap_or_else(|| panic!("{case}: no control"));
        assert_eq!(control.0, "0", "{case} fails without a policy: it tests nothing");
        let known = HARMED.iter().find(|(name, _)| name == case);
        for place in PLACES {
            match (told.get(place) == Some(control), known) {
                (true, None) => {}
                (true, Some(_)) => println!("{case}: {place}: no longer harmed"),
                (false, Some((_, reason))) => println!("{case}: {place}: harmed: {reason}"),
                (false, None) => harmed.push(format!("{case}: {place}: {:?}, not {control:?}", told.get(place))),
            }
        }
    }
    // What a program shrugs off is a refusal all the same.
    let unknown: Vec<&String> = refused.iter().filter(|action| !action.contains("oom_score_adj")).collect();
    println!("{} cases, {} refusals", cases.len(), refused.len());
    assert!(harmed.is_empty() && unknown.is_empty(), "{}\n{unknown:#?}", harmed.join("\n"));
}

macro_rules! machines {
    ($($name:ident: $kernel:literal, $mode:expr, $always:literal;)+) => {
        $(#[test]
        fn $name() {
            if $always || vm::full() {
                benign(stringify!($name), $kernel, $mode);
            } else {
                println!("SKIP {}: only with --full", stringify!($name));
            }
        })+
    };
}

machines! {
    benign_lsm_5_10: "5.10", Mode::Lsm, false;
    benign_fmod_ret_5_10: "5.10", Mode::FmodRet, false;
    benign_lsm_6_1: "6.1", Mode::Lsm, true;
    benign_fmod_ret_6_1: "6.1", Mode::FmodRet, false;
    benign_lsm_6_12: "6.12", Mode::Lsm, true;
    benign_fmod_ret_6_12: "6.12", Mode::FmodRet, false;
    benign_lsm_7_2: "7.2", Mode::Lsm, false;
    benign_fmod_ret_7_2: "7.2", Mode::FmodRet, false;
}
