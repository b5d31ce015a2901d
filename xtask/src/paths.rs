//! Where things are: the checkout, its target directory, and the cache shared by all checkouts.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The checkout that this xtask was built from.
pub fn root() -> Result<PathBuf> {
    // Cargo sets the variable for `cargo run`; a test program that calls us through $XTASK may
    // live elsewhere, so the place known at build time is the second choice.
    let manifest = std::env::var_os("RGT_ROOT")
        .map(|root| PathBuf::from(root).join("xtask"))
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    let root = manifest.parent().context("xtask has no parent directory")?;
    if !root.join("Cargo.toml").is_file() {
        bail!(
            "{}: no checkout there (moved since xtask was built?): run `cargo xtask` again from the checkout, or set RGT_ROOT to it",
            root.display()
        );
    }
    Ok(root.to_owned())
}

/// Tools and kernels, kept across checkouts: `$RGT_CACHE`, else `~/.cache/rgt`.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("RGT_CACHE").filter(|d| !d.is_empty()) {
        return Ok(PathBuf::from(dir));
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME").filter(|d| !d.is_empty()) {
        return Ok(PathBuf::from(dir).join("rgt"));
    }
    let home = std::env::var_os("HOME")
        .context("neither RGT_CACHE nor HOME is set: set RGT_CACHE to a directory for tools and kernels")?;
    Ok(PathBuf::from(home).join(".cache/rgt"))
}

pub fn target(root: &Path) -> PathBuf {
    root.join("target")
}

/// The finished program.
pub fn rgt(root: &Path) -> PathBuf {
    target(root).join("release/rgt")
}

/// The kernel side, without debug information, as `rgt` embeds it.
pub fn ebpf_object(root: &Path) -> PathBuf {
    target(root).join("rgt-ebpf.o")
}

/// Two checkouts may set up at the same time: whoever holds this lock installs, the other waits.
/// The lock ends with the returned file.
pub fn lock(name: &str) -> Result<std::fs::File> {
    let dir = cache()?;
    std::fs::create_dir_all(&dir).with_context(|| {
        format!("{}: cannot make the cache directory; set RGT_CACHE to a writable one", dir.display())
    })?;
    let path = dir.join(format!("{name}.lock"));
    let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    if file.try_lock().is_err() {
        eprintln!("==> waiting for another xtask ({})", path.display());
        file.lock().with_context(|| format!("{}: cannot lock", path.display()))?;
    }
    Ok(file)
}
