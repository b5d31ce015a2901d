//! What a ledger directory holds, and how its files are named and made.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::place::Place;

pub const LOCK: &str = "lock";
pub const CHAIN: &str = "chain.json";

/// One segment: a file whose name says which line it begins with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Segment {
    pub first: u64,
    pub compressed: bool,
    pub path: PathBuf,
}

pub fn name(first: u64) -> String {
    format!("rgt-{first:020}.jsonl")
}

/// Which segment a file name means, and whether it is compressed.
pub fn parse_name(name: &str) -> Option<(u64, bool)> {
    let rest = name.strip_prefix("rgt-")?;
    let (digits, ending) = rest.split_at_checked(20)?;
    let compressed = match ending {
        ".jsonl" => false,
        ".jsonl.zst" => true,
        _ => return None,
    };
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| digits.parse().ok().map(|first| (first, compressed)))?
}

/// The segments in a directory, in the order of their lines. Of one that is there twice (it is
/// being compressed) the uncompressed file counts.
pub fn segments(dir: &Path) -> Result<Vec<Segment>> {
    let read = || -> io::Result<Vec<Segment>> {
        let mut found = Vec::new();
        // Twice: a listing may miss a file that is renamed meanwhile, as compression does.
        for entry in fs::read_dir(dir)?.chain(fs::read_dir(dir)?) {
            let entry = entry?;
            // A link or a pipe of that name is nothing that was written here. What is renamed at this moment
            // (only some file systems ask again for its kind) is met under its other name.
            if !entry.file_type().is_ok_and(|kind| kind.is_file()) {
                continue;
            }
            if let Some((first, compressed)) = entry.file_name().to_str().and_then(parse_name) {
                found.push(Segment { first, compressed, path: entry.path() });
            }
        }
        Ok(found)
    };
    let mut found = read().with_context(|| {
        format!("ledger {}: its directory cannot be listed; check the path and its permissions", dir.display())
    })?;
    found.sort();
    found.dedup_by_key(|segment| segment.first);
    Ok(found)
}

/// Whether the segment that begins with this line is there.
pub fn is_there(dir: &Path, first: u64) -> bool {
    let plain = |name: String| fs::symlink_metadata(dir.join(name)).is_ok_and(|about| about.is_file());
    // The compressed file is there before the original goes, so one of the two looks finds it.
    plain(name(first)) || plain(format!("{}.zst", name(first)))
}

/// Opens a segment by the name of its uncompressed file; whether it is compressed by now.
///
/// The compressed file is there before the original goes, so one of the two looks finds it.
pub fn open_either(path: &Path) -> io::Result<(File, bool)> {
    match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut name = path.as_os_str().to_owned();
            name.push(".zst");
            match File::open(name) {
                Ok(file) => Ok((file, true)),
                Err(_) => Err(error),
            }
        }
        opened => opened.map(|file| (file, path.extension().is_some_and(|ending| ending == "zst"))),
    }
}

/// Opens a file of a ledger to change it, or to keep what it holds.
///
/// The directory may be one that an agent can write to, and who opens is root: no link is followed, nothing
/// that is no plain file is waited for, and where others may make names no second name leads elsewhere.
pub fn open_own(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let about = file.metadata()?;
    if about.is_file() && (about.nlink() <= 1 || is_private(path.parent().unwrap_or(path))) {
        Ok(file)
    } else {
        Err(io::Error::other("it is no plain file of the ledger's own"))
    }
}

/// Whether nobody else can make names in this directory.
fn is_private(dir: &Path) -> bool {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    let we = unsafe { libc::geteuid() };
    fs::metadata(dir).is_ok_and(|about| about.uid() == we && about.mode() & 0o022 == 0)
}

/// Reads one of the small files beside the segments.
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    const MOST: u64 = 1 << 20;
    let mut text = Vec::new();
    open_own(OpenOptions::new().read(true), path)?.take(MOST).read_to_end(&mut text)?;
    Ok(text)
}

/// Makes a file anew; what stood there, a link for instance, is not touched but for its name.
pub fn create_anew(path: &Path) -> io::Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)
}

/// How files of a ledger are made: nobody else reads them, unless a group was named.
#[derive(Clone, Copy, Debug, Default)]
pub struct Files {
    pub reader_gid: Option<u32>,
}

impl Files {
    pub fn finish(self, file: &File) -> io::Result<()> {
        file.set_permissions(Permissions::from_mode(0o640))?;
        match self.reader_gid {
            Some(gid) => fchown(file, None, Some(gid)),
            None => Ok(()),
        }
    }

    /// Opens the ledger's directory, and makes it if need be.
    pub fn place(self, dir: &Path) -> Result<Place> {
        let there = dir.is_dir();
        if !there && dir.exists() {
            bail!("ledger {}: it is a file; name a directory", dir.display());
        }
        let open = || {
            if there {
                return Place::open(dir);
            }
            fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
            let place = Place::open(dir)?;
            if let Some(gid) = self.reader_gid {
                fchown(place.file(), None, Some(gid))?;
                let readable = Permissions::from_mode(0o750);
                place.file().set_permissions(readable)?;
            }
            io::Result::Ok(place)
        };
        open().with_context(|| {
            let failed = if there { "opened" } else { "made" };
            format!("ledger {}: the directory cannot be {failed}; name a writable place with ledger.dir", dir.display())
        })
    }

    /// Opens a segment to append to it.
    pub fn open_segment(self, path: &Path) -> Result<File> {
        let open = || {
            let mut options = OpenOptions::new();
            options.create(true).append(true).read(true).mode(0o640);
            let file = open_own(&mut options, path)?;
            self.finish(&file)?;
            io::Result::Ok(file)
        };
        open()
            .with_context(|| format!("segment {}: cannot be opened for writing; check its permissions", path.display()))
    }

    /// Takes the directory for one writer; the lock ends with the process, however it ends.
    pub fn lock(self, dir: &Path) -> Result<File> {
        let path = dir.join(LOCK);
        let open = || {
            let mut options = OpenOptions::new();
            open_own(options.create(true).append(true).mode(0o640), &path)
        };
        let file = open().with_context(|| {
            format!(
                "ledger {}: it cannot be written to; make the directory writable or name another with ledger.dir",
                dir.display()
            )
        })?;
        match lock_within(&file, LOCK_WAIT) {
            // Readers tell by the lock whether a last line may be unfinished: they must open it.
            Ok(()) => self.finish(&file).map(|()| file).with_context(|| path.display().to_string()),
            Err(fs::TryLockError::WouldBlock) => bail!(
                "ledger {}: another process is writing to it; end that one or name another directory with ledger.dir",
                dir.display()
            ),
            Err(fs::TryLockError::Error(error)) => Err(error).with_context(|| {
                format!("ledger {}: cannot be locked; put it on a file system with flock", dir.display())
            }),
        }
    }
}

/// How long a writer waits for the lock. Some hold it for a moment and write nothing: who looks whether it is held, and
/// a child that was started beside a writer which has ended since, until its exec.
const LOCK_WAIT: Duration = Duration::from_secs(1);

fn lock_within(file: &File, wait: Duration) -> Result<(), fs::TryLockError> {
    let until = Instant::now() + wait;
    loop {
        match file.try_lock() {
            Err(fs::TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(10));
            }
            result => return result,
        }
    }
}

/// Makes a rename or a new file last through a power loss.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
