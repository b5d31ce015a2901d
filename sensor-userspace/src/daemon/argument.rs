//! What an attempt's argument says of its object, where no hook saw it.

use std::net::SocketAddr;

use sensor_common::action::Action;

use crate::attempt::{Attempt, End};
use crate::kernel::{Operand, Seen};
use crate::policy::{Circumstances, Decision, Numbered, Object, Table, Written, octets, place};

/// What is left to the argument; none if hooks judged every action.
pub(super) fn from_argument(seen: &Seen, table: &Table, how: &Circumstances) -> Option<Decision> {
    let attempt = &seen.attempt;
    let resolve = |argument: Option<&Vec<u8>>, base: Option<&Vec<u8>>| {
        let base = base.map_or(&b""[..], Vec::as_slice);
        argument.and_then(|argument| place::resolve(base, argument))
    };
    let first = resolve(attempt.argument.as_ref(), seen.base.as_ref());
    let second = resolve(attempt.argument2.as_ref(), seen.base2.as_ref());
    let has_second = attempt.argument2.is_some() || seen.base2.is_some();
    let named = |resolved: Option<&Vec<u8>>, object: Option<&Vec<u8>>| match resolved.or(object) {
        Some(path) => path.clone(),
        None => Vec::new(),
    };
    let (first, second) =
        (named(first.as_ref(), attempt.object.as_ref()), named(second.as_ref(), attempt.object2.as_ref()));
    let first = if has_place(attempt) {
        place(&first)
    } else if let (Some(_), Some(argument)) = (Numbered::of(attempt.action), &attempt.argument) {
        numbered(attempt.action, argument)
    } else {
        destination(attempt, &first)
    };
    let second = has_second.then(|| place(&second)).filter(|_| has_place(attempt));
    let left = seen.means.iter().filter(|(action, _)| !seen.hooks.iter().any(|hook| hook.action == *action));
    let meant = left.map(|(action, operand)| {
        let object = match operand {
            Operand::First => first,
            Operand::Second => second.unwrap_or(first),
        };
        (*action, object.reached_by(*action))
    });
    let meant: Vec<_> = meant.collect();
    let how = Circumstances { written: written(seen), ..*how };
    (!meant.is_empty()).then(|| table.judge(&meant, &how))
}

/// No hook saw the object, so nobody looked it up among what the run has written. Nobody has written what is not there.
fn written(seen: &Seen) -> Written {
    const NOT_THERE: [i32; 4] = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP, libc::ENAMETOOLONG];
    match seen.attempt.end {
        End::Returned(result)
            if seen.hooks.is_empty() && NOT_THERE.iter().any(|errno| result == -i64::from(*errno)) =>
        {
            Written::No
        }
        _ => Written::Unknown,
    }
}

/// How an address is written that is neither of IP nor a unix socket's name.
const OTHERS: [&[u8]; 5] = [b"unix:", b"unspec:", b"netlink:", b"vsock:", b"family:"];

/// Where a network action goes, by the address as written; `path` is what that is as a path.
pub(super) fn destination<'a>(attempt: &'a Attempt, path: &'a [u8]) -> Object<'a> {
    if !attempt.action.verb().starts_with("net.") {
        return Object::None;
    }
    let Some(argument) = &attempt.argument else {
        // A send without an address goes to the socket's peer, which the argument does not tell.
        return match attempt.action {
            Action::NetConnect | Action::NetBind => Object::Unknown,
            _ => Object::OtherSocket,
        };
    };
    match internet(argument) {
        Some(address) => address,
        None => match argument.as_slice() {
            [b'@', name @ ..] => Object::Abstract(name),
            [b'/', ..] => place(path),
            argument if OTHERS.iter().any(|other| argument.starts_with(other)) => Object::OtherSocket,
            // Relative, to a directory that is not told.
            _ => Object::UnknownSocket,
        },
    }
}

/// What a hook found: a name, or whom a network action reaches.
pub(super) fn reached(name: &[u8]) -> Object<'_> {
    internet(name).unwrap_or_else(|| Object::of(Some(name)))
}

fn internet(text: &[u8]) -> Option<Object<'static>> {
    let to: SocketAddr = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(Object::Address { address: octets(to.ip()), port: to.port(), protocol: 0 })
}

/// A signal or a capability by its name; what is none matches no rule that asks for one.
pub(super) fn numbered(action: Action, name: &[u8]) -> Object<'static> {
    let text = std::str::from_utf8(name).ok();
    let which = Numbered::of(action).zip(text).and_then(|(kind, text)| kind.parse(text));
    which.map_or(Object::None, Object::Number)
}

/// Empty: it could not be resolved.
fn place(path: &[u8]) -> Object<'_> {
    if path.is_empty() { Object::Unknown } else { Object::of(Some(path)) }
}

/// Whether the attempt is about a place in the filesystem at all.
fn has_place(attempt: &Attempt) -> bool {
    match attempt.action {
        Action::FileRead
        | Action::FileWrite
        | Action::FileCreate
        | Action::FileDelete
        | Action::FileRename
        | Action::FileLink
        | Action::FileAttr
        | Action::FileMapExec
        | Action::DirList
        | Action::ProcExec => true,
        Action::SysMount | Action::SysNamespace => attempt.argument.is_some(),
        Action::NetConnect
        | Action::NetSend
        | Action::NetBind
        | Action::NetListen
        | Action::ProcSignal
        | Action::ProcPtrace
        | Action::SysBpf
        | Action::SysModule
        | Action::SysCgroup
        | Action::SysIoUring
        | Action::SysSetuid
        | Action::ProcControl
        | Action::SysPerf
        | Action::SysMachine
        | Action::SysCapability
        | Action::SysKeys => false,
    }
}
