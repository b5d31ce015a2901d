//! What Debian's cloud kernels have as modules and tests need, taken from the kernel's package with
//! whatever it depends on, unpacked, numbered in the order of loading.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Built into a kernel, or absent from it, is no error: the tests say what they miss.
const WANTED: [&str; 5] = ["overlay", "vsock", "vsock_loopback", "loop", "ext4"];
/// Lists what was wanted when they were kept, beside them.
const LIST: &str = "wanted";

/// Where a kernel's modules are kept: beside its image.
pub fn of(image: &Path) -> PathBuf {
    image.with_file_name("modules")
}

/// Whether this directory holds all that is wanted today: an older cache may not.
pub fn are_kept(dir: &Path) -> bool {
    std::fs::read_to_string(dir.join(LIST)).is_ok_and(|list| list == WANTED.join("\n"))
}

/// Copies the wanted modules of an unpacked package into `dir`.
pub fn keep(tree: &Path, dir: &Path) -> Result<()> {
    let mut found = Vec::new();
    for top in ["lib/modules", "usr/lib/modules"] {
        find(&tree.join(top), &mut found);
    }
    if found.is_empty() {
        bail!("no module in the package");
    }
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut kept = Vec::new();
    for name in WANTED {
        take(name, &found, dir, &mut kept)?;
    }
    let list = dir.join(LIST);
    std::fs::write(&list, WANTED.join("\n")).with_context(|| list.display().to_string())
}

fn find(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            find(&path, found);
        } else if name(&path).is_some() {
            found.push(path);
        }
    }
}

/// A module's name: a file's may have `-` where the kernel says `_`.
fn name(path: &Path) -> Option<String> {
    let (name, _) = path.file_name()?.to_str()?.split_once(".ko")?;
    Some(name.replace('-', "_"))
}

/// What it depends on first.
fn take(wanted: &str, found: &[PathBuf], dir: &Path, kept: &mut Vec<String>) -> Result<()> {
    if kept.iter().any(|name| name == wanted) {
        return Ok(());
    }
    let Some(file) = found.iter().find(|path| name(path).as_deref() == Some(wanted)) else {
        return Ok(());
    };
    let bytes = unpack(file)?;
    for needed in depends(&bytes) {
        take(&needed, found, dir, kept)?;
    }
    let to = dir.join(format!("{:02}-{wanted}.ko", kept.len()));
    std::fs::write(&to, bytes).with_context(|| to.display().to_string())?;
    kept.push(wanted.to_owned());
    Ok(())
}

fn unpack(file: &Path) -> Result<Vec<u8>> {
    let program = match file.extension().and_then(|ext| ext.to_str()) {
        Some("ko") => return std::fs::read(file).with_context(|| file.display().to_string()),
        Some("xz") => "xz",
        Some("zst") => "zstd",
        _ => bail!("{}: not packed in a way that is known here", file.display()),
    };
    let done = Command::new(program)
        .arg("-dc")
        .arg(file)
        .output()
        .with_context(|| format!("cannot run {program}, which unpacks {}", file.display()))?;
    if !done.status.success() {
        bail!("{program} -dc {}: {}", file.display(), String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(done.stdout)
}

/// A module says itself what it needs, as `depends=a,b`.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|bytes| bytes == KEY) else {
        return Vec::new();
    };
    let rest = &module[at + KEY.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    String::from_utf8_lossy(&rest[..end])
        .split(',')
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_is_loaded_before_it() {
        let dir = std::env::temp_dir().join(format!("rgt-modules-{}", std::process::id()));
        let tree = dir.join("lib/modules/1/kernel");
        std::fs::create_dir_all(&tree).unwrap();
        std::fs::write(tree.join("overlay.ko"), b"\x7fELF\0depends=export-fs,gone\0name=overlay\0").unwrap();
        std::fs::write(tree.join("export-fs.ko"), b"\x7fELF\0depends=\0").unwrap();
        std::fs::write(tree.join("other.ko"), b"\x7fELF\0depends=\0").unwrap();
        keep(&dir, &dir.join("out")).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(dir.join("out"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert!(are_kept(&dir.join("out")) && !are_kept(&tree));
        std::fs::remove_dir_all(&dir).unwrap();
        assert_eq!(names, ["00-export_fs.ko", "01-overlay.ko", LIST]);
    }
}
