//! A ledger's directory, held open: whatever its name leads to later, what is written goes where it went first.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

/// Where this process's descriptors are directories to work in.
const DESCRIPTORS: &str = "/proc/self/fd";

#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    held: File,
}

impl Place {
    /// Opens the directory. A link in its place is followed only where nobody but root or ourselves made it.
    pub fn open(dir: &Path) -> io::Result<Place> {
        let mut flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let real = if dir.starts_with(DESCRIPTORS) {
            // A descriptor of ours, to be held once more.
            dir.join(".")
        } else if fs::symlink_metadata(dir)?.is_symlink() {
            let owner = fs::symlink_metadata(dir)?.uid();
            // SAFETY: geteuid(2) cannot fail and touches no memory.
            if owner != 0 && owner != unsafe { libc::geteuid() } {
                return Err(io::Error::other(format!(
                    "it is a link that belongs to user {owner}; name the directory itself"
                )));
            }
            dir.canonicalize()?
        } else {
            dir.to_path_buf()
        };
        if real.ends_with(".") {
            flags = libc::O_DIRECTORY;
        }
        let held = OpenOptions::new().read(true).custom_flags(flags).open(&real)?;
        let path = Path::new(DESCRIPTORS).join(held.as_raw_fd().to_string());
        Ok(Place { path, held })
    }

    /// The way to it that no renaming changes; good as long as this value lives.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn file(&self) -> &File {
        &self.held
    }

    /// Whether this name leads here now.
    pub fn is(&self, name: &Path) -> bool {
        let same = |here: fs::Metadata, there: fs::Metadata| (here.dev(), here.ino()) == (there.dev(), there.ino());
        self.held.metadata().and_then(|here| fs::metadata(name).map(|there| same(here, there))).unwrap_or(false)
    }

    /// An error as its reader knows the directory.
    pub fn named<T>(&self, name: &Path, result: Result<T>) -> Result<T> {
        result.map_err(|error| {
            let path = self.path.display().to_string();
            anyhow!("{}", format!("{error:#}").replace(&path, &name.display().to_string()))
        })
    }
}
