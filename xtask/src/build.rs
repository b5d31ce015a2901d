//! `cargo xtask build`: the kernel side, then `rgt` with it inside.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::toolchain::Toolchain;
use crate::{command, paths, setup};

pub const CLANG: &str = "clang-22";
const OBJCOPY: &str = "llvm-objcopy-22";
const TARGET: &str = "bpfel-unknown-none";
/// The variable by which `rgt`'s source finds the object that it embeds.
pub const OBJECT_VARIABLE: &str = "RGT_EBPF_OBJECT";

pub fn run() -> Result<()> {
    let toolchain = setup::run()?;
    let root = paths::root()?;
    kernel_side(&root, &toolchain)?;
    userspace(&root)?;
    command::say(format_args!("built {}", paths::rgt(&root).display()));
    Ok(())
}

fn kernel_side(root: &Path, toolchain: &Toolchain) -> Result<()> {
    let source = root.join("sensor-ebpf");
    if !source.join("Cargo.toml").exists() {
        bail!("{}: there is no Cargo.toml: the checkout is incomplete (`git status`)", source.display());
    }
    let out = paths::target(root).join("ebpf");
    std::fs::create_dir_all(&out).with_context(|| out.display().to_string())?;

    // v3: 32-bit jumps and atomics. Debug information becomes BTF and is stripped below.
    let mut flags = vec![
        "--cfg=bpf_target_arch=\"x86_64\"".to_owned(),
        "-Cdebuginfo=2".into(),
        "-Ctarget-cpu=v3".into(),
        // Every processor with eBPF that we run on reads unaligned words; eight bytes by bytes are ten times the work.
        "-Ctarget-feature=+allows-misaligned-mem-access".into(),
        "-Clink-arg=--btf".into(),
    ];
    if let Some(bitcode) = getters(&source, &out)? {
        flags.push(format!("-Clink-arg={bitcode}"));
    }
    let mut cargo = toolchain.cargo()?;
    cargo
        .current_dir(&source)
        .args(["build", "--release", "-Zbuild-std=core", "--target", TARGET])
        .env("CARGO_TARGET_DIR", &out)
        // Encoded, so that a checkout's path may hold blanks.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command::shown("building the kernel side", &mut cargo)?;

    let built = newest_object(&out.join(TARGET).join("release"))?;
    let object = paths::ebpf_object(root);
    let stripped = object.with_extension("o.new");
    // BTF and the programs stay; only DWARF goes, two thirds of the file.
    let strip = Command::new(OBJCOPY)
        .arg("--strip-debug")
        .arg(&built)
        .arg(&stripped)
        .output()
        .with_context(|| format!("cannot run {OBJCOPY}: `cargo xtask setup`"))?;
    if !strip.status.success() {
        bail!("{OBJCOPY} {}: {}", built.display(), String::from_utf8_lossy(&strip.stderr).trim());
    }
    // An equal object keeps its time stamp, so that cargo does not rebuild rgt for nothing.
    let new = std::fs::read(&stripped).with_context(|| stripped.display().to_string())?;
    if std::fs::read(&object).is_ok_and(|old| old == new) {
        std::fs::remove_file(&stripped)?;
    } else {
        std::fs::rename(&stripped, &object).with_context(|| object.display().to_string())?;
        command::say(format_args!("kernel side: {} KiB", new.len() / 1024));
    }
    Ok(())
}

/// Compiles the C file of CO-RE getters, which Rust cannot express, to bitcode for bpf-linker.
fn getters(source: &Path, out: &Path) -> Result<Option<String>> {
    let c = source.join("src/getters.c");
    if !c.exists() {
        return Ok(None);
    }
    let bitcode = out.join("getters.bc");
    let path =
        bitcode.to_str().with_context(|| format!("{}: not UTF-8: move the checkout", bitcode.display()))?.to_owned();
    let fresh = match (c.metadata(), bitcode.metadata()) {
        (Ok(c), Ok(bc)) => bc.modified()? > c.modified()?,
        _ => false,
    };
    if !fresh {
        let mut clang = Command::new(CLANG);
        clang
            .args(["-target", "bpf", "-mcpu=v3", "-O2", "-g", "-Wall", "-emit-llvm", "-c"])
            .arg(&c)
            .arg("-o")
            .arg(&bitcode);
        command::shown("compiling getters.c", &mut clang)?;
        // Cargo does not know of this file; a missing output makes it link again.
        for old in std::fs::read_dir(out.join(TARGET).join("release/deps")).into_iter().flatten().flatten() {
            if old.path().extension().is_none() {
                let _ = std::fs::remove_file(old.path());
            }
        }
    }
    Ok(Some(path))
}

/// The program that cargo linked: the one file there that has no extension.
fn newest_object(dir: &Path) -> Result<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_file()
            && path.extension().is_none()
            && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
        {
            found.push((path.metadata()?.modified()?, path));
        }
    }
    found.sort();
    found
        .pop()
        .map(|(_, path)| path)
        .with_context(|| format!("{}: cargo built no object there: has sensor-ebpf a [[bin]]?", dir.display()))
}

fn userspace(root: &Path) -> Result<()> {
    command::shown("building rgt", host_cargo(root).args(["build", "--release", "--package", "rgt"]))
}

/// The user's own cargo in the checkout, with the kernel side's object known to `rgt`'s source and
/// the result always under target/.
pub fn host_cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).env("CARGO_TARGET_DIR", paths::target(root)).env(OBJECT_VARIABLE, paths::ebpf_object(root));
    // What `cargo run` says about xtask itself is wrong for every other package.
    for (key, _) in std::env::vars_os() {
        if key.to_str().is_some_and(|key| key.starts_with("CARGO_PKG_") || key.starts_with("CARGO_MANIFEST_")) {
            cargo.env_remove(key);
        }
    }
    cargo
}
