//! What actions apply to.

use std::net::{Ipv4Addr, Ipv6Addr};

use sensor_common::action::Action;

/// What an action applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Object<'a> {
    /// The action has no place at all (a connect, a signal).
    None,
    /// An absolute path, lexically normal.
    Path(&'a [u8]),
    /// A thing without a path: `memfd:x`, `pipe:`, `socket:`, `anon:KIND`.
    Nameless(&'a [u8]),
    /// There is a place, or an address, and it cannot be told.
    Unknown,
    /// An internet address; IPv4 as IPv6 has it.
    Address { address: [u8; 16], port: u16, protocol: u8 },
    /// An abstract unix socket's name, without the `@` that it is written with. One with a file is a path.
    Abstract(&'a [u8]),
    /// A unix socket whose place cannot be told.
    UnknownSocket,
    /// A signal, or a capability, as `sensor_common::numbers` has it: its bit plus one. Signal 0 is `None`.
    Number(u8),
    /// A socket of another kind, or without a name: no rule about addresses or unix sockets speaks of it.
    OtherSocket,
}

/// Whether the agent's run has written an object. A thing without a file name counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Written {
    #[default]
    No,
    Yes,
    /// No hook saw the object.
    Unknown,
}

impl<'a> Object<'a> {
    /// As a hook resolved it, or as an argument was normalised; `None` is unknown.
    pub fn of(name: Option<&'a [u8]>) -> Object<'a> {
        match name {
            None | Some([]) => Object::Unknown,
            Some([b'@', name @ ..]) => Object::Abstract(name),
            Some(name) if !name.starts_with(b"/") => Object::Nameless(name),
            // A parent's name in a path says that nobody resolved it.
            Some(name) if name.split(|byte| *byte == b'/').any(|part| part == b"..") => Object::Unknown,
            Some(name) => Object::Path(name),
        }
    }

    /// Whom the action reaches by this object: who connects or sends to no address goes to himself. The kernel side's
    /// hooks do the same.
    pub fn reached_by(self, action: Action) -> Object<'a> {
        const ANY: [u8; 16] = Ipv6Addr::UNSPECIFIED.octets();
        const ANY_V4: [u8; 16] = Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().octets();
        match self {
            Object::Address { address, port, protocol } if matches!(action, Action::NetConnect | Action::NetSend) => {
                let address = match address {
                    ANY => Ipv6Addr::LOCALHOST.octets(),
                    ANY_V4 => Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets(),
                    address => address,
                };
                Object::Address { address, port, protocol }
            }
            object => object,
        }
    }

    pub(super) fn is_unknown(&self) -> bool {
        matches!(self, Object::Unknown | Object::UnknownSocket)
    }

    /// It has a place, and so is no address, whether or not the place is known.
    pub(super) fn has_place(&self) -> bool {
        matches!(self, Object::Path(_) | Object::Abstract(_) | Object::UnknownSocket)
    }
}

/// Gives each action of an attempt the object it applies to.
///
/// `file.create`, and the second naming of any action (`file.delete` at both ends of a rename over an
/// existing file, `file.rename` at both ends of an exchange), apply to the second object where there is one.
pub fn pair<'a>(actions: &[Action], first: Object<'a>, second: Option<Object<'a>>) -> Vec<(Action, Object<'a>)> {
    let mut seen = 0_u32;
    let of = |action: &Action| {
        let again = seen & action.bit() != 0;
        seen |= action.bit();
        let object = match second {
            Some(second) if again || *action == Action::FileCreate => second,
            _ => first,
        };
        (*action, object.reached_by(*action))
    };
    actions.iter().map(of).collect()
}
