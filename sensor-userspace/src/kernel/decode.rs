//! A kernel event's bytes → what they say. The bytes come from the kernel, yet are read as any outside bytes.

use sensor_common::{
    action::Action,
    event::{self, end, flag, kind, pair, section},
    syscalls::{SYSCALLS, Shape, Syscall},
};

use super::{AttemptKey, Event, HookVerdict, Operand, Seen};
use crate::attempt::{ArgumentRead, Argv, Attempt, Credentials, End, WallNs};

/// Reads a plain structure off the front.
fn take<T: Copy>(bytes: &[u8]) -> Option<(T, &[u8])> {
    if bytes.len() < size_of::<T>() {
        return None;
    }
    // SAFETY: long enough, read unaligned, and every event structure is valid for any bytes.
    let value = unsafe { bytes.as_ptr().cast::<T>().read_unaligned() };
    Some((value, &bytes[size_of::<T>()..]))
}

/// The head alone: enough to count and to order.
pub fn head(bytes: &[u8]) -> Option<event::Head> {
    take::<event::Head>(bytes).map(|(head, _)| head)
}

#[derive(Default)]
struct Sections<'a> {
    path: Option<&'a [u8]>,
    path2: Option<&'a [u8]>,
    address: Option<&'a [u8]>,
    argv: Option<&'a [u8]>,
    base: Option<&'a [u8]>,
    base2: Option<&'a [u8]>,
    exe: Option<&'a [u8]>,
    objects: Vec<&'a [u8]>,
}

impl<'a> Sections<'a> {
    fn read(mut rest: &'a [u8]) -> Sections<'a> {
        let mut found = Sections::default();
        while let Some((&[tag0, tag1, len0, len1], behind)) = rest.split_first_chunk::<4>() {
            let len = usize::from(u16::from_le_bytes([len0, len1]));
            let Some((bytes, next)) = behind.split_at_checked(len) else { break };
            // What was read later counts: it was readable then.
            match u16::from_le_bytes([tag0, tag1]) {
                section::PATH => found.path = Some(bytes),
                section::PATH2 => found.path2 = Some(bytes),
                section::ADDRESS => found.address = Some(bytes),
                section::ARGV => found.argv = Some(bytes),
                section::BASE => found.base = Some(bytes),
                section::BASE2 => found.base2 = Some(bytes),
                section::EXE => found.exe = Some(bytes),
                section::OBJECT => found.objects.push(bytes),
                _ => {}
            }
            rest = next;
        }
        found
    }
}

/// `c\0b\0a\0` → `/a/b/c`.
fn path_from_names(names: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(names.len() + 1);
    for name in names.split(|byte| *byte == 0).rev().filter(|name| !name.is_empty()) {
        path.push(b'/');
        path.extend_from_slice(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    path
}

fn strings(bytes: &[u8]) -> Vec<Vec<u8>> {
    let bytes = bytes.strip_suffix(&[0]).unwrap_or(bytes);
    if bytes.is_empty() { Vec::new() } else { bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect() }
}

/// An address as a person writes it: `1.2.3.4:80`, `[::1]:80`, `/run/s`, `@name`, `family:N`.
pub fn address(bytes: &[u8]) -> Option<Vec<u8>> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let family = u16::from_le_bytes(*family);
    let text = match i32::from(family) {
        libc::AF_INET if rest.len() >= 6 => {
            let port = u16::from_be_bytes([rest[0], rest[1]]);
            format!("{}:{port}", std::net::Ipv4Addr::new(rest[2], rest[3], rest[4], rest[5]))
        }
        libc::AF_INET6 if rest.len() >= 22 => {
            let port = u16::from_be_bytes([rest[0], rest[1]]);
            let octets: [u8; 16] = rest[6..22].try_into().ok()?;
            format!("[{}]:{port}", std::net::Ipv6Addr::from(octets))
        }
        libc::AF_UNIX => return Some(unix_name(rest)),
        libc::AF_UNSPEC => "unspec:".to_owned(),
        libc::AF_NETLINK if rest.len() >= 10 => {
            format!("netlink:{}", u32::from_le_bytes(rest[2..6].try_into().ok()?))
        }
        libc::AF_VSOCK if rest.len() >= 10 => {
            let port = u32::from_le_bytes(rest[2..6].try_into().ok()?);
            let cid = u32::from_le_bytes(rest[6..10].try_into().ok()?);
            format!("vsock:{cid}:{port}")
        }
        _ => format!("family:{family}"),
    };
    Some(text.into_bytes())
}

fn unix_name(rest: &[u8]) -> Vec<u8> {
    match rest {
        [] => b"unix:".to_vec(),
        [0, name @ ..] => [b"@", name].concat(),
        name => name.split(|byte| *byte == 0).next().unwrap_or_default().to_vec(),
    }
}

/// What the call means, from its arguments.
fn meaning(row: &Syscall, nr_args: &[u64; 6], flags: u32, result: Option<i64>) -> Vec<(Action, Operand)> {
    use Operand::{First, Second};
    let succeeded = result.is_some_and(|result| result >= 0);
    match row.shape {
        Shape::Open => open(nr_args[usize::from(row.flags) % 6], flags, succeeded),
        Shape::OpenHow => open(nr_args[5], flags, succeeded),
        _ => match row.name {
            "creat" => open((libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64, flags, succeeded),
            "rename" | "renameat" | "renameat2" => {
                let how = if row.name == "renameat2" { nr_args[4] as u32 } else { 0 };
                let mut means =
                    vec![(Action::FileRename, First), (Action::FileDelete, First), (Action::FileCreate, Second)];
                // Whether something stood there is not known from the argument: it may be renamed over.
                if how & libc::RENAME_NOREPLACE == 0 {
                    means.push((Action::FileDelete, Second));
                }
                means
            }
            "link" | "linkat" => vec![(Action::FileLink, First), (Action::FileCreate, Second)],
            "symlink" | "symlinkat" => vec![(Action::FileLink, Second), (Action::FileCreate, Second)],
            // i386's 64-bit lengths come in two words.
            "truncate64" | "ftruncate64" if nr_args[1] | nr_args[2] != 0 => vec![(Action::FileWrite, First)],
            "truncate" | "ftruncate" | "truncate64" | "ftruncate64" if nr_args[1] == 0 => {
                vec![(Action::FileWrite, First), (Action::FileDelete, First)]
            }
            "sendto" if nr_args[3] as i32 & libc::MSG_FASTOPEN != 0 => {
                vec![(Action::NetSend, First), (Action::NetConnect, First)]
            }
            _ => vec![(row.action, First)],
        },
    }
}

fn open(how: u64, flags: u32, succeeded: bool) -> Vec<(Action, Operand)> {
    let how = how as i32;
    let writes = how & libc::O_ACCMODE != libc::O_RDONLY;
    let reads = how & libc::O_ACCMODE != libc::O_WRONLY;
    let created = flags & flag::CREATED != 0;
    let regular = flags & flag::SPECIAL == 0;
    let mut means = Vec::with_capacity(4);
    // The most telling first: it names the attempt.
    if how & libc::O_TMPFILE == libc::O_TMPFILE || how & libc::O_CREAT != 0 && (created || !succeeded) {
        means.push(Action::FileCreate);
    }
    if writes {
        means.push(Action::FileWrite);
    }
    if reads {
        means.push(if how & libc::O_DIRECTORY != 0 && !writes { Action::DirList } else { Action::FileRead });
    }
    // A file just made has nothing to lose, nor has a device.
    if how & libc::O_TRUNC != 0 && writes && !created && regular {
        means.push(Action::FileDelete);
    }
    means.into_iter().map(|action| (action, Operand::First)).collect()
}

/// The action an attempt is called by.
fn called_by(row: &Syscall, means: &[(Action, Operand)], flags: u32) -> Action {
    match row.shape {
        Shape::Open | Shape::OpenHow => {
            let has = |action| means.iter().any(|(each, _)| *each == action);
            if flags & flag::CREATED != 0 {
                Action::FileCreate
            } else if has(Action::FileWrite) {
                Action::FileWrite
            } else {
                means.last().map_or(row.action, |(action, _)| *action)
            }
        }
        _ => row.action,
    }
}

/// What it takes to put the kernel's words into ours.
pub struct Reader<'a> {
    /// The wall's clock less the kernel's.
    pub clock_offset: u64,
    /// Where a filesystem stands, by the daemon's number for it.
    pub place: &'a dyn Fn(u32) -> Option<Vec<u8>>,
}

impl Reader<'_> {
    fn wall(&self, kernel: u64) -> WallNs {
        kernel.saturating_add(self.clock_offset)
    }

    /// An object section: the filesystem's number, then names deepest first.
    fn object(&self, section: &[u8]) -> Option<Vec<u8>> {
        let (number, names) = section.split_first_chunk::<4>()?;
        let below = path_from_names(names);
        match (self.place)(u32::from_le_bytes(*number)) {
            Some(place) if below == b"/" && !place.is_empty() => Some(place),
            Some(place) => Some([place, below].concat()),
            None => Some([b"foreign:".as_slice(), &below].concat()),
        }
    }
}

/// An attempt; `pending` for one that is still under way.
pub fn attempt(bytes: &[u8], pending: bool, reader: &Reader<'_>) -> Option<Seen> {
    let (raw, rest) = take::<event::Attempt>(bytes)?;
    let row = SYSCALLS.get(usize::from(raw.syscall).checked_sub(1)?)?;
    let sections = Sections::read(rest.get(..raw.sections as usize)?);
    let result = (!pending && raw.end == end::RETURNED).then_some(raw.result);
    let mut means = meaning(row, &raw.args, raw.flags, result);
    let by_address = matches!(row.shape, Shape::Address | Shape::Message);
    let argument = if by_address {
        sections.address.and_then(address)
    } else {
        sections.path.map(<[u8]>::to_vec)
    };
    let takes_argument = by_address && raw.args[usize::from(row.pointer) % 6] != 0 || row.path != sensor_common::syscalls::NONE;
    let base = sections.base.filter(|_| raw.flags & flag::BASE_TRUNCATED == 0).map(|names| match raw.flags & flag::NAMELESS {
        0 => path_from_names(names),
        _ => [b"anon:", names.split(|byte| *byte == 0).next().unwrap_or_default()].concat(),
    });
    // A lone descriptor, or an empty path beside one: the place it leads to is the object.
    let by_descriptor = row.dirfd != sensor_common::syscalls::NONE
        && argument.as_ref().is_none_or(Vec::is_empty)
        && raw.args[usize::from(row.dirfd) % 6] as i32 != libc::AT_FDCWD;
    let objects: Vec<Vec<u8>> = sections.objects.iter().filter_map(|object| reader.object(object)).collect();
    let hooks = hooks(&raw, &objects);
    if row.name == "io_uring" {
        means = hooks.iter().map(|found| (found.action, Operand::First)).collect();
    }
    let mut actions: Vec<Action> = Vec::with_capacity(means.len());
    for (action, _) in &means {
        if !actions.contains(action) {
            actions.push(*action);
        }
    }
    let mut incomplete = Vec::new();
    if raw.flags & flag::UNREADABLE != 0 && result != Some(-i64::from(libc::EFAULT)) {
        incomplete.push("argument");
    }
    if raw.flags & flag::SECTIONS_FULL != 0 {
        incomplete.push("sections");
    }
    let relative = |argument: &Option<Vec<u8>>| argument.as_ref().is_some_and(|path| !path.is_empty() && path[0] != b'/');
    let argument2 = sections.path2.map(<[u8]>::to_vec);
    let base2 = sections.base2.map(path_from_names);
    Some(Seen {
        agent: raw.head.agent,
        key: AttemptKey { task: raw.task, seq: raw.seq, tid: raw.head.tid },
        attempt: Attempt {
            at: reader.wall(raw.head.at),
            syscall: row.name,
            compat: raw.flags & flag::COMPAT != 0,
            action: if row.name == "io_uring" {
                actions.first().copied().unwrap_or(row.action)
            } else {
                called_by(row, &means, raw.flags)
            },
            actions,
            argument_read: if raw.flags & flag::UNREADABLE != 0 || argument.is_none() && takes_argument {
                ArgumentRead::None
            } else if raw.flags & flag::READ_AT_RETURN != 0 {
                ArgumentRead::Return
            } else {
                ArgumentRead::Entry
            },
            directory: base.clone().filter(|_| !by_address && relative(&argument)),
            directory2: base2.clone().filter(|_| relative(&argument2)),
            argument,
            argument2,
            object: objects.first().cloned().or_else(|| base.clone().filter(|_| by_descriptor)),
            object2: objects.get(1).cloned(),
            end: match raw.end {
                _ if pending => End::Pending,
                end::RETURNED => End::Returned(raw.result),
                end::KILLED => End::Killed,
                _ => End::Unknown,
            },
            pid: raw.head.pid,
            tid: raw.head.tid,
            exe_chain: Vec::new(),
            argv: sections.argv.map(|bytes| Argv {
                args: strings(bytes),
                truncated: raw.flags & flag::ARGV_TRUNCATED != 0,
            }),
            credentials: Credentials {
                uid: raw.uid,
                gid: raw.gid,
                euid: raw.euid,
                egid: raw.egid,
                caps: raw.caps,
            },
            late: false,
            incomplete,
        },
        means,
        base,
        base2,
        hooks,
        execed: (raw.flags & flag::EXECED != 0).then(|| sections.exe.map(path_from_names)).flatten(),
    })
}

fn hooks(raw: &event::Attempt, objects: &[Vec<u8>]) -> Vec<HookVerdict> {
    raw.pair
        .iter()
        .take(usize::from(raw.pairs))
        .enumerate()
        .filter_map(|(position, found)| {
            Some(HookVerdict {
                action: Action::from_number(found.action)?,
                object: objects.get(position).cloned(),
                effect: found.effect,
                rule: (found.rule != event::NO_RULE).then_some(found.rule),
                would: (found.would != event::NO_RULE).then_some(found.would),
                unknown: found.flags & pair::UNKNOWN != 0,
                blocked: found.flags & pair::BLOCKED != 0,
            })
        })
        .collect()
}

/// Any event, handed on in the order it has; a successful exec is two.
pub fn event(bytes: &[u8], reader: &Reader<'_>, each: &mut dyn FnMut(Event)) {
    let Some(head) = head(bytes) else { return };
    if head.kind == kind::ATTEMPT {
        if let Some(seen) = attempt(bytes, false, reader) {
            let execed = seen.execed.clone().map(|exe| Event::Exec { agent: seen.agent, pid: seen.attempt.pid, exe });
            each(Event::Attempt(Box::new(seen)));
            if let Some(exec) = execed {
                each(exec);
            }
        }
        return;
    }
    let Some((life, _)) = take::<event::Lifecycle>(bytes) else { return };
    let (agent, pid, tid) = (life.head.agent, life.head.pid, life.head.tid);
    match head.kind {
        kind::FORK => each(Event::Fork { agent, parent: life.other, pid, thread: life.thread != 0 }),
        kind::JOIN => each(Event::Join { agent, pid }),
        kind::EXIT => each(Event::Exit { agent, pid, tid }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        let v4 = [2, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(address(&v4).as_deref(), Some(&b"1.2.3.4:80"[..]));
        let mut v6 = vec![10, 0, 0, 80, 0, 0, 0, 0];
        v6.extend([0; 15]);
        v6.extend([1, 0, 0, 0, 0]);
        assert_eq!(address(&v6).as_deref(), Some(&b"[::1]:80"[..]));
        assert_eq!(address(b"\x01\0/run/s\0junk").as_deref(), Some(&b"/run/s"[..]));
        assert_eq!(address(b"\x01\0\0name").as_deref(), Some(&b"@name"[..]));
        assert_eq!(address(b"\x02"), None);
        assert_eq!(address(b"\x02\0\0").as_deref(), Some(&b"family:2"[..]));
    }

    #[test]
    fn places_are_turned_round() {
        assert_eq!(path_from_names(b"c\0b\0a\0"), b"/a/b/c");
        assert_eq!(path_from_names(b""), b"/");
    }

    #[test]
    fn an_open_means_what_its_flags_say() {
        let verbs = |how: i32, flags, done| {
            open(how as u64, flags, done).into_iter().map(|(action, _)| action).collect::<Vec<_>>()
        };
        assert_eq!(verbs(libc::O_RDONLY, 0, true), [Action::FileRead]);
        assert_eq!(verbs(libc::O_RDONLY | libc::O_DIRECTORY, 0, true), [Action::DirList]);
        let make = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC;
        assert_eq!(verbs(make, flag::CREATED, true), [Action::FileCreate, Action::FileWrite]);
        assert_eq!(verbs(make, 0, true), [Action::FileWrite, Action::FileDelete]);
        assert_eq!(verbs(make, flag::SPECIAL, true), [Action::FileWrite]);
        assert_eq!(verbs(make, 0, false), [Action::FileCreate, Action::FileWrite, Action::FileDelete]);
    }

    #[test]
    fn any_bytes_are_survived() {
        let reader = Reader { clock_offset: u64::MAX, place: &|_| None };
        let mut state = 0x1234_5678_9abc_def0_u64;
        for round in 0..20_000 {
            let bytes: Vec<u8> = (0..round % 600)
                .map(|_| {
                    state ^= state << 13;
                    state ^= state >> 7;
                    state ^= state << 17;
                    state as u8
                })
                .collect();
            event(&bytes, &reader, &mut |_| {});
            let mut typed = bytes;
            if typed.len() > 8 {
                typed[..2].copy_from_slice(&kind::ATTEMPT.to_le_bytes());
                event(&typed, &reader, &mut |_| {});
            }
        }
    }
}
