//! `cargo xtask setup`: what the build, the tests and the VM need. Looks at files only, so that a
//! second run asks neither dpkg nor the network.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command;
use crate::paths;
use crate::toolchain::{self, LLVM_PREFIX, Toolchain};

/// A Debian package and the file by which its presence is known.
const PACKAGES: &[(&str, &str)] = &[
    ("llvm-22-dev", "/usr/lib/llvm-22/include/llvm"),
    ("llvm-22", "/usr/bin/llvm-objcopy-22"),
    ("libpolly-22-dev", "/usr/lib/llvm-22/lib/libPolly.a"),
    ("clang-22", "/usr/bin/clang-22"),
    ("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    ("busybox-static", "/bin/busybox"),
    ("zstd", "/usr/bin/zstd"),
    ("xz-utils", "/usr/bin/xz"),
    ("strace", "/usr/bin/strace"),
    ("gcc", "/usr/bin/gcc"),
    ("g++", "/usr/bin/g++"),
    ("git", "/usr/bin/git"),
    ("curl", "/usr/bin/curl"),
    ("python3", "/usr/bin/python3"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
    ("default-jre-headless", "/usr/bin/java"),
    ("maven", "/usr/bin/mvn"),
    ("libcurl4-openssl-dev", "/usr/include/x86_64-linux-gnu/curl/curl.h"),
    ("zlib1g-dev", "/usr/include/zlib.h"),
    ("libssl-dev", "/usr/include/openssl/ssl.h"),
    ("cmake", "/usr/bin/cmake"),
    ("make", "/usr/bin/make"),
    ("pkg-config", "/usr/bin/pkg-config"),
    ("ca-certificates", "/usr/sbin/update-ca-certificates"),
];

/// Needed as well where rustup has no nightly with rust-src.
const COMPILER: [(&str, &str); 3] = [
    ("rustc-web", "/usr/bin/rustc"),
    ("cargo-web", "/usr/bin/cargo"),
    ("rust-web-src", "/usr/lib/rustlib/src/rust/library/core/Cargo.toml"),
];

/// Everything installed: the toolchain for the kernel side.
pub fn run() -> Result<Toolchain> {
    if let Some(toolchain) = complete()? {
        return Ok(toolchain);
    }
    let _lock = paths::lock("setup")?;
    install_packages()?;
    let Some(toolchain) = Toolchain::find() else {
        bail!(
            "no toolchain for the kernel side: it needs `rustup toolchain install nightly --component rust-src` (LLVM 22 or earlier), \
             or Debian's rustc-web, cargo-web and rust-web-src (`apt-get install rustc-web cargo-web rust-web-src`); neither is here"
        );
    };
    if !toolchain::bpf_linker()?.exists() {
        if !Path::new(LLVM_PREFIX).join("bin/llvm-config").exists() {
            bail!(
                "bpf-linker: needs {LLVM_PREFIX}, which llvm-22-dev should have brought: `apt-get install --reinstall llvm-22-dev`"
            );
        }
        toolchain::install_bpf_linker()?;
    }
    command::say(format_args!("setup complete: kernel side with {}", toolchain.describe()));
    Ok(toolchain)
}

/// The toolchain, if nothing at all is missing.
fn complete() -> Result<Option<Toolchain>> {
    if !missing_packages().is_empty() || !toolchain::bpf_linker()?.exists() {
        return Ok(None);
    }
    Ok(Toolchain::find())
}

fn missing_packages() -> Vec<&'static str> {
    let compiler: &[_] = if matches!(Toolchain::find(), Some(Toolchain::Nightly(_))) { &[] } else { &COMPILER };
    PACKAGES.iter().chain(compiler).filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect()
}

fn install_packages() -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if find_program("apt-get").is_none() {
        bail!(
            "missing: {list}; this machine has no apt-get: install them by its own means (they are Debian's package names)"
        );
    }
    if !is_root() {
        bail!("missing: {list}; only root can install them: `sudo apt-get update && sudo apt-get install {list}`");
    }
    command::say(format_args!("installing Debian packages: {list}"));
    // A foreign source that does not answer must not stop us: what counts is whether the packages can be had.
    if let Err(error) = command::shown("apt-get update", Command::new("apt-get").args(["-q", "update"])) {
        command::say(format_args!("warning: {error:#}; going on with the lists that are here"));
    }
    let mut install = Command::new("apt-get");
    install
        .args(["-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300", "install"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive");
    command::shown("apt-get install", &mut install).with_context(|| {
        format!("cannot install {list}: are Debian's bookworm, bookworm-updates and bookworm-security among apt's sources? rustc-web, llvm-22-dev and clang-22 are in the latter")
    })?;
    let still = missing_packages();
    if !still.is_empty() {
        bail!("apt-get installed them, yet their files are not where they should be: {}", still.join(" "));
    }
    Ok(())
}

/// The first program of that name on PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}
