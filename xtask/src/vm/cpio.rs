//! A tree of files as a newc archive, the form in which a kernel takes its first filesystem.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub enum Node {
    Directory,
    Link(Vec<u8>),
    Bytes(Vec<u8>),
    /// Read only when the archive is written.
    Host(PathBuf),
    /// A character device: major, minor.
    Device(u32, u32),
}

/// Paths without a leading slash, in order: a directory stands before what is in it.
#[derive(Default)]
pub struct Tree {
    nodes: BTreeMap<Vec<u8>, (u32, Node)>,
}

impl Tree {
    /// Adds or replaces; directories above are made.
    pub fn insert(&mut self, path: impl AsRef<Path>, mode: u32, node: Node) {
        let key = key(path.as_ref());
        if key.is_empty() {
            return;
        }
        for (at, _) in key.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            self.nodes.entry(key[..at].to_vec()).or_insert((0o755, Node::Directory));
        }
        // A directory named again must not lose the mode that it was given.
        if matches!(node, Node::Directory)
            && matches!(self.nodes.get(&key), Some((_, Node::Directory)))
            && mode == 0o755
        {
            return;
        }
        self.nodes.insert(key, (mode, node));
    }

    pub fn contains(&self, path: impl AsRef<Path>) -> bool {
        self.nodes.contains_key(&key(path.as_ref()))
    }

    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for (number, (path, (mode, node))) in self.nodes.iter().enumerate() {
            let (kind, data, device) = match node {
                Node::Directory => (0o040_000, Vec::new(), (0, 0)),
                Node::Link(target) => (0o120_000, target.clone(), (0, 0)),
                Node::Bytes(bytes) => (0o100_000, bytes.clone(), (0, 0)),
                Node::Host(file) => (
                    0o100_000,
                    std::fs::read(file).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.display())))?,
                    (0, 0),
                ),
                Node::Device(major, minor) => (0o020_000, Vec::new(), (*major, *minor)),
            };
            let number = u32::try_from(number + 1).map_err(io::Error::other)?;
            entry(out, number, kind | mode, path, &data, device)?;
        }
        entry(out, 0, 0, b"TRAILER!!!", &[], (0, 0))
    }
}

fn key(path: &Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut key = Vec::new();
    for part in path.components() {
        if let std::path::Component::Normal(part) = part {
            if !key.is_empty() {
                key.push(b'/');
            }
            key.extend_from_slice(part.as_bytes());
        }
    }
    // As on any merged-/usr system; the short names are links.
    for (short, long) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib"), ("lib64", "usr/lib64")] {
        if key.strip_prefix(short.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/')) {
            key.splice(..short.len(), long.bytes());
            break;
        }
    }
    key
}

fn entry(out: &mut impl Write, inode: u32, mode: u32, name: &[u8], data: &[u8], device: (u32, u32)) -> io::Result<()> {
    let size = u32::try_from(data.len())
        .map_err(|_| io::Error::other(format!("{}: larger than 4 GiB", String::from_utf8_lossy(name))))?;
    let links = if mode & 0o170_000 == 0o040_000 { 2 } else { 1 };
    let length = name.len() as u32 + 1;
    write!(
        out,
        "070701{inode:08x}{mode:08x}{:08x}{:08x}{links:08x}{:08x}{size:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}{:08x}",
        0, 0, 0, 0, 0, device.0, device.1, 0
    )?;
    out.write_all(name)?;
    out.write_all(&[0])?;
    pad(out, 110 + name.len() + 1)?;
    out.write_all(data)?;
    pad(out, data.len())
}

fn pad(out: &mut impl Write, written: usize) -> io::Result<()> {
    out.write_all(&[0; 3][..(4 - written % 4) % 4])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_directories_come_first() {
        let mut tree = Tree::default();
        tree.insert("/bin/x", 0o755, Node::Bytes(b"hello".to_vec()));
        let mut out = Vec::new();
        tree.write(&mut out).unwrap();
        assert_eq!(out.len() % 4, 0);
        let text = String::from_utf8_lossy(&out);
        let order: Vec<_> = ["usr\0", "usr/bin\0", "usr/bin/x\0", "hello", "TRAILER!!!"]
            .iter()
            .map(|name| text.find(name).unwrap())
            .collect();
        assert!(order.is_sorted(), "{order:?}");
    }
}
