//! A kernel event's bytes → what they say. The bytes come from the kernel, yet are read as any outside bytes.

use std::net::{Ipv6Addr, SocketAddr};

use sensor_common::{
    action::Action,
    event::{self, end, flag, kind, pair, program, section},
    numbers::LAST_SIGNAL,
    syscalls::{SYSCALLS, Shape, Syscall},
};

use super::{
    AttemptKey, Event, HookVerdict, Seen,
    meaning::{as_found, called_by, meaning},
    parameters,
};
use crate::attempt::{ArgumentRead, Argv, Attempt, Credentials, End, WallNs};
use crate::policy::Numbered;

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
    root: Option<&'a [u8]>,
    exe: Option<&'a [u8]>,
    /// By position, as the pairs have it; none for a pair without such an object.
    objects: Vec<Option<&'a [u8]>>,
    watched: Vec<&'a [u8]>,
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
                section::ROOT => found.root = Some(bytes),
                section::EXE => found.exe = Some(bytes),
                section::OBJECT => found.objects.push(Some(bytes).filter(|bytes| !bytes.is_empty())),
                section::WATCHED => found.watched.push(bytes),
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

/// The signal that a call sends, as it is called; `0` for none.
fn signal(row: &Syscall, args: &[u64; 6]) -> Option<Vec<u8>> {
    if row.action != Action::ProcSignal {
        return None;
    }
    let position = if matches!(row.name, "tgkill" | "rt_tgsigqueueinfo") { 2 } else { 1 };
    // Of what no signal is, too, the number is told.
    let number = args[position] as i32;
    let which = u8::try_from(number).ok().filter(|which| (1..=LAST_SIGNAL).contains(which));
    Some(which.map_or_else(|| number.to_string(), |which| Numbered::Signal.name(which)).into_bytes())
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
    fn object(&self, section: &[u8], action: Action, nameless: bool) -> Option<Vec<u8>> {
        let (number, names) = section.split_first_chunk::<4>()?;
        if nameless {
            let name = names.split(|byte| *byte == 0).next().unwrap_or_default();
            return Some(if name.starts_with(b"memfd:") { name.to_vec() } else { [b"anon:", name].concat() });
        }
        let number = u32::from_le_bytes(*number);
        if number == section::ABSTRACT {
            return Some([b"@", names].concat());
        }
        if number == section::NUMBERED {
            let which = names.try_into().map(u32::from_le_bytes).ok()?;
            return Some(Numbered::of(action)?.name(u8::try_from(which).ok()?).into_bytes());
        }
        if number == section::ADDRESSED {
            return reached(names);
        }
        let below = path_from_names(names);
        match (self.place)(number) {
            Some(place) if below == b"/" && !place.is_empty() => Some(place),
            Some(place) => Some([place, below].concat()),
            None => Some([b"foreign:".as_slice(), &below].concat()),
        }
    }
}

/// An address as a hook had it: `1.2.3.4:80`, `[::1]:80`.
fn reached(bytes: &[u8]) -> Option<Vec<u8>> {
    let (address, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::try_from(port.try_into().map(u32::from_le_bytes).ok()?).ok()?;
    let to = SocketAddr::new(Ipv6Addr::from(*address).to_canonical(), port);
    Some(to.to_string().into_bytes())
}

/// An attempt; `pending` for one that is still under way.
pub fn attempt(bytes: &[u8], pending: bool, reader: &Reader<'_>) -> Option<Seen> {
    let (raw, rest) = take::<event::Attempt>(bytes)?;
    let row = SYSCALLS.get(usize::from(raw.syscall).checked_sub(1)?)?;
    let sections = Sections::read(rest.get(..raw.sections as usize)?);
    let result = (!pending && raw.end == end::RETURNED).then_some(raw.result);
    // An open that takes long is one of a pipe or a device: there is nothing to cut. Its outcome says for sure.
    let flags = raw.flags | if pending { flag::SPECIAL } else { 0 };
    let mut means = meaning(row, &raw.args, flags, result);
    let by_address = matches!(row.shape, Shape::Address | Shape::Message);
    let argument = if by_address {
        sections.address.and_then(address)
    } else {
        sections.path.map(<[u8]>::to_vec).or_else(|| signal(row, &raw.args))
    };
    let takes_argument =
        by_address && raw.args[usize::from(row.pointer) % 6] != 0 || row.path != sensor_common::syscalls::NONE;
    // An absolute path that was unreadable at entry starts from the root after all.
    let root = |path: Option<&[u8]>| sections.root.filter(|_| path.is_some_and(|path| path.starts_with(b"/")));
    let base = match root(sections.path) {
        Some(root) => Some(path_from_names(root)),
        None => sections.base.map(|names| match raw.flags & flag::NAMELESS {
            0 => path_from_names(names),
            _ => [b"anon:", names.split(|byte| *byte == 0).next().unwrap_or_default()].concat(),
        }),
    };
    let base = base.filter(|_| raw.flags & flag::BASE_TRUNCATED == 0);
    // A lone descriptor, or an empty path beside one: the place it leads to is the object.
    let by_descriptor = row.dirfd != sensor_common::syscalls::NONE
        && argument.as_ref().is_none_or(Vec::is_empty)
        && raw.args[usize::from(row.dirfd) % 6] as i32 != libc::AT_FDCWD;
    let hooks = hooks(&raw, &sections, reader, result);
    as_found(row, &mut means, &hooks);
    let (used, acted): (Vec<_>, Vec<_>) = hooks.iter().partition(|hook| hook.action == Action::SysCapability);
    // A call's object is what it is about; a capability is that where nothing but its use was seen.
    let about = if row.is_of_hooks() && acted.is_empty() { &used } else { &acted };
    let mut objects = about.iter().filter_map(|hook| hook.object.as_ref());
    let object = objects.next();
    let object2 = objects.find(|other| Some(*other) != object).cloned();
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
    // The kernel refuses a name over PATH_MAX; of one we hold the beginning.
    let cut = |path: &Option<Vec<u8>>| path.as_ref().is_some_and(|path| path.len() + 1 >= event::PATH_ROOM);
    if result == Some(-i64::from(libc::ENAMETOOLONG)) && cut(&argument) {
        incomplete.push("argument");
    }
    if raw.flags & flag::SECTIONS_FULL != 0 {
        incomplete.push("sections");
    }
    // An absolute name that starts at the root of all says so itself.
    let directory = |argument: &Option<Vec<u8>>, base: &Option<Vec<u8>>| {
        base.clone().filter(|base| match argument.as_deref() {
            None | Some([]) => false,
            Some([b'/', ..]) => base != b"/",
            Some(_) => true,
        })
    };
    let argument2 = sections.path2.map(<[u8]>::to_vec);
    let base2 = root(sections.path2).or(sections.base2).map(path_from_names);
    Some(Seen {
        agent: raw.head.agent,
        key: AttemptKey { task: raw.task, seq: raw.seq, tid: raw.head.tid },
        attempt: Attempt {
            at: reader.wall(raw.head.at),
            syscall: row.name,
            compat: raw.flags & flag::COMPAT != 0,
            action: if row.is_of_hooks() {
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
            directory: directory(&argument, &base).filter(|_| !by_address),
            directory2: directory(&argument2, &base2),
            argument,
            argument2,
            object: object.cloned().or_else(|| base.clone().filter(|_| by_descriptor)),
            object2,
            capability: capability(&used),
            end: match raw.end {
                _ if pending => End::Pending,
                end::RETURNED => End::Returned(raw.result),
                end::KILLED => End::Killed,
                _ => End::Unknown,
            },
            pid: raw.head.pid,
            tid: raw.head.tid,
            exe_chain: Vec::new(),
            parameters: parameters::given(row.name, raw.flags & flag::COMPAT != 0, &raw.args),
            argv: sections
                .argv
                .map(|bytes| Argv { args: strings(bytes), truncated: raw.flags & flag::ARGV_TRUNCATED != 0 }),
            credentials: Credentials { uid: raw.uid, gid: raw.gid, euid: raw.euid, egid: raw.egid, caps: raw.caps },
            late: false,
            incomplete,
        },
        means,
        base,
        base2,
        hooks,
        generation: raw.generation,
        execed: (raw.flags & flag::EXECED != 0).then(|| sections.exe.map(path_from_names)).flatten(),
        answered: Vec::new(),
    })
}

/// Each of the capabilities once, in the order in which they were used.
fn capability(used: &[&HookVerdict]) -> Option<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in used.iter().filter_map(|hook| std::str::from_utf8(hook.object.as_ref()?).ok()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    (!names.is_empty()).then(|| names.join(","))
}

fn hooks(raw: &event::Attempt, sections: &Sections<'_>, reader: &Reader<'_>, result: Option<i64>) -> Vec<HookVerdict> {
    let found = raw.pair.iter().take(usize::from(raw.pairs)).enumerate();
    found
        .filter_map(|(position, found)| {
            let action = Action::from_number(found.action)?;
            let nameless = found.flags & pair::NAMELESS != 0;
            // What was there already was not made, whether or not that was refused.
            let was_there = action == Action::FileCreate && result == Some(-i64::from(libc::EEXIST));
            Some(HookVerdict {
                action,
                object: sections
                    .objects
                    .get(position)
                    .copied()
                    .flatten()
                    .and_then(|object| reader.object(object, action, nameless)),
                effect: found.effect,
                rule: (found.rule != event::NO_RULE).then_some(found.rule),
                would: (found.would != event::NO_RULE).then_some(found.would),
                unknown: found.flags & pair::UNKNOWN != 0,
                blocked: found.flags & pair::BLOCKED != 0 && !was_there,
                written: found.flags & pair::WRITTEN != 0,
                program_unknown: found.program & program::UNKNOWN != 0,
                by_program: found.program & program::DECIDES != 0,
                watched: watched(&sections.watched, position),
            })
        })
        .collect()
}

/// The watching rules of the pair at this position.
fn watched(sections: &[&[u8]], position: usize) -> Vec<u16> {
    let word = |bytes: &[u8]| bytes.try_into().map(u16::from_le_bytes).unwrap_or(event::NO_RULE);
    let of_pair =
        sections.iter().filter(|section| section.get(..2).is_some_and(|first| usize::from(word(first)) == position));
    of_pair.flat_map(|section| section[2..].chunks_exact(2).map(word)).collect()
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

    /// An attempt's bytes: its pairs, and the sections as they follow.
    fn bytes(number: u16, pairs: &[event::Pair], sections: &[u8]) -> Vec<u8> {
        let mut raw = event::Attempt { syscall: number, pairs: pairs.len() as u8, ..event::Attempt::default() };
        raw.head.kind = kind::ATTEMPT;
        raw.sections = sections.len() as u32;
        raw.pair[..pairs.len()].copy_from_slice(pairs);
        // SAFETY: a plain structure without padding that matters here.
        let fixed = unsafe { std::slice::from_raw_parts((&raw const raw).cast::<u8>(), size_of::<event::Attempt>()) };
        [fixed, sections].concat()
    }

    #[test]
    fn objects_belong_to_the_pair_at_their_position() {
        let number = SYSCALLS.iter().position(|row| row.name == "io_uring").unwrap() as u16 + 1;
        let found = |action: Action, flags| event::Pair {
            action: action as u8,
            flags,
            rule: event::NO_RULE,
            would: event::NO_RULE,
            ..event::Pair::default()
        };
        let pairs = [
            found(Action::NetSend, pair::ADDRESS),
            found(Action::FileWrite, 0),
            found(Action::ProcExec, pair::NAMELESS),
        ];
        let mut sections = vec![8, 0, 0, 0];
        sections.extend(*b"\x08\0\x08\0\x07\0\0\0b\0a\0");
        sections.extend(*b"\x08\0\x0c\0\xff\xff\xff\xffmemfd:x\0");
        let place = |number| (number == 7).then(|| b"/mnt".to_vec());
        let reader = Reader { clock_offset: 0, place: &place };
        let seen = attempt(&bytes(number, &pairs, &sections), false, &reader).unwrap();
        let objects: Vec<_> = seen.hooks.iter().map(|hook| hook.object.clone()).collect();
        assert_eq!(objects, [None, Some(b"/mnt/a/b".to_vec()), Some(b"memfd:x".to_vec())]);
        assert_eq!(seen.attempt.object, objects[1]);
        assert_eq!(seen.attempt.object2, objects[2]);
        assert_eq!(seen.attempt.actions, [Action::NetSend, Action::FileWrite, Action::ProcExec]);
    }

    #[test]
    fn an_abstract_socket_is_called_by_its_whole_name() {
        let reader = Reader { clock_offset: 0, place: &|_| None };
        let section = [&section::ABSTRACT.to_le_bytes()[..], b"a/b\0c"].concat();
        assert_eq!(reader.object(&section, Action::NetConnect, false).as_deref(), Some(&b"@a/b\0c"[..]));
        assert_eq!(reader.object(&section[..4], Action::NetConnect, false).as_deref(), Some(&b"@"[..]));
    }

    #[test]
    fn who_is_reached_is_called_as_people_write_it() {
        let reader = Reader { clock_offset: 0, place: &|_| None };
        let object = |address: Ipv6Addr, port: u32| {
            let section = [&section::ADDRESSED.to_le_bytes()[..], &address.octets(), &port.to_le_bytes()].concat();
            reader.object(&section, Action::NetSend, false).map(|name| String::from_utf8(name).unwrap())
        };
        let mapped = std::net::Ipv4Addr::new(1, 2, 3, 4).to_ipv6_mapped();
        assert_eq!(object(mapped, 80).as_deref(), Some("1.2.3.4:80"));
        assert_eq!(object(Ipv6Addr::LOCALHOST, 53).as_deref(), Some("[::1]:53"));
        assert_eq!(object(Ipv6Addr::LOCALHOST, 65_536), None);
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
