//! `cargo xtask bench`: what rgt costs, as JSON under target/bench/. The kernel side is measured in a VM that
//! counts instructions, so the figures depend on the programs and not on the machine or its load.

#[path = "../../sensor-userspace/tests/support/corpus.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod corpus;
mod figures;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

use crate::{build, command, paths, vm};
use figures::Told;

#[derive(Args)]
pub struct Options {
    /// 5.10, 6.1, 6.12, 7.2 or unstable; figures of two kernels are not comparable
    #[arg(long, default_value = "6.12")]
    kernel: String,
}

const SOURCE: &str = "tests/bench/ops.c";
const SCRIPT: &str = "tests/bench/scenarios.sh";
/// An idle machine needs two minutes.
const TIMEOUT: &str = "1800";
const LOOKUP: &str = "tests/bench/lookup.c";
const LOADER: &str = "lookup_only";
const PIPELINE: &str = "record_rate";

pub fn run(options: &Options) -> Result<()> {
    let root = paths::root()?;
    let given = std::env::var_os("RGT_BIN").filter(|path| !path.is_empty());
    let rgt = match given {
        // A program that was built elsewhere is measured as it is.
        Some(path) => PathBuf::from(path),
        None => {
            build::run()?;
            paths::rgt(&root)
        }
    };
    let dir = paths::target(&root).join("bench");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;

    let told = kernel(&root, &dir, &rgt, &options.kernel)?;
    told.check()?;
    let version = command::output(Command::new(&rgt).arg("--version"))
        .with_context(|| format!("{} --version failed", rgt.display()))?;
    write(&dir.join("kernel.json"), &told.json(version.trim(), vm::CPU))?;
    println!("\n{}", told.table());

    let pipeline = pipeline(&root)?;
    write(&dir.join("pipeline.json"), &pipeline)
}

/// One boot for all scenarios: two differ by where things lie in memory, which costs a few instructions.
fn kernel(root: &Path, dir: &Path, rgt: &Path, kernel: &str) -> Result<Told> {
    let ops = dir.join("ops");
    command::shown(
        "compiling the operations",
        Command::new("cc").args(["-static", "-O2", "-Wall", "-Wextra", "-o"]).arg(&ops).arg(root.join(SOURCE)),
    )?;
    let add = |host: &Path, guest: &str| format!("{}:{guest}", host.display());
    let xtask = std::env::current_exe().context("cannot tell where xtask is")?;
    command::say(format_args!("measuring on kernel {kernel}; the VM's answers follow"));
    let mut child = Command::new(xtask)
        .args(["vm", "--kernel", kernel, "--icount", "--cpu", vm::CPU])
        .args(["--timeout", TIMEOUT, "--add"])
        .arg(add(&ops, "/ops"))
        .arg("--add")
        .arg(add(&root.join(SCRIPT), "/scenarios.sh"))
        .arg("--add")
        .arg(add(&corpus_in(dir)?, "/corpus"))
        .arg("--add")
        .arg(add(&lookup_object(root, dir)?, "/lookup.o"))
        .arg("--add")
        .arg(add(&lookup_loader(root)?, "/usr/bin/lookup_only"))
        .args(["--", "sh", "/scenarios.sh"])
        .env("RGT_BIN", rgt)
        .env("RGT_ROOT", root)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run xtask vm")?;
    let mut told = Told::default();
    let pipe = child.stdout.take().context("xtask vm has no stdout")?;
    for line in BufReader::new(pipe).lines() {
        let line = line?;
        eprintln!("    {line}");
        if let Err(error) = told.line(&line) {
            // The VM would go on for minutes with nobody to read it.
            let _ = child.kill();
            let _ = child.wait();
            return Err(error.context(format!("the VM said `{line}`")));
        }
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("the VM's run ended with {status}; its own words are above");
    }
    Ok(told)
}

/// Programs that only look their cgroup up, one for each hook of the kernel side.
fn lookup_object(root: &Path, dir: &Path) -> Result<PathBuf> {
    const MARK: &str = "#[lsm(hook = \"";
    // Some hooks have two programs, of which a kernel takes one.
    let mut hooks = BTreeSet::new();
    let source = root.join("sensor-ebpf/src");
    for entry in std::fs::read_dir(&source).with_context(|| source.display().to_string())? {
        let text = std::fs::read_to_string(entry?.path())?;
        let names = text.lines().filter_map(|line| line.trim().strip_prefix(MARK)?.split('"').next());
        hooks.extend(names.map(|name| format!("HOOK({name})\n")));
    }
    let include = dir.join("include");
    std::fs::create_dir_all(&include)?;
    std::fs::write(include.join("hooks.h"), hooks.into_iter().collect::<String>())?;
    let object = dir.join("lookup.o");
    let mut clang = Command::new(build::CLANG);
    clang.args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-c", "-I"]).arg(&include);
    clang.arg(root.join(LOOKUP)).arg("-o").arg(&object);
    command::shown("compiling the look-up", &mut clang)?;
    Ok(object)
}

fn lookup_loader(root: &Path) -> Result<PathBuf> {
    let mut cargo = build::host_cargo(root);
    cargo.args(["build", "--release", "--package", "rgt", "--example", LOADER]);
    command::shown("building the look-up's loader", &mut cargo)?;
    Ok(paths::target(root).join("release/examples").join(LOADER))
}

/// The corpus of policies in its three sizes.
fn corpus_in(dir: &Path) -> Result<PathBuf> {
    let dir = dir.join("corpus");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    for rules in [10, 1_000, 10_000] {
        let file = dir.join(format!("{rules}.yaml"));
        std::fs::write(&file, corpus::mixed(rules, 1)).with_context(|| file.display().to_string())?;
    }
    Ok(dir)
}

/// What the sensor's own side does, on this machine's processor, beside what hashing alone does there.
fn pipeline(root: &Path) -> Result<Value> {
    let mut cargo = build::host_cargo(root);
    cargo.args(["run", "--release", "--package", "rgt", "--example", PIPELINE]);
    let out = command::quiet("measuring the pipeline", &mut cargo)?;
    print!("{out}");
    serde_json::from_str(&out).with_context(|| format!("the example {PIPELINE} said `{}`", out.trim()))
}

fn write(file: &Path, value: &Value) -> Result<()> {
    std::fs::write(file, format!("{value:#}\n")).with_context(|| file.display().to_string())?;
    command::say(format_args!("wrote {}", file.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is measured only now and then is built here, or it would not be there when it is wanted.
    #[test]
    fn the_look_up_has_all_hooks_and_compiles() {
        let root = paths::root().unwrap();
        let dir = paths::target(&root).join("tmp").join(format!("look-up-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        lookup_object(&root, &dir).unwrap();
        let hooks = std::fs::read_to_string(dir.join("include/hooks.h")).unwrap();
        assert!(hooks.lines().count() > 40, "{hooks}");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
