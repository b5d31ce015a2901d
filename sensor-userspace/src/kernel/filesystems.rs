//! Where each filesystem stands in the tree, known to the kernel side by the inode of its root.

use std::{
    collections::HashSet,
    fs,
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::{ffi::OsStringExt as _, fs::OpenOptionsExt as _},
    },
    path::PathBuf,
};

use aya::maps::{Array, HashMap as KernelMap, MapData};
use sensor_common::{
    event::{Described, Filesystem, MAX_MOUNT_DEPTH},
    hash::{self, Secret},
};

use super::{pod::Pod, sys};

pub struct Filesystems {
    map: KernelMap<MapData, u64, Pod<Filesystem>>,
    described: Array<MapData, Pod<Described>>,
    describe: OwnedFd,
    secret: Secret,
    /// By number; a number is never given again, for records may still come that name it.
    places: Vec<Vec<u8>>,
    inodes: HashSet<u64>,
    seen: String,
}

/// One line of mountinfo.
struct Mount {
    device: String,
    root: Vec<u8>,
    point: Vec<u8>,
}

impl Filesystems {
    pub fn new(
        map: KernelMap<MapData, u64, Pod<Filesystem>>,
        described: Array<MapData, Pod<Described>>,
        describe: OwnedFd,
        secret: Secret,
    ) -> Filesystems {
        Filesystems { map, described, describe, secret, places: Vec::new(), inodes: HashSet::new(), seen: String::new() }
    }

    /// The place's path, without a trailing slash: empty for the root.
    pub fn place(&self, number: u32) -> Option<&[u8]> {
        self.places.get(number as usize).map(Vec::as_slice)
    }

    /// Registers what is mounted now, if that changed.
    pub fn refresh(&mut self) -> io::Result<()> {
        let text = fs::read_to_string("/proc/self/mountinfo")?;
        if text == self.seen {
            return Ok(());
        }
        let mounts: Vec<Mount> = text.lines().filter_map(mount).collect();
        let whole: HashSet<&str> =
            mounts.iter().filter(|mount| mount.root == b"/").map(|mount| mount.device.as_str()).collect();
        let mut now = HashSet::new();
        for mount in &mounts {
            // A part of a filesystem that also stands somewhere whole keeps its name there: a bind mount
            // gives nothing a milder name.
            if mount.root != b"/" && whole.contains(mount.device.as_str()) {
                continue;
            }
            let Ok(inode) = self.inode_of(&mount.point) else { continue };
            // The first of several places is the one.
            if inode == 0 || !now.insert(inode) {
                continue;
            }
            self.register(inode, &mount.point)?;
        }
        for gone in self.inodes.difference(&now) {
            // An inode's address may come again for something else.
            let _ = self.map.remove(gone);
        }
        self.inodes = now;
        self.seen = text;
        Ok(())
    }

    fn register(&mut self, inode: u64, point: &[u8]) -> io::Result<()> {
        let place = if point == b"/" { &[][..] } else { point };
        let names: Vec<&[u8]> = place.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        if names.len() > MAX_MOUNT_DEPTH {
            // Unregistered: objects there are foreign, which is the safe side.
            return Ok(());
        }
        let number = match self.places.iter().position(|known| known == place) {
            Some(number) => number,
            None => {
                self.places.push(place.to_vec());
                self.places.len() - 1
            }
        };
        let mut entry = Filesystem { number: number as u32, depth: names.len() as u32, ..Filesystem::default() };
        // Deepest first, as the kernel side takes them from the end.
        for (to, name) in entry.hashes.iter_mut().zip(names.iter().rev()) {
            *to = hash::component(self.secret, name);
        }
        self.map.insert(inode, Pod(entry), 0).map_err(io::Error::other)
    }

    /// Address of the inode that stands at a path, as the kernel side sees it.
    fn inode_of(&mut self, path: &[u8]) -> io::Result<u64> {
        let path = PathBuf::from(std::ffi::OsString::from_vec(path.to_vec()));
        let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path)?;
        sys::test_run(self.describe.as_fd(), &[file.as_raw_fd() as u64, 0])?;
        Ok(self.described.get(&0, 0).map_err(io::Error::other)?.0.inode)
    }
}

fn mount(line: &str) -> Option<Mount> {
    let mut fields = line.split(' ');
    let device = fields.nth(2)?.to_owned();
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    Some(Mount { device, root, point })
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        if byte == b'\\'
            && let Some((digits, after)) = behind.split_at_checked(3)
            && let Ok(value) = u8::from_str_radix(std::str::from_utf8(digits).unwrap_or(""), 8)
        {
            out.push(value);
            rest = after;
        } else {
            out.push(byte);
            rest = behind;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_they_are() {
        let line = r"36 35 98:0 /sub /mnt/a\040b\134c rw shared:1 - ext4 /dev/sda1 rw";
        let mount = mount(line).unwrap();
        assert_eq!((mount.device.as_str(), &mount.root[..], &mount.point[..]), ("98:0", &b"/sub"[..], &b"/mnt/a b\\c"[..]));
        assert_eq!(unescape(r"\9"), br"\9");
    }
}
