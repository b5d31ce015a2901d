//! Directories above what is guarded, and links on the way to it: moved, they would lead the daemon, or the kernel,
//! somewhere else.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    ffi::OsString,
    fs, io,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Component, Path, PathBuf},
};

use aya::maps::{HashMap as KernelMap, MapData};
use sensor_common::{
    event::{self, Described},
    guard::{MOVES, of_kind},
};

use super::{guard::Held, pod::Pod};

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

pub struct Above {
    map: KernelMap<MapData, u64, Pod<event::Above>>,
    /// By its inode's address. Held, so that it is nobody else's.
    held: HashMap<u64, fs::File>,
}

impl Above {
    pub fn new(map: KernelMap<MapData, u64, Pod<event::Above>>) -> Above {
        Above { map, held: HashMap::new() }
    }

    /// Registers what leads to these places, and forgets what leads there no more. `register` describes a file.
    pub fn lead_to(
        &mut self,
        places: &[(PathBuf, u32)],
        held: &[Held],
        mut register: impl FnMut(&fs::File) -> io::Result<Described>,
    ) -> io::Result<()> {
        let (mut now, mut seen) = (HashMap::new(), HashSet::new());
        for (place, kind) in places {
            for path in ways(place) {
                // Most places have most of their way in common.
                if is_guarded(&path, held) || !seen.insert(path.clone()) {
                    continue;
                }
                let Ok(file) = open(&path) else { continue };
                let Described { inode, namespace } = register(&file)?;
                let ino = file.metadata()?.ino();
                // Of several things that it leads to, the first names the rule.
                if inode == 0 || now.contains_key(&inode) {
                    continue;
                }
                let above = event::Above { ino, namespace, rule: of_kind(*kind).1, reserved: 0 };
                match self.map.insert(inode, Pod(above), 0) {
                    Ok(()) => drop(now.insert(inode, file)),
                    Err(error) => tracing::warn!("{}: cannot be kept from being moved: {error}", path.display()),
                }
            }
        }
        for gone in self.held.keys().filter(|inode| !now.contains_key(inode)) {
            let _ = self.map.remove(gone);
        }
        self.held = now;
        Ok(())
    }
}

/// The directory or the link itself.
fn open(path: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC).open(path)
}

/// Whether it lies in something that is guarded with all below it.
fn is_guarded(path: &Path, held: &[Held]) -> bool {
    let whole = |held: &&Held| of_kind(held.kind).0 & MOVES != 0;
    held.iter().filter(whole).any(|held| path.starts_with(Path::new(std::ffi::OsStr::from_bytes(&held.place))))
}

/// Every directory above a place, but for the root, and every link on the way, as they stand now.
fn ways(place: &Path) -> Vec<PathBuf> {
    let names = |path: &Path| -> Vec<OsString> {
        path.components().filter(|part| *part != Component::RootDir).map(|part| part.as_os_str().to_owned()).collect()
    };
    let mut left = VecDeque::from(names(place));
    let (mut at, mut found, mut links) = (PathBuf::from("/"), Vec::new(), 0);
    while let Some(name) = left.pop_front() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        let target = if links < MAX_LINKS { fs::read_link(&next).ok() } else { None };
        if let Some(target) = target {
            links += 1;
            found.push(next);
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            for part in names(&target).into_iter().rev() {
                left.push_front(part);
            }
            continue;
        }
        if !left.is_empty() {
            found.push(next.clone());
        }
        at = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn directories_and_links_lead_to_a_place() {
        let dir = std::env::temp_dir().canonicalize().unwrap().join(format!("rgt-above-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(dir.join("real/deep")).unwrap();
        fs::write(dir.join("real/deep/file"), "").unwrap();
        symlink("real/../real", dir.join("link")).unwrap();
        symlink(dir.join("link/deep"), dir.join("far")).unwrap();
        symlink("self", dir.join("self")).unwrap();
        let below = |path: &str| -> Vec<String> {
            let found = ways(&dir.join(path));
            let ours = found.iter().filter_map(|path| path.strip_prefix(&dir).ok());
            ours.map(|path| path.display().to_string()).filter(|path| !path.is_empty()).collect()
        };
        assert_eq!(below("real/deep/file"), ["real", "real/deep"]);
        assert_eq!(below("link/deep/file"), ["link", "real", "real", "real/deep"]);
        assert_eq!(below("far"), ["far", "link", "real", "real"]);
        assert_eq!(below("self").len(), MAX_LINKS);
        assert!(below("absent/file").contains(&"absent".to_owned()), "one that is not there is not opened");
        fs::remove_dir_all(&dir).unwrap();
    }
}
