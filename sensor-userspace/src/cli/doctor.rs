//! `rgt doctor`: what this kernel lets rgt do, what is missing, and the line that mends it.

use std::{fs, path::Path, process::ExitCode};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::say::say;
use crate::{
    agent::cgroup,
    attempt::Mode,
    kernel::{Diagnosis, LoadError, Probe, Standing, diagnose, pins},
};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  sudo rgt doctor\n  sudo rgt doctor --json | jq .mode\n\nExit status: 0 if rgt can at \
    least observe, 1 if not."
)]
pub struct DoctorArgs {
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
}

/// One thing looked at.
struct Check {
    name: &'static str,
    found: String,
    /// What is missing, and the way out.
    mend: Option<String>,
}

pub fn run(args: DoctorArgs) -> Result<ExitCode> {
    let mut checks = surroundings();
    let diagnosis = tried();
    let usable = diagnosis.is_ok();
    let (mode, degraded, notes, probes) = match diagnosis {
        Ok(Diagnosis { standing, probes, untried }) => {
            checks.push(canary(&standing, untried));
            (Some(standing.mode), standing.degraded, standing.notes, probes)
        }
        Err(error) => {
            checks.push(Check {
                name: "kernel side",
                found: "does not load".to_owned(),
                mend: Some(error.to_string()),
            });
            (None, false, Vec::new(), Vec::new())
        }
    };
    if args.json {
        let checks: Vec<_> = checks
            .iter()
            .map(|check| json!({ "name": check.name, "found": check.found, "ok": check.mend.is_none(), "mend": check.mend }))
            .collect();
        let probes: Vec<_> = probes
            .iter()
            .map(|probe| json!({ "name": probe.name, "kind": probe.kind, "ok": probe.trouble.is_none(), "trouble": probe.trouble }))
            .collect();
        let mode = mode.map_or("none", Mode::name);
        let found = json!({ "mode": mode, "degraded": degraded, "notes": notes, "checks": checks, "probes": probes });
        say(format_args!("{found}\n"))?;
    } else {
        say(format_args!("{}\nmode: {}\n", table(&checks, &probes, &notes), sentence(mode, degraded)))?;
    }
    Ok(if usable { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Loads everything, and tries a denial in a cgroup made for it.
fn tried() -> Result<Diagnosis, LoadError> {
    let name = format!("doctor-{}", std::process::id());
    let file = std::env::temp_dir().join(format!("rgt-{name}"));
    let own = cgroup::mount_point().and_then(|mount| cgroup::Own::make(&mount, &name));
    let scratch = own.as_ref().map(|own| (own.path(), file.as_path()));
    let diagnosis = diagnose(scratch.map_err(|error| format!("{error:#}")));
    if let Ok(own) = own {
        own.remove();
    }
    // It is there if the denial denied.
    let _ = fs::remove_file(&file);
    diagnosis
}

fn canary(standing: &Standing, untried: Option<String>) -> Check {
    let (found, mend) = match (untried, standing.mode) {
        (Some(why), _) => (format!("not tried: {why}"), Some("run it as root, with cgroup v2 mounted".to_owned())),
        (None, Mode::Observe) => ("nothing denies here: see the notes".to_owned(), None),
        (None, _) => ("a denial was tried, and denied".to_owned(), None),
    };
    Check { name: "canary", found, mend }
}

fn table(checks: &[Check], probes: &[Probe], notes: &[String]) -> String {
    let mut lines = Vec::new();
    for check in checks {
        lines.push(format!("{:<14} {}", check.name, check.found));
        lines.extend(check.mend.as_ref().map(|mend| format!("{:<14}   → {mend}", "")));
    }
    for probe in probes {
        let state = probe.trouble.as_deref().unwrap_or("loads");
        lines.push(format!("{:<14} {:<22} {state}", probe.kind, probe.name));
    }
    lines.extend(notes.iter().map(|note| format!("note           {note}")));
    lines.push(String::new());
    lines.join("\n")
}

fn sentence(mode: Option<Mode>, degraded: bool) -> String {
    let text = match mode {
        None => "none: nothing can be recorded here",
        Some(Mode::Observe) => "observe: every attempt is recorded, nothing is denied",
        Some(Mode::Lsm) => "lsm: denied by BPF LSM",
        Some(Mode::FmodRet) => "fmod_ret: denied by fmod_ret on the kernel's security functions",
    };
    if degraded { format!("{text} (degraded: see the notes)") } else { text.to_owned() }
}

/// What can be read without loading anything.
fn surroundings() -> Vec<Check> {
    let read = |path: &str| fs::read_to_string(path).map(|text| text.trim().to_owned());
    let mut checks = vec![Check {
        name: "kernel",
        found: read("/proc/sys/kernel/osrelease").unwrap_or_else(|error| error.to_string()),
        mend: None,
    }];
    // SAFETY: takes nothing.
    let uid = unsafe { libc::geteuid() };
    checks.push(Check {
        name: "user",
        found: format!("uid {uid}"),
        mend: (uid != 0).then(|| "loading programs needs root: `sudo rgt doctor`".to_owned()),
    });
    checks.push(btf(Path::new("/sys/kernel/btf/vmlinux")));
    checks.push(match read("/sys/kernel/security/lsm") {
        Ok(list) if list.split(',').any(|lsm| lsm == "bpf") => Check { name: "LSM list", found: list, mend: None },
        Ok(list) => Check {
            name: "LSM list",
            mend: Some(format!("bpf is not in it: boot with `lsm={list},bpf` (without, fmod_ret denies)")),
            found: list,
        },
        Err(_) => Check {
            name: "LSM list",
            found: "unknown".to_owned(),
            mend: Some("`mount -t securityfs securityfs /sys/kernel/security` shows it".to_owned()),
        },
    });
    let mounts = read("/proc/self/mounts").unwrap_or_default();
    let cgroup =
        mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).and_then(|line| line.split(' ').nth(1));
    checks.push(Check {
        name: "cgroup v2",
        found: cgroup.unwrap_or("not mounted").to_owned(),
        mend: cgroup.is_none().then(|| "`mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified`".to_owned()),
    });
    checks.push(match read("/proc/sys/kernel/ftrace_enabled") {
        Ok(value) if value == "0" => Check {
            name: "ftrace",
            found: "off: hooks are silent".to_owned(),
            mend: Some("`sysctl kernel.ftrace_enabled=1`".to_owned()),
        },
        Ok(_) => Check { name: "ftrace", found: "on".to_owned(), mend: None },
        Err(_) => Check { name: "ftrace", found: "not built in".to_owned(), mend: None },
    });
    checks.push(survival());
    checks
}

/// Whether enforcement outlives a daemon, and whether it just does.
fn survival() -> Check {
    match (pins::available(), pins::in_force()) {
        (Err(error), _) => Check {
            name: "pins",
            found: "none".to_owned(),
            mend: Some(format!("enforcement ends with the daemon: {error}")),
        },
        (Ok(()), Some(generation)) => {
            Check { name: "pins", found: format!("in force, generation {generation}"), mend: None }
        }
        (Ok(()), None) => Check { name: "pins", found: "possible, none now".to_owned(), mend: None },
    }
}

/// The kernel's own types: without them no field of its structures can be found.
fn btf(file: &Path) -> Check {
    let there = file.exists();
    Check {
        name: "BTF",
        found: if there { file.display().to_string() } else { "missing".to_owned() },
        mend: (!there)
            .then(|| "this kernel was built without CONFIG_DEBUG_INFO_BTF: boot a distribution's kernel".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_btf_is_told_with_the_way_out() {
        let check = btf(Path::new("/nonexistent/btf/vmlinux"));
        assert_eq!(check.found, "missing");
        assert!(check.mend.is_some_and(|mend| mend.contains("CONFIG_DEBUG_INFO_BTF")));
        assert!(btf(Path::new("/proc/self/exe")).mend.is_none());
    }
}
