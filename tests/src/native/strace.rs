//! What `strace -f -xx` wrote, call by call. With `-xx` a string is hexadecimal throughout: no quote,
//! comma or bracket of the text's own is a string's.

use std::collections::{BTreeSet, HashMap};

/// The system's calls that a run is asked for, as `-e trace=` takes them; unknown to this strace is no error.
pub fn filter() -> String {
    let names: Vec<String> = sensor_common::syscalls::SYSCALLS
        .iter()
        .filter(|row| row.nr64.is_some())
        .map(|row| format!("?{}", row.name))
        .collect();
    format!("trace={}", names.join(","))
}

/// How a call came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Done,
    Failed(i32),
    /// strace's `?`: to be restarted, or never came back.
    Unseen,
}

#[derive(Clone, Debug)]
pub struct Call {
    pub tid: u64,
    pub name: String,
    /// The first path, or the address.
    pub argument: Option<Vec<u8>>,
    pub outcome: Outcome,
}

#[derive(Default)]
pub struct Trace {
    pub calls: Vec<Call>,
    /// Every task seen.
    pub tids: BTreeSet<u64>,
}

impl Trace {
    pub fn parse(text: &str) -> Trace {
        let mut trace = Trace::default();
        let mut begun: HashMap<u64, String> = HashMap::new();
        for line in text.lines() {
            let (tid, rest) = line.split_once(' ').unwrap_or_else(|| panic!("strace: {line}"));
            let tid: u64 = tid.parse().unwrap_or_else(|_| panic!("strace: {line}"));
            let rest = rest.trim_start();
            trace.tids.insert(tid);
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            let mut whole = match rest.strip_prefix("<... ") {
                Some(resumed) => {
                    let (_, tail) = resumed.split_once(" resumed>").unwrap_or_else(|| panic!("strace: {line}"));
                    begun.remove(&tid).unwrap_or_else(|| panic!("strace: {line}: not begun")) + tail
                }
                None => rest.to_owned(),
            };
            if let Some(head) = whole.strip_suffix("<unfinished ...>") {
                begun.insert(tid, head.trim_end().to_owned());
                continue;
            }
            if let Some((head, changed)) = whole.rsplit_once("<pid changed to ") {
                let to = changed.trim_end_matches(" ...>").parse().unwrap();
                begun.insert(to, head.trim_end().to_owned());
                continue;
            }
            // A call that never came back: `exit` as strace 6 shows it, or killed.
            if !whole.contains(" = ") {
                whole.push_str(") = ?");
            }
            trace.calls.push(call(tid, &whole));
        }
        for (tid, head) in begun {
            trace.calls.push(call(tid, &format!("{head}) = ?")));
        }
        trace
    }
}

fn call(tid: u64, text: &str) -> Call {
    let (name, rest) = text.split_once('(').unwrap_or_else(|| panic!("strace: {text}"));
    let (args, result) = rest.rsplit_once(" = ").unwrap_or_else(|| panic!("strace: {text}"));
    let args = args.trim_end().strip_suffix(')').unwrap_or(args);
    let mut words = result.split_whitespace();
    let outcome = match (words.next(), words.next()) {
        (Some("?"), _) => Outcome::Unseen,
        (Some("-1"), Some(error)) => Outcome::Failed(errno(error)),
        _ => Outcome::Done,
    };
    Call { tid, name: name.to_owned(), argument: argument(name, &split(args)), outcome }
}

/// Arguments as they stand at the top level.
fn split(args: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0_i32, 0, Vec::new());
    for (at, byte) in args.bytes().enumerate() {
        match byte {
            b'{' | b'[' | b'(' => depth += 1,
            b'}' | b']' | b')' => depth -= 1,
            b',' if depth == 0 => {
                found.push(args[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(args[start..].trim());
    found
}

/// Known to us, not taken from the table under test.
fn argument(name: &str, args: &[&str]) -> Option<Vec<u8>> {
    let arg = |number: usize| args.get(number).copied();
    match name {
        "execve" | "open" | "creat" | "mkdir" | "mknod" | "unlink" | "rmdir" | "rename" | "link" | "symlink"
        | "symlinkat" | "truncate" | "chmod" | "chown" | "lchown" | "setxattr" | "lsetxattr" | "removexattr"
        | "lremovexattr" | "utime" | "utimes" | "mount" | "umount2" | "fsopen" | "pivot_root" | "chroot" => {
            string(arg(0)?)
        }
        "execveat" | "openat" | "openat2" | "mkdirat" | "mknodat" | "unlinkat" | "renameat" | "renameat2"
        | "linkat" | "fchmodat" | "fchmodat2" | "fchownat" | "setxattrat" | "removexattrat" | "utimensat"
        | "futimesat" | "open_tree" | "move_mount" | "fspick" | "mount_setattr" => string(arg(1)?),
        "connect" | "bind" => address(arg(1)?),
        "sendto" => address(arg(4)?),
        "sendmsg" | "sendmmsg" => {
            let (_, name) = arg(1)?.split_once("msg_name=")?;
            address(name)
        }
        "kill" | "tkill" | "rt_sigqueueinfo" | "pidfd_send_signal" => Some(signal(arg(1)?)),
        "tgkill" | "rt_tgsigqueueinfo" => Some(signal(arg(2)?)),
        _ => None,
    }
}

/// Real-time signals, which strace counts as the kernel does, have no names in records.
fn signal(text: &str) -> Vec<u8> {
    let behind_first = match text.strip_prefix("SIGRT_") {
        _ if text == "SIGRTMIN" => Some(0),
        Some(count) => count.parse::<u8>().ok(),
        None => None,
    };
    behind_first.map_or_else(|| text.to_owned(), |count| (32 + count).to_string()).into_bytes()
}

/// The quoted string at the front.
fn string(text: &str) -> Option<Vec<u8>> {
    let (hex, rest) = text.strip_prefix('"')?.split_once('"')?;
    assert!(!rest.starts_with("..."), "strace cut a string: {text}");
    Some(hex.split("\\x").skip(1).map(|digits| u8::from_str_radix(digits, 16).unwrap()).collect())
}

fn after<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.split_once(key).map(|(_, rest)| rest)
}

fn number(text: &str) -> String {
    text.chars().take_while(char::is_ascii_digit).collect()
}

fn plain(text: &str) -> Option<String> {
    string(text).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

fn address(text: &str) -> Option<Vec<u8>> {
    let family = after(text.strip_prefix('{')?, "sa_family=")?;
    let family = family.split([',', '}']).next()?;
    let written = match family {
        "AF_UNIX" => {
            return Some(match after(text, "sun_path=") {
                None => b"unix:".to_vec(),
                Some(name) => match name.strip_prefix('@') {
                    Some(name) => [b"@".to_vec(), string(name)?].concat(),
                    None => string(name)?,
                },
            });
        }
        "AF_INET" => {
            format!("{}:{}", plain(after(text, "inet_addr(")?)?, number(after(text, "sin_port=htons(")?))
        }
        "AF_INET6" => {
            let host = plain(after(text, "inet_pton(AF_INET6, ")?)?;
            format!("[{host}]:{}", number(after(text, "sin6_port=htons(")?))
        }
        "AF_NETLINK" => format!("netlink:{}", number(after(text, "nl_pid=")?)),
        "AF_UNSPEC" => "unspec:".to_owned(),
        other => format!("family:{other}"),
    };
    Some(written.into_bytes())
}

fn errno(name: &str) -> i32 {
    const NAMES: &[(&str, i32)] = &[
        ("EPERM", 1),
        ("ENOENT", 2),
        ("ESRCH", 3),
        ("EINTR", 4),
        ("EIO", 5),
        ("ENXIO", 6),
        ("E2BIG", 7),
        ("ENOEXEC", 8),
        ("EBADF", 9),
        ("ECHILD", 10),
        ("EAGAIN", 11),
        ("ENOMEM", 12),
        ("EACCES", 13),
        ("EFAULT", 14),
        ("ENOTBLK", 15),
        ("EBUSY", 16),
        ("EEXIST", 17),
        ("EXDEV", 18),
        ("ENODEV", 19),
        ("ENOTDIR", 20),
        ("EISDIR", 21),
        ("EINVAL", 22),
        ("ENFILE", 23),
        ("EMFILE", 24),
        ("ENOTTY", 25),
        ("ETXTBSY", 26),
        ("EFBIG", 27),
        ("ENOSPC", 28),
        ("ESPIPE", 29),
        ("EROFS", 30),
        ("EMLINK", 31),
        ("EPIPE", 32),
        ("ENAMETOOLONG", 36),
        ("ENOSYS", 38),
        ("ENOTEMPTY", 39),
        ("ELOOP", 40),
        ("ENODATA", 61),
        ("ENOTSOCK", 88),
        ("EDESTADDRREQ", 89),
        ("EMSGSIZE", 90),
        ("EOPNOTSUPP", 95),
        ("EAFNOSUPPORT", 97),
        ("EADDRINUSE", 98),
        ("EADDRNOTAVAIL", 99),
        ("ENETUNREACH", 101),
        ("ECONNRESET", 104),
        ("EISCONN", 106),
        ("ENOTCONN", 107),
        ("ETIMEDOUT", 110),
        ("ECONNREFUSED", 111),
        ("EHOSTUNREACH", 113),
        ("EALREADY", 114),
        ("EINPROGRESS", 115),
    ];
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number).unwrap_or_else(|| panic!("errno {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupted_lines_are_joined() {
        let trace = Trace::parse(
            "7  openat(AT_FDCWD, \"\\x2f\\x2c\\x22\", O_RDONLY <unfinished ...>\n\
             8  connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr(\"\\x31\\x2e\\x32\\x2e\\x33\\x2e\\x34\")}, 16) = -1 ECONNREFUSED (Connection refused)\n\
             7  <... openat resumed>)             = 3\n\
             7  --- SIGCHLD {si_signo=SIGCHLD} ---\n\
             7  rename(NULL, 0x7ff) = -1 EFAULT (Bad address)\n\
             9  kill(7, SIGKILL <unfinished ...>\n\
             9  +++ killed by SIGKILL +++\n",
        );
        let calls: Vec<_> = trace
            .calls
            .iter()
            .map(|call| (call.tid, call.name.as_str(), call.argument.as_deref(), call.outcome))
            .collect();
        assert_eq!(
            calls,
            [
                (8, "connect", Some(&b"1.2.3.4:80"[..]), Outcome::Failed(111)),
                (7, "openat", Some(&b"/,\""[..]), Outcome::Done),
                (7, "rename", None, Outcome::Failed(14)),
                (9, "kill", Some(&b"SIGKILL"[..]), Outcome::Unseen),
            ]
        );
    }
}
