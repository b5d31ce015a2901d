//! Descriptors that the command inherits beside the three standard ones, which the caller connects by hand.
//!
//! The child sends each to itself while it is nobody's, and receives it when it is the agent's. So the kernel judges
//! it like every descriptor that comes from elsewhere, by its file's own place or its socket's peer; one that does not
//! arrive is replaced by /dev/null. Neither step is a call that is recorded.

use std::fs;
use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

const FIRST: RawFd = 3;
/// A descriptor comes with a byte of data, as an empty message brings none.
const BYTES: usize = 1;
const ROOM: usize = 64;

/// Descriptors under way from the child to itself.
pub struct Inherited {
    from: OwnedFd,
    null: OwnedFd,
    /// In the order sent; false: it could not be sent, as a ring's cannot.
    sent: Vec<(RawFd, bool)>,
}

impl Inherited {
    /// Sends them. None: there are none.
    pub fn send() -> io::Result<Option<Inherited>> {
        let inherited = listed()?;
        if inherited.is_empty() {
            return Ok(None);
        }
        let null: OwnedFd = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?.into();
        let (from, to) = pair()?;
        let mut sent = Vec::with_capacity(inherited.len());
        for fd in inherited {
            match send(&to, fd) {
                Ok(()) => sent.push((fd, true)),
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => sent.push((fd, false)),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(Inherited { from, null, sent }))
    }

    /// Receives them, and replaces those that do not arrive: their numbers.
    pub fn receive(self) -> Vec<RawFd> {
        let mut replaced = Vec::new();
        for (fd, sent) in self.sent {
            if sent && receive(&self.from) {
                continue;
            }
            // SAFETY: dup2(2) takes two open descriptors, and closes what `fd` was before.
            if unsafe { libc::dup2(self.null.as_raw_fd(), fd) } < 0 {
                // SAFETY: close(2) takes an integer; nothing here owns an inherited descriptor.
                unsafe { libc::close(fd) };
            }
            replaced.push(fd);
        }
        replaced
    }
}

/// Those that an execve leaves open.
fn listed() -> io::Result<Vec<RawFd>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let Some(fd) = name.to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        // SAFETY: fcntl(2) with F_GETFD takes integers; the directory's own descriptor is closed at an execve.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if fd >= FIRST && flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            found.push(fd);
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: `ends` has room for two descriptors, which are new and nobody else's.
    unsafe {
        if libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Room for one descriptor, aligned as its header must be.
#[repr(align(8))]
struct Room([u8; ROOM]);

/// Calls `with` with a message of one byte that has room for one descriptor.
fn with_message<T>(with: impl FnOnce(&mut libc::msghdr) -> T) -> T {
    let mut byte = [0_u8; BYTES];
    let mut room = Room([0; ROOM]);
    let mut data = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: BYTES };
    // SAFETY: an all-zero msghdr is a valid value.
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &mut data;
    message.msg_iovlen = 1;
    message.msg_control = room.0.as_mut_ptr().cast();
    // SAFETY: CMSG_SPACE only computes.
    message.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as _;
    with(&mut message)
}

fn send(to: &OwnedFd, fd: RawFd) -> io::Result<()> {
    with_message(|message| {
        // SAFETY: the message's room holds one header and one descriptor; all that it points to outlives the call.
        let sent = unsafe {
            let head = libc::CMSG_FIRSTHDR(message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
            libc::CMSG_DATA(head).cast::<RawFd>().write_unaligned(fd);
            libc::sendmsg(to.as_raw_fd(), message, libc::MSG_NOSIGNAL)
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    })
}

/// Whether the next one arrives.
fn receive(from: &OwnedFd) -> bool {
    with_message(|message| {
        // SAFETY: as for `send`; a descriptor that came is new and nobody else's.
        unsafe {
            if libc::recvmsg(from.as_raw_fd(), message, libc::MSG_CMSG_CLOEXEC) != BYTES as isize {
                return false;
            }
            let head = libc::CMSG_FIRSTHDR(message);
            if head.is_null() || (*head).cmsg_type != libc::SCM_RIGHTS {
                return false;
            }
            drop(OwnedFd::from_raw_fd(libc::CMSG_DATA(head).cast::<RawFd>().read_unaligned()));
            true
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    /// What nobody refuses arrives, and stays what it is; what cannot be sent is replaced.
    #[test]
    fn descriptors_stay_or_are_replaced() {
        let open = || fs::File::open("/proc/self/status").unwrap();
        let (kept, lost) = (open().into_raw_fd(), open().into_raw_fd());
        let (from, to) = pair().unwrap();
        send(&to, kept).unwrap();
        let null = fs::File::open("/dev/null").unwrap().into();
        let inherited = Inherited { from, null, sent: vec![(lost, false), (kept, true)] };
        assert_eq!(inherited.receive(), [lost]);
        let stands_for = |fd: RawFd| fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
        assert_eq!(stands_for(lost).to_str(), Some("/dev/null"));
        assert!(stands_for(kept).ends_with("status"), "{}", stands_for(kept).display());
        for fd in [kept, lost] {
            // SAFETY: nobody else closes what was made raw above.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
    }

    #[test]
    fn only_what_an_execve_leaves_open_is_listed() {
        let closed = fs::File::open("/dev/null").unwrap();
        // SAFETY: dup(2) takes an open descriptor; the new one is nobody else's.
        let left = unsafe { OwnedFd::from_raw_fd(libc::dup(closed.as_raw_fd())) };
        let found = listed().unwrap();
        assert!(found.contains(&left.as_raw_fd()));
        assert!(!found.contains(&closed.as_raw_fd()));
        assert!(found.iter().all(|fd| *fd >= FIRST));
    }
}
