//! Who is at the other end of a connection.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// As the kernel saw the peer when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    pub pid: u32,
    pub uid: u32,
    /// When it was started, as soon as that could be asked.
    started: Option<u64>,
}

impl Peer {
    pub fn of(stream: &UnixStream) -> io::Result<Peer> {
        let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut length = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: `credentials` is a live ucred of `length` bytes; the descriptor is open.
        let code = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&raw mut credentials).cast(),
                &mut length,
            )
        };
        if code != 0 {
            return Err(io::Error::last_os_error());
        }
        let pid = u32::try_from(credentials.pid).unwrap_or(0);
        Ok(Peer { pid, uid: credentials.uid, started: started(pid) })
    }

    /// The same process as another peer.
    #[cfg(test)]
    pub fn posing(self, pid: u32, uid: u32) -> Peer {
        Peer { pid, uid, ..self }
    }

    pub fn is_root(self) -> bool {
        self.uid == 0
    }
}

impl Peer {
    /// Whether the process that connected is there still: its socket may be another's by now, and its pid, too.
    pub fn is_there(self) -> bool {
        self.started.is_some() && started(self.pid) == self.started
    }
}

/// When a process that lives was started: with its pid it names the process.
pub fn started(pid: u32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it the state is the first word.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = String::from_utf8_lossy(&stat[end + 1..]).into_owned();
    let mut words = rest.split_ascii_whitespace();
    match words.next()? {
        "Z" | "X" | "x" => None,
        _ => words.nth(18)?.parse().ok(),
    }
}

/// Parent and users of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    pub parent: u32,
    pub uid: u32,
    pub euid: u32,
    pub gid: u32,
    /// One thread, which can gain no rights by what it executes, nor can any that it makes.
    pub bound: bool,
}

impl Identity {
    pub fn of(pid: u32) -> io::Result<Identity> {
        let status = fs::read(format!("/proc/{pid}/status"))?;
        let mut identity = Identity::default();
        let (mut alone, mut renounced) = (false, false);
        for line in status.split(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            let mut words = line.split_ascii_whitespace();
            let key = words.next();
            let mut number = || words.next().and_then(|word| word.parse::<u32>().ok()).unwrap_or(u32::MAX);
            match key {
                Some("PPid:") => identity.parent = number(),
                Some("Uid:") => {
                    identity.uid = number();
                    identity.euid = number();
                }
                Some("Gid:") => identity.gid = number(),
                Some("Threads:") => alone = number() == 1,
                Some("NoNewPrivs:") => renounced = number() == 1,
                _ => {}
            }
        }
        identity.bound = alone && renounced;
        Ok(identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended_is_not_there() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id();
        let begun = std::time::Instant::now();
        // It has ended and is not awaited: its pid is taken, and it is nobody.
        while started(pid).is_some() && begun.elapsed().as_secs() < 20 {
            std::thread::yield_now();
        }
        assert_eq!(started(pid), None);
        child.wait().unwrap();
        let gone = Peer { pid, uid: 0, started: None };
        assert!(!gone.is_there());
        let other = Peer { pid: std::process::id(), uid: 0, started: Some(1) };
        assert!(!other.is_there());
    }

    #[test]
    fn a_peer_of_ours_is_ourselves() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        assert_eq!(peer.pid, std::process::id());
        assert!(peer.is_there());
        let identity = Identity::of(peer.pid).unwrap();
        assert_eq!(identity.uid, peer.uid);
        assert_eq!(identity.parent, std::os::unix::process::parent_id());
        assert!(!identity.bound, "a test has threads, and may gain rights");
    }
}
