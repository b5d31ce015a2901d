//! Where each filesystem stands in the tree, known to the kernel side by the inode of its root.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd},
        unix::{ffi::OsStringExt as _, fs::OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, HashMap as KernelMap, MapData};
use sensor_common::{
    event::{Described, Filesystem, MAX_MOUNT_DEPTH, MOUNT_ROOM, root_bit},
    guard::kind,
    hash::{self, Secret},
};

use super::{
    above::Above,
    guard::{self, Held, Places},
    pod::Pod,
    sys,
};

pub struct Filesystems {
    map: KernelMap<MapData, u64, Pod<Filesystem>>,
    roots: Array<MapData, u64>,
    described: Array<MapData, Pod<Described>>,
    describe: OwnedFd,
    secret: Secret,
    /// By number; a number is never given again, for records may still come that name it.
    places: Vec<Vec<u8>>,
    /// What is registered, and where it stood then.
    inodes: HashMap<u64, Vec<u8>>,
    watch: fs::File,
    /// Mounts have changed since all that stand were registered.
    stale: bool,
    guarded: Places,
    /// What is registered of it, and held.
    held: Vec<Held>,
    above: Above,
}

/// Room that the kernel side wants behind a name, for it copies the longest there may be.
const NAME_ROOM: usize = 256;

/// One line of mountinfo.
struct Mount {
    id: u32,
    device: Vec<u8>,
    root: Vec<u8>,
    point: Vec<u8>,
    /// `guard::kind` of what is mounted there.
    kind: u32,
}

impl Filesystems {
    pub fn new(
        map: KernelMap<MapData, u64, Pod<Filesystem>>,
        roots: Array<MapData, u64>,
        described: Array<MapData, Pod<Described>>,
        describe: OwnedFd,
        above: Above,
        secret: Secret,
        places: Vec<Vec<u8>>,
    ) -> io::Result<Filesystems> {
        Ok(Filesystems {
            map,
            roots,
            described,
            describe,
            secret,
            places,
            inodes: HashMap::new(),
            watch: fs::File::open("/proc/self/mountinfo")?,
            stale: true,
            guarded: Places::default(),
            held: Vec::new(),
            above,
        })
    }

    /// Guards a directory or a file by what it is, from the next `refresh` on.
    pub fn guard(&mut self, path: &Path, kind: u32) {
        self.guarded.add(path, kind);
    }

    /// The place's path, without a trailing slash: empty for the root.
    pub fn place(&self, number: u32) -> Option<&[u8]> {
        self.places.get(number as usize).map(Vec::as_slice)
    }

    /// All of them by number: events that a daemon leaves behind speak of places by these.
    pub fn places(&self) -> &[Vec<u8>] {
        &self.places
    }

    /// Tells of changes by POLLPRI.
    pub fn watch(&self) -> RawFd {
        self.watch.as_raw_fd()
    }

    /// Registers what is mounted now. For the moments when an agent is registered.
    pub fn refresh(&mut self) -> io::Result<()> {
        // The kernel's word, not the table's text: unmounted and mounted anew, it can read as it did before.
        let held = self.guarded.held();
        let same = held.len() == self.held.len()
            && held.iter().zip(&self.held).all(|(new, old)| new.number == old.number && new.place == old.place);
        if self.stale || self.changed() || !same {
            self.held = held;
            self.look(true)?;
            let (describe, described) = (&self.describe, &self.described);
            self.above.lead_to(self.guarded.wanted(), &self.held, |file| {
                let about = described_as(describe, described, file)?;
                mark(&mut self.roots, about.inode)?;
                Ok(about)
            })
        } else {
            Ok(())
        }
    }

    /// Forgets what does not stand where it stood; `changed`: a poll of `watch` said so already, which it says
    /// once. What is new waits for `refresh`: an agent may have mounted
    /// it, and it stays foreign to that agent.
    pub fn prune(&mut self, changed: bool) -> io::Result<()> {
        if changed || self.changed() { self.look(false) } else { Ok(()) }
    }

    fn changed(&self) -> bool {
        let mut poll = libc::pollfd { fd: self.watch(), events: libc::POLLPRI, revents: 0 };
        // SAFETY: one valid entry.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }

    fn look(&mut self, add: bool) -> io::Result<()> {
        // Names are bytes: one that is no text must not keep policies from being put in force.
        let text = fs::read("/proc/self/mountinfo")?;
        let was = std::mem::take(&mut self.inodes);
        let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(mount).collect();
        let whole: HashSet<&[u8]> =
            mounts.iter().filter(|mount| mount.root == b"/").map(|mount| &mount.device[..]).collect();
        let mut now: HashMap<u64, Vec<u8>> = HashMap::new();
        // First, for one of these may be a mount's point as well.
        for held in std::mem::take(&mut self.held) {
            let inode = self.describe(&held.file).unwrap_or(0);
            let known = was.get(&inode).is_some_and(|place| *place == held.place);
            if inode != 0 && !now.contains_key(&inode) && (known || add) {
                if add {
                    self.register(inode, &held.place, held.kind, held.number)?;
                }
                now.insert(inode, held.place.clone());
            }
            self.held.push(held);
        }
        for mount in &mounts {
            // A part of a filesystem that also stands somewhere whole keeps its name there: a bind mount
            // gives nothing a milder name.
            if mount.root != b"/" && whole.contains(&mount.device[..]) {
                continue;
            }
            // Of a part of proc or sysfs the guard could not tell the names: it stays foreign.
            if mount.root != b"/" && matches!(mount.kind, kind::PROC | kind::SYSFS) {
                continue;
            }
            let Ok(inode) = open(mount).and_then(|file| self.describe(&file)) else { continue };
            // The first of several places is the one.
            if inode == 0 || now.contains_key(&inode) {
                continue;
            }
            if was.get(&inode).is_some_and(|place| *place == mount.point) {
                now.insert(inode, mount.point.clone());
            } else if add {
                self.register(inode, &mount.point, mount.kind, 0)?;
                now.insert(inode, mount.point.clone());
            }
        }
        for gone in was.keys().filter(|inode| !now.contains_key(inode)) {
            // An inode's address may come again for something else.
            let _ = self.map.remove(gone);
        }
        self.inodes = now;
        // What was forgotten, or is new, waits for the next agent.
        self.stale = !add;
        Ok(())
    }

    fn register(&mut self, inode: u64, point: &[u8], kind: u32, ino: u64) -> io::Result<()> {
        let place = if point == b"/" { &[][..] } else { point };
        let names: Vec<&[u8]> = place.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        if names.len() > MAX_MOUNT_DEPTH || place.len() > MOUNT_ROOM - NAME_ROOM {
            // A filesystem unregistered is foreign, which is the safe side; a place of rgt's own is no longer told from others.
            if ino != 0 {
                tracing::warn!("{}: too deep, or too long a path, to be guarded", String::from_utf8_lossy(point));
            }
            return Ok(());
        }
        let number = match self.places.iter().position(|known| known == place) {
            Some(number) => number,
            None => {
                self.places.push(place.to_vec());
                self.places.len() - 1
            }
        };
        let mut entry =
            Filesystem { number: number as u32, depth: names.len() as u32, kind, ino, ..Filesystem::default() };
        // Deepest first, as the kernel side takes them from the end.
        let mut at = 0;
        for (which, name) in names.iter().rev().enumerate() {
            entry.hashes[which] = hash::component(self.secret, name);
            entry.names[which] = at as u32 | (name.len() as u32) << 16;
            entry.text[at..at + name.len()].copy_from_slice(name);
            at += name.len() + 1;
        }
        // First, for who is told that it may be there looks for it. It is never taken back: it costs a look.
        mark(&mut self.roots, inode)?;
        self.map.insert(inode, Pod(entry), 0).map_err(io::Error::other)
    }

    /// Address of a file's inode.
    fn describe(&self, file: &fs::File) -> io::Result<u64> {
        Ok(described_as(&self.describe, &self.described, file)?.inode)
    }
}

/// A file as the kernel side sees it.
fn described_as(
    describe: &OwnedFd,
    described: &Array<MapData, Pod<Described>>,
    file: &fs::File,
) -> io::Result<Described> {
    sys::test_run(describe.as_fd(), &[file.as_raw_fd() as u64, 0])?;
    Ok(described.get(&0, 0).map_err(io::Error::other)?.0)
}

/// Tells the kernel side that something with this inode may be registered.
fn mark(roots: &mut Array<MapData, u64>, inode: u64) -> io::Result<()> {
    let bit = root_bit(inode);
    let word = roots.get(&(bit / 64), 0).map_err(io::Error::other)?;
    roots.set(bit / 64, word | 1 << (bit % 64), 0).map_err(io::Error::other)
}

/// What stands at a mount's point, if that is this mount still. Whoever owns a directory on the way may put
/// a link in its place meanwhile, and another directory would get the mount's milder name.
fn open(mount: &Mount) -> io::Result<fs::File> {
    let path = PathBuf::from(std::ffi::OsString::from_vec(mount.point.clone()));
    let file = fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(&path)?;
    let number = file.as_raw_fd();
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    let id = about.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse::<u32>().ok());
    if id == Some(mount.id) && fs::read_link(format!("/proc/self/fd/{number}"))? == path {
        Ok(file)
    } else {
        Err(io::Error::other("another mount, or another place, is there"))
    }
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let device = fields.nth(1)?.to_owned();
    let root = unescape(fields.next()?);
    let point = unescape(fields.next()?);
    // The kind of filesystem stands behind a lone dash, however many fields come before it.
    let kind = guard::kind_named(fields.skip_while(|field| *field != b"-").nth(1).unwrap_or_default());
    Some(Mount { id, device, root, point, kind })
}

/// mountinfo writes blanks and backslashes as three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
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
    fn a_link_on_the_way_gives_no_place_a_name() {
        let text = fs::read("/proc/self/mountinfo").unwrap();
        let mounts: Vec<Mount> = text.split(|byte| *byte == b'\n').filter_map(mount).collect();
        // Of several mounts on one point, the last is to be seen.
        let proc = mounts.iter().rev().find(|mount| mount.point == b"/proc").unwrap();
        open(proc).unwrap();
        let link = std::env::temp_dir().join(format!("rgt-mount-{}", std::process::id()));
        std::os::unix::fs::symlink("/", &link).unwrap();
        let point = |below: &str| link.join(below).into_os_string().into_vec();
        let swapped = |point| Mount { id: proc.id, device: proc.device.clone(), root: b"/".to_vec(), point, kind: 0 };
        // Another directory, and the very mount under a name that is not its own.
        let (etc, same) = (open(&swapped(point("etc"))), open(&swapped(point("proc"))));
        fs::remove_file(&link).unwrap();
        assert!(etc.is_err() && same.is_err());
    }

    #[test]
    fn mount_points_are_read_as_they_are() {
        let line = b"36 35 98:0 /sub /mnt/a\\040b\\134c\xff rw shared:1 - ext4 /dev/sda1 rw";
        let mount = mount(line).unwrap();
        assert_eq!((mount.id, &mount.device[..], &mount.root[..]), (36, &b"98:0"[..], &b"/sub"[..]));
        assert_eq!((&mount.point[..], mount.kind), (&b"/mnt/a b\\c\xff"[..], 0));
        let proc = super::mount(b"1 2 0:5 / /proc rw shared:1 master:2 - proc proc rw").unwrap();
        assert_eq!(proc.kind, kind::PROC);
        assert_eq!(unescape(br"\9"), br"\9");
    }
}
