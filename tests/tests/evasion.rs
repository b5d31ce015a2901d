//! Techniques that try to get round a policy, each with a control: by itself it has its effect on that
//! kernel and as that user; under the policy it has not, and a record names the rule.
//! All of them on 6.12 by LSM, the sentinels elsewhere; `--full`: all everywhere.

#[path = "evasion/open.rs"]
mod open;
#[path = "evasion/race.rs"]
mod race;
#[path = "evasion/told.rs"]
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use rgt_tests::machine::{LOSES, degraded};
use rgt_tests::vm::{self, Boot, Missing, Mode};
use told::{Run, Told};

/// The rule that each family's policy refuses by.
const RULES: [(&str, &[&str]); 12] = [
    ("delete", &["NO_DELETE"]),
    ("read", &["NO_SECRETS"]),
    ("create", &["NO_CHANGES"]),
    ("exec", &["NO_TOOLS"]),
    ("net", &["NO_NETWORK", "NO_TCP"]),
    ("leave", &["NO_DELETE"]),
    ("guard", &[]),
    ("kernel", &[]),
    ("others", &["NO_KEYS"]),
    ("way", &["NOT_THERE"]),
    ("written", &["NO_OWN"]),
    ("numbers", &["NO_SIGNAL", "NO_CAPABILITY", "NO_MORE", "NO_MORE_SENT"]),
];
/// Where a place cannot be told.
const UNKNOWN: &str = "RULE_UNKNOWN";
/// The built-in rules in front of these families' policies.
const GUARDED: [&str; 5] = ["leave", "guard", "kernel", "others", "numbers"];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    Blocked,
    /// Without a policy nothing happens either.
    NoEffect,
    /// Not refused, as `OPEN` says.
    Open,
    /// Refused, against what `OPEN` says.
    Closed,
    Breach,
    /// Refused, and no record says so.
    Unrecorded,
}

impl Verdict {
    fn of(family: &str, technique: &str, run: &Run) -> Self {
        let known = open::reason(family, technique).is_some();
        let rules = RULES.iter().find(|(of, _)| *of == family).map_or(&[][..], |(_, rules)| rules);
        let guard = |rule: &str| GUARDED.contains(&family) && rule.starts_with("GUARD_");
        let named = run.rule.as_deref().is_some_and(|rule| rule == UNKNOWN || rules.contains(&rule) || guard(rule));
        match (run.control, run.effect) {
            (false, _) => Self::NoEffect,
            (true, true) if known => Self::Open,
            (true, true) => Self::Breach,
            (true, false) if !named => Self::Unrecorded,
            (true, false) if known => Self::Closed,
            (true, false) => Self::Blocked,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::NoEffect => "no effect here",
            Self::Open => "open",
            Self::Closed => "closed",
            Self::Breach => "BREACH",
            Self::Unrecorded => "UNRECORDED",
        }
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("evasion")
}

/// The programs, built once a run of the tests.
static PROGRAMS: LazyLock<Result<[PathBuf; 4], String>> = LazyLock::new(|| {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(sources()).map_err(|error| error.to_string())?.flatten() {
        let path = entry.path();
        let alone = ["tool.c", "bare.c"].iter().any(|name| path.ends_with(name));
        if path.extension().is_some_and(|ext| ext == "c") && !alone {
            files.push(path);
        }
    }
    let evade = compile("evade", &files, &["-static", "-pthread", "-Wall", "-Werror", "-Wno-unused-result", "-lutil"])?;
    let tool = [sources().join("tool.c")];
    let library = compile("evade-tool.so", &tool, &["-DLIBRARY", "-shared", "-fPIC"])?;
    let bare = [sources().join("bare.c")];
    let bare = compile("evade-bare", &bare, &["-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector"])?;
    Ok([evade, compile("evade-tool", &tool, &[])?, bare, library])
});

fn compile(name: &str, files: &[PathBuf], options: &[&str]) -> Result<PathBuf, String> {
    let out = vm::scratch().join(name);
    let done = Command::new("cc")
        .args(["-std=gnu11", "-O1", "-o"])
        .arg(&out)
        .args(files)
        .args(options)
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if !done.status.success() {
        return Err(format!("cc: {}", String::from_utf8_lossy(&done.stderr)));
    }
    Ok(out)
}

fn boot(kernel: &str, mode: Mode) -> Result<Boot, Missing> {
    let [evade, tool, bare, library] = PROGRAMS.as_ref().map_err(|error| Missing::Failed(error.clone()))?;
    Ok(Boot::new(kernel, mode)
        .add(evade, "/usr/local/bin/evade")
        .add(tool, "/usr/local/bin/evade-tool")
        .add(bare, "/usr/local/bin/evade-bare")
        .add(library, "/usr/local/lib/evade-tool.so")
        .add(&sources(), "/t")
        .seconds(1500))
}

/// Every technique in one boot; the table is printed, and what must not be fails. What goes wrong on a kernel that
/// skips programs counts if another boot repeats it.
fn suite(name: &str, kernel: &str, mode: Mode) {
    let skips = |reason| println!("SKIP {name}: {reason}");
    let mut wrong = match tried(kernel, mode) {
        Ok(wrong) => wrong,
        Err(reason) => return skips(reason),
    };
    if degraded(kernel) && !wrong.is_empty() {
        println!("{} went wrong, booted once more, for {LOSES}:\n{}", wrong.len(), wrong.join("\n"));
        match tried(kernel, mode) {
            // LSM programs are not among those that are skipped.
            Ok(again) => {
                wrong.retain(|line| again.contains(line) || mode == Mode::Lsm && line.ends_with(Verdict::Breach.name()))
            }
            Err(reason) => return skips(reason),
        }
    }
    assert!(wrong.is_empty(), "{kernel} {}:\n{}", mode.name(), wrong.join("\n"));
}

/// What went wrong in one boot. An error is the reason why there was none.
fn tried(kernel: &str, mode: Mode) -> Result<Vec<String>, String> {
    let all = vm::full() || (kernel, mode) == ("6.12", Mode::Lsm);
    let selection = if all { "EVADE=all" } else { "EVADE=few" };
    let out = boot(kernel, mode).and_then(|boot| boot.run("evasion", &["env", selection, "sh", "/t/evasion.sh"]));
    let out = match out {
        Ok(out) => out,
        Err(Missing::Skipped(reason)) => return Err(reason),
        Err(Missing::Failed(reason)) => panic!("{reason}"),
    };
    let told = Told::read(&out).unwrap_or_else(|line| panic!("the script does not say such a thing: {line}"));
    let mut wrong = ran_to_the_end(&told, mode);
    wrong.extend(table(&told, kernel, if all { 4 } else { 1 }));
    println!("recursion_misses {}", told.skipped());
    if !degraded(kernel) && told.skipped() > 0 {
        wrong.push(format!("{} programs were skipped on a kernel that skips none", told.skipped()));
    }
    Ok(wrong)
}

/// What the script found wrong by the way.
fn ran_to_the_end(told: &Told, mode: Mode) -> Vec<String> {
    assert!(told.facts.contains_key("verify"), "the script did not come to its end");
    let facts = told.facts.iter().filter(|(fact, value)| *fact != "lsm" && *value != "0");
    let mut wrong: Vec<String> = facts.map(|(fact, value)| format!("{fact}: {value}")).collect();
    let mut modes = BTreeSet::new();
    for record in &told.records {
        if record["data"]["kind"] == "gap" {
            wrong.push(format!("events were lost: {}", record["data"]["agent_id"]));
        }
        // Those that show what is relaxed and observed come last, under other names.
        let agent = record["data"]["agent_id"].as_str().unwrap_or_default();
        let tried = agent.split_once('.').is_some_and(|(family, _)| RULES.iter().any(|(of, _)| *of == family));
        if record["data"]["kind"] == "start" && tried {
            modes.extend(record["data"]["mode"].as_str());
        }
    }
    assert_eq!(modes, [mode.name()].into(), "how agents were governed");
    wrong
}

/// Prints the table, and says what is wrong in it. Of each family at least so many must have had an effect, or been kept from it.
fn table(told: &Told, kernel: &str, least: usize) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut counts: BTreeMap<(&str, Verdict), usize> = BTreeMap::new();
    // A technique must show its effect as one of the users, or it tests nothing.
    let mut shown: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    println!("{:30} {:>5} {:8} {:8} {:14} verdict", "technique", "user", "control", "policy", "record");
    for ((user, family, technique), run) in &told.runs {
        let verdict = Verdict::of(family, technique, run);
        let word = |effect: bool| if effect { "effect" } else { "-" };
        let line = format!(
            "{:30} {user:>5} {:8} {:8} {:14} {}{}",
            format!("{family}/{technique}"),
            word(run.control),
            word(run.effect),
            run.rule.as_deref().unwrap_or("-"),
            verdict.name(),
            open::reason(family, technique).map_or(String::new(), |reason| format!(": {reason}")),
        );
        println!("{line}");
        *counts.entry((family, verdict)).or_default() += 1;
        *shown.entry((family, technique)).or_default() |= run.control;
        if matches!(verdict, Verdict::Breach | Verdict::Unrecorded) {
            wrong.push(format!("{family}/{technique} as {user}: {}", verdict.name()));
        }
    }
    for ((family, verdict), count) in &counts {
        println!("{family:8} {:16} {count}", verdict.name());
    }
    println!("not refused, or not recorded: {} of {}", wrong.len(), told.runs.len());
    for ((family, technique), _) in shown.iter().filter(|(_, shown)| !**shown) {
        if !open::ABSENT.contains(&(kernel, family, technique)) {
            wrong.push(format!("{family}/{technique} has no effect even without a policy"));
        }
    }
    // Every family must have been there, with something refused or known to be open.
    for (family, _) in RULES {
        let tried: usize = counts
            .iter()
            .filter(|((of, verdict), _)| *of == family && *verdict != Verdict::NoEffect)
            .map(|(_, count)| count)
            .sum();
        if tried < least {
            wrong.push(format!("{family}: {tried} techniques with an effect, not {least}"));
        }
    }
    wrong
}

macro_rules! suites {
    ($($name:ident: $kernel:literal, $mode:expr;)+) => {
        $(#[test]
        fn $name() {
            suite(stringify!($name), $kernel, $mode);
        })+
    };
}

suites! {
    lsm_5_10: "5.10", Mode::Lsm;
    fmod_ret_5_10: "5.10", Mode::FmodRet;
    lsm_6_1: "6.1", Mode::Lsm;
    fmod_ret_6_1: "6.1", Mode::FmodRet;
    lsm_6_12: "6.12", Mode::Lsm;
    fmod_ret_6_12: "6.12", Mode::FmodRet;
    lsm_7_2: "7.2", Mode::Lsm;
    fmod_ret_7_2: "7.2", Mode::FmodRet;
}

#[test]
fn what_is_open_exists() {
    for open in open::OPEN {
        assert!(RULES.iter().any(|(family, _)| *family == open.family), "{}", open.family);
        let source = std::fs::read_to_string(sources().join(format!("{}.c", open.family))).unwrap();
        assert!(
            open.technique == "*" || source.contains(&format!("{{\"{}\",", open.technique)),
            "{}/{}",
            open.family,
            open.technique
        );
    }
}
