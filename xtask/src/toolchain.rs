//! Which Rust toolchain builds the kernel side: it needs `-Zbuild-std`, so a nightly with rust-src
//! or Debian's packaged compiler with its unstable options allowed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::paths;

/// bpf-linker links LLVM 22, which reads bitcode of its own and of earlier versions only.
const NEWEST_LLVM: u32 = 22;
pub const LLVM_PREFIX: &str = "/usr/lib/llvm-22";
const BPF_LINKER: &str = "0.13.0";

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// A rustup nightly with rust-src: the directory of the toolchain.
    Nightly(PathBuf),
    /// Debian's rustc-web, cargo-web and rust-web-src in /usr.
    Debian,
}

impl Toolchain {
    /// The one this machine has, found by looking at files; no network, no rustup.
    pub fn find() -> Option<Self> {
        if let Some(dir) = nightly_with_source() {
            return Some(Self::Nightly(dir));
        }
        let complete = ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/lib/rustlib/src/rust/library/core/Cargo.toml"]
            .iter()
            .all(|file| Path::new(file).exists());
        complete.then_some(Self::Debian)
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Nightly(dir) => {
                format!("rustup's {} with rust-src", dir.file_name().unwrap_or_default().to_string_lossy())
            }
            Self::Debian => "Debian's rustc-web".to_owned(),
        }
    }

    /// `cargo` of this toolchain, with nothing inherited from the cargo that runs us.
    pub fn cargo(&self) -> Result<Command> {
        let (cargo, rustc) = match self {
            Self::Nightly(dir) => (dir.join("bin/cargo"), dir.join("bin/rustc")),
            Self::Debian => (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc")),
        };
        let mut command = Command::new(cargo);
        for (key, _) in std::env::vars_os() {
            if key.to_str().is_some_and(is_outer_cargo) {
                command.env_remove(key);
            }
        }
        command.env("RUSTC", rustc);
        if *self == Self::Debian {
            command.env("RUSTC_BOOTSTRAP", "1");
        }
        let linker = bpf_linker()?;
        let mut path = vec![linker.parent().context("bpf-linker has no directory")?.to_owned()];
        path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
        command.env("PATH", std::env::join_paths(path)?);
        Ok(command)
    }
}

/// Variables that the outer cargo and rustup set, or that the user set for host code: with them the
/// kernel side would be compiled with the wrong flags or the wrong compiler. How cargo reaches its
/// registry (home, proxies, offline) stays.
fn is_outer_cargo(key: &str) -> bool {
    const KEPT: [&str; 5] = ["CARGO_HOME", "CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_TERM_"];
    if KEPT.iter().any(|kept| key.starts_with(kept)) {
        return false;
    }
    key == "CARGO"
        || key.starts_with("CARGO_")
        || key.starts_with("RUSTC")
        || key.starts_with("RUSTDOC")
        || key.starts_with("RUSTFLAGS")
        || key == "RUSTUP_TOOLCHAIN"
        || key == "RUST_RECURSION_COUNT"
        // rustup's proxy points this at its own toolchain's libraries.
        || key == "LD_LIBRARY_PATH"
        || key == "OUT_DIR"
        || key == "TARGET"
}

fn nightly_with_source() -> Option<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup")))?;
    let mut found: Vec<PathBuf> = std::fs::read_dir(home.join("toolchains"))
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|dir| dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nightly")))
        .filter(|dir| dir.join("lib/rustlib/src/rust/library/core/Cargo.toml").exists())
        .collect();
    found.sort();
    found.into_iter().rev().find(|dir| llvm_version(&dir.join("bin/rustc")).is_some_and(|llvm| llvm <= NEWEST_LLVM))
}

fn llvm_version(rustc: &Path) -> Option<u32> {
    let text = command::output(Command::new(rustc).arg("-vV").env_remove("LD_LIBRARY_PATH"))?;
    let version = text.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// Where setup puts bpf-linker; the version is in the path, so a new one never meets an old one.
pub fn bpf_linker() -> Result<PathBuf> {
    Ok(linker_dir()?.join("bin/bpf-linker"))
}

fn linker_dir() -> Result<PathBuf> {
    Ok(paths::cache()?.join("tools").join(format!("bpf-linker-{BPF_LINKER}")))
}

/// Builds bpf-linker into the cache, once a machine.
pub fn install_bpf_linker() -> Result<()> {
    let dir = linker_dir()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["install", "bpf-linker", "--locked", "--version", BPF_LINKER])
        .args(["--no-default-features", "--features", "llvm-22", "--root"])
        .arg(&dir)
        // Its own directory: cargo would otherwise build in a temporary one and lose all on an error.
        .env("CARGO_TARGET_DIR", paths::cache()?.join("build/bpf-linker"))
        .env("LLVM_SYS_221_PREFIX", LLVM_PREFIX)
        .env("LIBRARY_PATH", format!("{LLVM_PREFIX}/lib"))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    command::shown("building bpf-linker (once, one to three minutes)", &mut command)?;
    if !bpf_linker()?.exists() {
        bail!("{}: cargo install succeeded, but bpf-linker is not there", dir.display());
    }
    // Half a gigabyte that is never needed again.
    let _ = std::fs::remove_dir_all(paths::cache()?.join("build/bpf-linker"));
    Ok(())
}
