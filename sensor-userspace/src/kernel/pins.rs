//! Pins: what keeps programs and maps in force when no daemon lives.
//!
//! ```text
//! /sys/fs/bpf/rgt/v1-HASH/maps/NAME          shared by the daemons of this layout
//! /sys/fs/bpf/rgt/v1-HASH/links/GENERATION/  one daemon's programs
//! ```

use std::{
    ffi::CString,
    fs, io,
    os::{
        fd::BorrowedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, HashMap as KernelMap, Map, MapData, MapInfo};
use aya_obj::Object;
use sensor_common::{
    event::{Active, Governed, Mark},
    layout,
};

use super::{AgentNo, pod::Pod, sys};

const BPFFS: &str = "/sys/fs/bpf";
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Maps that daemons of a layout share: whose tasks are, what they are at, what is told of it. All others belong to
/// one daemon's programs and live by them.
pub const SHARED: [&str; 16] = [
    "MARKS", "CGROUPS", "SLOTS", "FREE", "COUNTS", "FAULT_COUNTS", "RARE", "FLOOD", "ACCOUNTS", "ACTIVE", "WRITTEN",
    "COUNTED", "SECRET", "RESOLVERS", "SERVED", "ANSWERS",
];

/// Of one generation, and beside its links: the daemon after it reads labels there.
pub const GOVERNED: &str = "GOVERNED";

fn root() -> PathBuf {
    Path::new(BPFFS).join("rgt")
}

fn own_dir() -> PathBuf {
    root().join(format!("v{}-{:016x}", layout::LAYOUT, layout::HASH))
}

/// The pins of this daemon's programs.
pub struct Pins {
    dir: PathBuf,
    generation: u32,
    /// The one before, while it is in force.
    before: u32,
    inherited: bool,
    /// Whether the pins stay when this value goes.
    keep: bool,
}

impl Pins {
    /// Finds what an earlier daemon pinned, or makes room for a first one's.
    pub fn open(object: &Object) -> io::Result<Pins> {
        available()?;
        let root = root();
        make_dir(&root)?;
        let dir = own_dir();
        let active = match read_active(&dir) {
            Some(active) if active != 0 && fits(&dir, object)? => active,
            // Of a start that was not completed, or of an end that was not.
            _ => {
                remove_tree(&dir)?;
                0
            }
        };
        let pins = Pins {
            generation: active.wrapping_add(1).max(1),
            before: active,
            inherited: active != 0,
            keep: false,
            dir,
        };
        for dir in [&pins.dir, &pins.dir.join("maps"), &pins.dir.join("links")] {
            make_dir(dir)?;
        }
        // Of daemons that died while they started or took over: a function takes only so many programs.
        pins.drop_links(|generation| generation != active)?;
        make_dir(&pins.links())?;
        Ok(pins)
    }

    /// Where a shared map is pinned.
    pub fn map(&self, name: &str) -> PathBuf {
        self.dir.join("maps").join(name)
    }

    fn links(&self) -> PathBuf {
        self.links_of(self.generation)
    }

    fn links_of(&self, generation: u32) -> PathBuf {
        self.dir.join("links").join(generation.to_string())
    }

    /// How an agent stands under the programs before: what it was marked with must not be lost with them.
    pub(super) fn stood_before(&self, agent: AgentNo) -> Option<Governed> {
        let path = self.links_of(self.before).join(GOVERNED);
        let about = MapInfo::from_pin(&path).ok()?;
        if about.value_size() as usize != size_of::<Governed>() {
            return None;
        }
        let data = MapData::from_pin(path).ok()?;
        let map: Array<_, Pod<Governed>> = Array::try_from(Map::Array(data)).ok()?;
        map.get(&agent, 0).ok().map(|governed| governed.0)
    }

    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Whether an earlier daemon's programs are in force.
    pub fn inherited(&self) -> bool {
        self.inherited
    }

    pub(super) fn pin(&self, name: &str, link: BorrowedFd<'_>) -> io::Result<()> {
        let path = self.links().join(name);
        sys::pin(link, &c_path(&path)?).map_err(|error| named(&path, &error))
    }

    pub fn unpin(&self, name: &str) -> io::Result<()> {
        let path = self.links().join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(&path, &error)),
            _ => Ok(()),
        }
    }

    /// From now on these programs are the ones: the pins stay whatever becomes of the daemon, and those of all
    /// others go.
    pub(super) fn take_over(&mut self, active: &mut Array<MapData, Pod<Active>>) -> io::Result<()> {
        let value = Active { generation: self.generation, reserved: 0 };
        active.set(0, Pod(value), 0).map_err(io::Error::other)?;
        self.keep = true;
        self.inherited = false;
        self.drop_links(|generation| generation != self.generation)?;
        for entry in fs::read_dir(root())?.flatten() {
            if entry.path() != self.dir {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Enforcement ends with this daemon.
    pub fn remove(mut self) -> io::Result<()> {
        // Dropped below: nothing is left for it.
        self.keep = true;
        remove_all().map(|_| ())
    }

    fn drop_links(&self, which: impl Fn(u32) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(self.dir.join("links"))?.flatten() {
            let generation = entry.file_name().to_str().and_then(|name| name.parse().ok());
            if generation.is_none_or(&which) {
                remove_tree(&entry.path())?;
            }
        }
        Ok(())
    }
}

impl Drop for Pins {
    /// A start that failed leaves what was there before.
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        let left = if self.inherited { remove_tree(&self.links()) } else { remove_tree(&self.dir) };
        if let Err(error) = left {
            tracing::error!("pins are left behind: {error}; `rgt unload` removes them");
        }
    }
}

/// Whether something can be pinned here; the error says what is missing.
pub fn available() -> io::Result<()> {
    let path = c_path(Path::new(BPFFS))?;
    // SAFETY: a structure of integers, for statfs to fill.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: a C string and a structure of ours.
    let found = unsafe { libc::statfs(path.as_ptr(), &raw mut about) };
    if found != 0 || about.f_type as u64 != BPF_FS_MAGIC {
        return Err(io::Error::other(format!("{BPFFS} is no bpf filesystem: mount -t bpf bpf {BPFFS}")));
    }
    Ok(())
}

/// Generation whose programs are in force, of any layout; none where nothing is pinned.
pub fn in_force() -> Option<u32> {
    let entries = fs::read_dir(root()).ok()?;
    entries.flatten().filter_map(|entry| read_active(&entry.path())).find(|generation| *generation != 0)
}

/// Whether any pin is there, of whatever state.
pub fn present() -> bool {
    root().exists()
}

/// Ends enforcement and removes every pin, of every layout. Returns whether there was any.
pub fn remove_all() -> io::Result<bool> {
    let entries = match fs::read_dir(root()) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(named(&root(), &error)),
    };
    for entry in entries.flatten() {
        // Unlinked programs go on for a moment; this silences them at once.
        if let Some(mut active) = open_active(&entry.path()) {
            active.set(0, Pod(Active::default()), 0).map_err(io::Error::other)?;
        }
        remove_tree(&entry.path())?;
    }
    fs::remove_dir(root()).map_err(|error| named(&root(), &error))?;
    Ok(true)
}

/// Whether a process bears a mark in the pinned maps: it is an agent's, wherever it stands.
pub fn is_marked(pid: u32) -> bool {
    let path = own_dir().join("maps/MARKS");
    let Ok(data) = MapData::from_pin(path) else { return false };
    let Ok(marks) = KernelMap::<_, u64, Pod<Mark>>::try_from(Map::HashMap(data)) else { return false };
    marks.iter().flatten().any(|(_, mark)| mark.0.pid == pid)
}

fn open_active(dir: &Path) -> Option<Array<MapData, Pod<Active>>> {
    let data = MapData::from_pin(dir.join("maps/ACTIVE")).ok()?;
    Array::try_from(Map::Array(data)).ok()
}

fn read_active(dir: &Path) -> Option<u32> {
    open_active(dir)?.get(&0, 0).ok().map(|active| active.0.generation)
}

/// Whether every shared map is there and is what the object would make.
fn fits(dir: &Path, object: &Object) -> io::Result<bool> {
    for name in SHARED {
        let wanted = object
            .maps
            .get(name)
            .ok_or_else(|| io::Error::other(format!("map {name} is missing from the kernel object")))?;
        let Ok(found) = MapInfo::from_pin(dir.join("maps").join(name)) else { return Ok(false) };
        let same = found.key_size() == wanted.key_size()
            && found.value_size() == wanted.value_size()
            && found.max_entries() == wanted.max_entries()
            && found.map_flags() == wanted.map_flags()
            && found.map_type().is_ok_and(|kind| kind as u32 == wanted.map_type());
        if !same {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A directory that root alone may enter; another's in its place is an error.
fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(named(dir, &error)),
        _ => {}
    }
    let about = fs::symlink_metadata(dir).map_err(|error| named(dir, &error))?;
    if !about.is_dir() || about.uid() != 0 {
        return Err(io::Error::other(format!("{} is not root's: remove it", dir.display())));
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(|error| named(dir, &error))
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(named(path, &error)),
        _ => Ok(()),
    }
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}
