//! What the files in pinned places hold. A file is read once, and is known from then on by what changes whenever it
//! does: number, generation, time of change.

use std::fs::{self, File};
use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sensor_common::contents::{Identity, device};
use sha2::{Digest, Sha256};

use super::asked::{Asked, Kind, Lack};
use crate::policy::{Content, Contents};

const KIND: Kind = Kind {
    name: "file",
    names: "files with a digest",
    most: 1_024,
    at_once: 4,
    instead: "name directories that agents cannot write to",
    unknown: "until it is read, what its contents are is unknown to every rule that asks",
    stale: "if it has changed, what its contents are is unknown to every rule that asks",
};

/// How often each is looked at; it is read where that shows another file.
const REFRESH: Duration = Duration::from_secs(2);
/// Two changes within a tick of the kernel's clock, or within a second where a filesystem counts seconds, have the same
/// time: a file that has changed so lately is not read yet.
const SETTLED: Duration = Duration::from_secs(2);
/// Largest file that is read.
const LARGEST: u64 = 512 << 20;

/// Filesystems that keep number, generation and time of change of what is on disk, and set the last by whatever road a
/// file is changed: ext4 and its kin, xfs. An overlay's are another file's, tmpfs does not see mappings.
const KEEPING: [(u64, &str); 2] = [(0xef53, "ext4"), (0x5846_5342, "xfs")];

pub type Files = Asked<Content>;

pub fn files() -> Files {
    Asked::new(KIND, Arc::new(|place, before| read(Path::new(place), before)), REFRESH)
}

/// What is known now of the files in these places.
pub fn contents<'a>(files: &Files, places: impl IntoIterator<Item = &'a String>) -> Contents {
    places.into_iter().map(|place| (place.clone(), files.answer(place).copied())).collect()
}

/// Reads the file, unless it is the one that was read before.
fn read(place: &Path, before: Option<&Content>) -> Result<Content, Lack> {
    let file = open(place).map_err(Lack::Failed)?;
    let told = |error: io::Error| Lack::Failed(error.to_string());
    let identity = identity(&file).map_err(told)?;
    if let Some(before) = before.filter(|before| before.identity == identity) {
        return Ok(*before);
    }
    is_settled(&identity)?;
    // A write that has begun, or a mapping, has set its time already: while somebody may write, nothing is sure.
    let _lease = Lease::take(&file)?;
    // Nor is a page that is still to be written back: it can be changed through a mapping to come without a new time.
    file.sync_all().map_err(told)?;
    let mut hash = Sha256::new();
    io::copy(&mut (&file).take(LARGEST), &mut hash).map_err(told)?;
    if self::identity(&file).map_err(told)? != identity {
        return Err(Lack::NotYet("it was changed while it was read".to_owned()));
    }
    Ok(Content { identity, digest: hash.finalize().into() })
}

/// Of fcntl: what a lease says is said by this signal. The same on every architecture; not in the libc crate.
const F_SETSIG: libc::c_int = 10;

/// While it is held nobody has the file open for writing.
struct Lease<'a>(&'a File);

impl Lease<'_> {
    fn take(file: &File) -> Result<Lease<'_>, Lack> {
        // Who wants to write is waited for by the kernel; what it would say to us by SIGIO, which ends a process, is said by a
        // signal that nobody minds.
        let asked = [(F_SETSIG, libc::SIGURG), (libc::F_SETLEASE, libc::F_RDLCK)];
        for (command, argument) in asked {
            // SAFETY: a live descriptor; both commands take a number.
            if unsafe { libc::fcntl(file.as_raw_fd(), command, argument) } != 0 {
                let error = io::Error::last_os_error();
                return Err(match error.raw_os_error() {
                    Some(libc::EAGAIN) => Lack::NotYet("somebody has it open for writing".to_owned()),
                    _ => Lack::Failed(format!("no lease: {error}")),
                });
            }
        }
        Ok(Lease(file))
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        // SAFETY: a live descriptor. A lease that is gone already is none to give back.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
    }
}

/// Opens what lies at the place itself, and is a program: a policy may be anybody's, and the daemon may read all.
fn open(place: &Path) -> Result<File, String> {
    let told = |error: io::Error| error.to_string();
    let handle =
        fs::OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(place).map_err(told)?;
    let about = handle.metadata().map_err(told)?;
    let own = Path::new("/proc/self/fd").join(handle.as_raw_fd().to_string());
    let true_place = fs::read_link(&own).map_err(told)?;
    if about.is_symlink() || true_place != place {
        let leads = fs::canonicalize(place).unwrap_or(true_place);
        return Err(format!("it is {}: write that place", leads.display()));
    }
    if !about.is_file() || about.permissions().mode() & 0o111 == 0 {
        return Err("it is no program: no file that may be run".to_owned());
    }
    if about.len() > LARGEST {
        return Err(format!("it has {} bytes, more than the limit of {LARGEST}", about.len()));
    }
    let kind = filesystem(&handle).map_err(told)?;
    if !KEEPING.iter().any(|(magic, _)| *magic == kind) {
        let known = KEEPING.map(|(_, name)| name).join(", ");
        return Err(format!(
            "its filesystem, of type {kind:#x}, does not tell of every change; it must be one of {known}"
        ));
    }
    if about.permissions().mode() & 0o022 != 0 {
        return Err("others than its owner may write it".to_owned());
    }
    // Not waiting for who holds a lease.
    fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(own).map_err(told)
}

fn filesystem(file: &File) -> io::Result<u64> {
    let mut about = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: a live descriptor, and room for the answer.
    if unsafe { libc::fstatfs(file.as_raw_fd(), about.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: filled in.
    Ok(unsafe { about.assume_init() }.f_type as u64)
}

fn identity(file: &File) -> io::Result<Identity> {
    let about = file.metadata()?;
    let mut generation: libc::c_long = 0;
    // SAFETY: a live descriptor, and room for the answer, which no filesystem makes longer.
    if unsafe { libc::ioctl(file.as_raw_fd(), libc::FS_IOC_GETVERSION, &raw mut generation) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(about.ctime()).map_err(|_| io::Error::other("it was changed before 1970"))?;
    Ok(Identity {
        number: about.ino(),
        seconds,
        nanoseconds: about.ctime_nsec() as u32,
        generation: generation as u32,
        device: device(libc::major(about.dev()), libc::minor(about.dev())),
        reserved: 0,
    })
}

fn is_settled(identity: &Identity) -> Result<(), Lack> {
    let changed = UNIX_EPOCH.checked_add(Duration::new(identity.seconds, identity.nanoseconds));
    let changed = changed.ok_or_else(|| Lack::Failed("it was changed at a time that there is not".to_owned()))?;
    let ago = SystemTime::now().duration_since(changed).unwrap_or_default();
    if ago < SETTLED {
        return Err(Lack::NotYet("it has just been changed, or the clock was set back".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_vouched_for_is_not_read() {
        let dir = std::env::temp_dir().join(format!("rgt-contents-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        fs::write(dir.join("plain"), "x").unwrap();
        std::os::unix::fs::symlink("plain", dir.join("link")).unwrap();
        std::os::unix::fs::symlink(&dir, dir.join("around")).unwrap();
        let refused = |name: &str| open(&dir.join(name)).expect_err(name);
        assert!(refused("nothing").contains("No such file"));
        assert_eq!(refused("link"), format!("it is {}: write that place", dir.join("plain").display()));
        assert_eq!(refused("around/plain"), format!("it is {}: write that place", dir.join("plain").display()));
        for other in ["plain", "."] {
            assert_eq!(refused(other), "it is no program: no file that may be run", "{other}");
        }
        assert_eq!(open(Path::new("/dev/zero")).unwrap_err(), "it is no program: no file that may be run");
        fs::set_permissions(dir.join("plain"), fs::Permissions::from_mode(0o775)).unwrap();
        // By either, whichever filesystem this is.
        let refused = refused("plain");
        assert!(refused.contains("may write it") || refused.contains("does not tell of every change"), "{refused}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn whoever_may_write_keeps_a_lease_from_being_had() {
        let path = std::env::temp_dir().join(format!("rgt-lease-{}", std::process::id()));
        let writer = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        let lack = Lease::take(&file).map(|_| ()).unwrap_err();
        assert_eq!(lack, Lack::NotYet("somebody has it open for writing".to_owned()));
        drop(writer);
        let lease = Lease::take(&file).unwrap();
        let open = |path: &Path| fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path);
        assert_eq!(open(&path).unwrap_err().raw_os_error(), Some(libc::EWOULDBLOCK));
        drop(lease);
        open(&path).unwrap();
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_has_just_changed_is_not_sure_yet() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let settled = |seconds| is_settled(&Identity { seconds, ..Identity::default() });
        assert_eq!(settled(now - 3), Ok(()));
        assert!(matches!(settled(now), Err(Lack::NotYet(_))));
        assert!(matches!(settled(now + 60), Err(Lack::NotYet(_))));
        assert!(matches!(settled(u64::MAX), Err(Lack::Failed(_))));
    }
}
