//! The VM's filesystem: busybox, `rgt`, the policies, what `--add` names, and the shared libraries
//! that any of these need.

use std::io::BufWriter;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Options;
use super::cpio::{Node, Tree};
use crate::{command, paths, setup};

const INIT: &str = include_str!("init.sh");

/// Builds the archive into `file`; the kernel's modules are in `modules`.
pub fn build(file: &Path, root: &Path, modules: &Path, options: &Options) -> Result<()> {
    let mut tree = Tree::default();
    skeleton(&mut tree);
    let rgt = rgt(root);
    if rgt.is_file() {
        host_file(&mut tree, &small(root, &rgt)?, Path::new("/usr/bin/rgt"))?;
    } else {
        command::say(format_args!("note: no {} yet, so none in the VM (`cargo xtask build` makes it)", rgt.display()));
    }
    let policies = root.join("policies");
    if policies.is_dir() {
        host_path(&mut tree, &policies, Path::new("/policies"))?;
    }
    for pair in &options.add {
        let Some((host, guest)) = pair.rsplit_once(':') else {
            bail!("--add {pair}: write HOST:GUEST, as in --add ./tool:/usr/bin/tool")
        };
        if !guest.starts_with('/') {
            bail!("--add {pair}: the path in the VM must begin with a slash");
        }
        host_path(&mut tree, Path::new(host), Path::new(guest)).with_context(|| format!("--add {pair}"))?;
    }
    host_path(&mut tree, modules, Path::new("/.vm/modules"))?;
    // Last: an added file of the same name is preferred.
    busybox(&mut tree)?;
    tree.insert("/.vm/command", 0o644, Node::Bytes(script(&options.command)));
    tree.insert("/init", 0o755, Node::Bytes(INIT.into()));

    let out = std::fs::File::create(file).with_context(|| file.display().to_string())?;
    let mut out = BufWriter::with_capacity(1 << 20, out);
    tree.write(&mut out).with_context(|| format!("writing {}", file.display()))?;
    std::io::Write::flush(&mut out).with_context(|| file.display().to_string())
}

/// `rgt` as built here, or the one that $RGT_BIN names.
fn rgt(root: &Path) -> PathBuf {
    std::env::var_os("RGT_BIN").filter(|path| !path.is_empty()).map_or_else(|| paths::rgt(root), PathBuf::from)
}

/// Debug information would be most of what the emulator has to unpack; symbols stay for backtraces.
fn small(root: &Path, rgt: &Path) -> Result<PathBuf> {
    let copy = paths::target(root).join("vm/rgt");
    let fresh = match (rgt.metadata(), copy.metadata()) {
        (Ok(from), Ok(to)) => to.modified()? >= from.modified()?,
        _ => false,
    };
    if !fresh {
        // By another name first: two VMs may start at once.
        let new = copy.with_extension(std::process::id().to_string());
        let done = Command::new("llvm-objcopy-22").arg("--strip-debug").arg(rgt).arg(&new).status();
        if !done.is_ok_and(|status| status.success()) {
            return Ok(rgt.to_owned());
        }
        std::fs::rename(&new, &copy)?;
    }
    Ok(copy)
}

fn skeleton(tree: &mut Tree) {
    for dir in [
        "dev", "proc", "sys", "etc", "mnt", "run", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/local/bin",
        "var", "opt", "srv",
    ] {
        tree.insert(dir, 0o755, Node::Directory);
    }
    for (dir, mode) in [("root", 0o700), ("tmp", 0o1777)] {
        tree.insert(dir, mode, Node::Directory);
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        tree.insert(name, 0o777, Node::Link(format!("usr/{name}").into()));
    }
    // The kernel opens the console before devtmpfs is there.
    tree.insert("dev/console", 0o600, Node::Device(5, 1));
    tree.insert("dev/null", 0o666, Node::Device(1, 3));
    for (name, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\nagent:x:1000:1000:agent:/home/agent:/bin/sh\n",
        ),
        ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nagent:x:1000:\n"),
        ("etc/hosts", "127.0.0.1 localhost rgt-vm\n::1 localhost\n"),
        ("etc/hostname", "rgt-vm\n"),
        ("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("etc/os-release", "NAME=\"rgt test VM\"\nID=rgt-vm\n"),
        ("etc/machine-id", "72677400000000000000000000000001\n"),
    ] {
        tree.insert(name, 0o644, Node::Bytes(text.into()));
    }
}

fn busybox(tree: &mut Tree) -> Result<()> {
    let program = ["/bin/busybox", "/usr/bin/busybox"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
        .or_else(|| setup::find_program("busybox"));
    let program = program.context("busybox is missing: `cargo xtask setup` installs busybox-static")?;
    if !libraries(&program)?.is_empty() {
        bail!("{}: is not static: `apt-get install busybox-static` replaces it", program.display());
    }
    let applets = command::output(Command::new(&program).arg("--list"))
        .with_context(|| format!("{} --list failed", program.display()))?;
    tree.insert("/bin/busybox", 0o755, Node::Host(program));
    for applet in applets.lines().filter(|applet| *applet != "busybox" && !applet.is_empty()) {
        let path = Path::new("/usr/bin").join(applet);
        if !tree.contains(&path) && !tree.contains(Path::new("/usr/sbin").join(applet)) {
            tree.insert(path, 0o777, Node::Link(b"/usr/bin/busybox".to_vec()));
        }
    }
    Ok(())
}

fn host_path(tree: &mut Tree, host: &Path, guest: &Path) -> Result<()> {
    // What is named itself may be a link; inside a directory links stay links.
    let meta = std::fs::metadata(host).with_context(|| host.display().to_string())?;
    if !meta.is_dir() {
        return host_file(tree, host, guest);
    }
    tree.insert(guest, meta.mode() & 0o7777, Node::Directory);
    for entry in std::fs::read_dir(host).with_context(|| host.display().to_string())? {
        let entry = entry?;
        let to = guest.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_symlink() {
            use std::os::unix::ffi::OsStringExt;
            let target = std::fs::read_link(entry.path())?.into_os_string().into_vec();
            tree.insert(to, 0o777, Node::Link(target));
        } else if kind.is_dir() || kind.is_file() {
            host_path(tree, &entry.path(), &to)?;
        }
    }
    Ok(())
}

/// A file, and if it is a dynamic program, the libraries it needs at the places where it looks for them.
fn host_file(tree: &mut Tree, host: &Path, guest: &Path) -> Result<()> {
    let meta = std::fs::metadata(host).with_context(|| host.display().to_string())?;
    tree.insert(guest, meta.permissions().mode() & 0o7777, Node::Host(host.to_owned()));
    for library in libraries(host)? {
        if !tree.contains(&library) {
            tree.insert(
                &library,
                0o755,
                Node::Host(library.canonicalize().with_context(|| library.display().to_string())?),
            );
        }
    }
    Ok(())
}

/// The shared libraries of a file, its loader among them; none for anything but a dynamic program.
fn libraries(file: &Path) -> Result<Vec<PathBuf>> {
    let mut magic = [0; 4];
    let elf = std::fs::File::open(file).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic)).is_ok()
        && magic == *b"\x7fELF";
    if !elf {
        return Ok(Vec::new());
    }
    // Fails for a static program or an object file: they need nothing.
    let Some(text) = command::output(Command::new("ldd").arg(file)) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            bail!("{}: needs a library that is not here: {}", file.display(), line.trim());
        }
        // `name => /path (address)` or, for the loader, `/path (address)`; the vdso has no path.
        let path = line.rsplit_once("=> ").map_or(line, |(_, path)| path).trim();
        let path = path.rsplit_once(" (").map_or(path, |(path, _)| path);
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

/// The command as a script: each word in single quotes reaches it exactly as it was given.
fn script(words: &[String]) -> Vec<u8> {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''"))).collect();
    format!("exec {}\n", quoted.join(" ")).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_reach_the_command_unchanged() {
        let words = ["printf", "%s\\n", "a b", "it's", "$HOME `x`", "", "ü\n\t"].map(String::from);
        let out = Command::new("sh").arg("-c").arg(String::from_utf8(script(&words)).unwrap()).output().unwrap();
        assert_eq!(String::from_utf8(out.stdout).unwrap(), "a b\nit's\n$HOME `x`\n\nü\n\t\n");
    }
}
