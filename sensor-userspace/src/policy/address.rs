//! Where a connection goes: an address or a network, its ports, its protocol.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::hosts::Hosts;
use super::problem::At;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// What an IPv4 address begins with when it is written as one of IPv6.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const FORM: &str =
    "write `10.0.0.0/8`, `10.1.2.3:443`, `[2001:db8::1]:8000-8099`, `api.example.com:443`, `*:53` or `udp/*:53`";

/// What is wrong, and the way out.
type Trouble = (String, String);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    Net {
        /// IPv4 as `::ffff:a.b.c.d`.
        address: [u8; 16],
        /// Of the 128 bits.
        prefix: u8,
    },
    Name(String),
}

#[derive(Clone, Debug)]
pub struct Destination {
    pub at: At,
    /// As written.
    pub text: String,
    pub host: Host,
    /// Lowest and highest, both included.
    pub ports: (u16, u16),
    /// The number in the IP header; none is any.
    pub protocol: Option<u8>,
}

impl fmt::Display for Destination {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl Destination {
    /// Every port of a host that is named.
    pub(super) fn of_host(name: &str, at: At) -> Destination {
        let host = Host::Name(name.to_owned());
        Destination { at, text: name.to_owned(), host, ports: (0, u16::MAX), protocol: None }
    }

    /// Of a host that is named.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.host {
            Host::Name(name) => Some(name),
            Host::Net { .. } => None,
        }
    }

    /// Whether an address lies in it, names being known.
    pub fn holds(&self, hosts: &Hosts, address: &[u8; 16], port: u16, protocol: u8) -> bool {
        let there = match &self.host {
            Host::Net { address: net, prefix } => same_bits(net, address, *prefix),
            Host::Name(name) => hosts.of(name).contains(address),
        };
        there && (self.ports.0..=self.ports.1).contains(&port) && self.protocol.is_none_or(|wanted| wanted == protocol)
    }

    /// `*`: every address, port and protocol.
    pub(super) fn is_everywhere(&self) -> bool {
        matches!(self.host, Host::Net { prefix: 0, .. }) && self.ports == (0, u16::MAX) && self.protocol.is_none()
    }

    /// Whether every address of `other` lies in `self`.
    pub(super) fn covers(&self, other: &Destination) -> bool {
        let host = match (&self.host, &other.host) {
            (Host::Net { address, prefix }, Host::Net { address: inner, prefix: narrower }) => {
                prefix <= narrower && same_bits(address, inner, *prefix)
            }
            // Whatever the name stands for, `*` takes it in.
            (Host::Net { prefix: 0, .. }, Host::Name(_)) => true,
            (one, other) => one == other,
        };
        host && self.ports.0 <= other.ports.0
            && other.ports.1 <= self.ports.1
            && (self.protocol.is_none() || self.protocol == other.protocol)
    }
}

fn same_bits(one: &[u8; 16], other: &[u8; 16], bits: u8) -> bool {
    let rest = 128 - u32::from(bits.min(128));
    let differ = u128::from_be_bytes(*one) ^ u128::from_be_bytes(*other);
    differ.checked_shr(rest).unwrap_or(0) == 0
}

pub(super) fn read(text: &str, at: At) -> Result<Destination, Trouble> {
    let (protocol, rest) = match text.split_once('/') {
        Some(("tcp", rest)) => (Some(TCP), rest),
        Some(("udp", rest)) => (Some(UDP), rest),
        _ => (None, text),
    };
    let (host, ports) = split(rest)?;
    Ok(Destination {
        at,
        text: text.to_owned(),
        host: host_of(host)?,
        ports: ports.map(port_range).transpose()?.unwrap_or((0, u16::MAX)),
        protocol,
    })
}

/// One host with its port and protocol, which is TCP unless it is said: for a case or a question.
pub fn exact(text: &str) -> Result<(Host, u16, u8), String> {
    let trouble = |(cause, hint): Trouble| format!("`{text}`: {cause}; {hint}");
    let Destination { host, ports, protocol, .. } = read(text, At::TOP).map_err(trouble)?;
    match (&host, ports) {
        (Host::Net { prefix: 128, .. } | Host::Name(_), (low, high)) if low == high => {
            Ok((host, low, protocol.unwrap_or(TCP)))
        }
        _ => Err(format!(
            "`{text}` is not one address or host with its port; write `1.2.3.4:443` or `api.example.com:443`"
        )),
    }
}

/// The number of a protocol's name.
pub fn protocol_number(name: &str) -> Option<u8> {
    match name {
        "tcp" => Some(TCP),
        "udp" => Some(UDP),
        _ => None,
    }
}

/// Host and ports as they are written; IPv6 with ports needs its brackets.
fn split(text: &str) -> Result<(&str, Option<&str>), Trouble> {
    if let Some(inner) = text.strip_prefix('[') {
        let Some((host, after)) = inner.split_once(']') else {
            return Err(("a `[` is not closed".to_owned(), FORM.to_owned()));
        };
        return match after.strip_prefix(':') {
            Some(ports) => Ok((host, Some(ports))),
            None if after.is_empty() => Ok((host, None)),
            None => Err((format!("`{after}` stands after the `]`"), FORM.to_owned())),
        };
    }
    match text.split_once(':') {
        Some((_, rest)) if rest.contains(':') => Ok((text, None)),
        Some((host, ports)) => Ok((host, Some(ports))),
        None => Ok((text, None)),
    }
}

fn host_of(text: &str) -> Result<Host, Trouble> {
    if text == "*" {
        return Ok(Host::Net { address: [0; 16], prefix: 0 });
    }
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let Ok(ip) = address.parse::<IpAddr>() else { return name(text) };
    let (bytes, all) = match ip {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().octets(), 32),
        IpAddr::V6(ip) => (ip.octets(), 128),
    };
    let length = match length {
        None => all,
        Some(length) => length
            .parse::<u8>()
            .ok()
            .filter(|length| *length <= all)
            .ok_or_else(|| (format!("`/{length}` is no length of a network"), format!("it is 0 to {all}")))?,
    };
    let prefix = 128 - all + length;
    let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
    let network = (u128::from_be_bytes(bytes) & mask).to_be_bytes();
    if network != bytes {
        let shown = shown(network, ip.is_ipv4());
        let cause = format!("it has bits behind its first {length}");
        return Err((cause, format!("write `{shown}/{length}`, or the address alone")));
    }
    let mut mapped = [0; 16];
    mapped[..12].copy_from_slice(&MAPPED);
    // IPv4 lies within IPv6 here: such a network would take it in unsaid.
    if prefix < 96 && same_bits(&network, &mapped, prefix) {
        let cause = "it would take in every IPv4 address as well".to_owned();
        return Err((cause, "write `*` for every address, `2000::/3` for IPv6 of the internet".to_owned()));
    }
    Ok(Host::Net { address: network, prefix })
}

fn shown(bytes: [u8; 16], v4: bool) -> String {
    match bytes {
        [.., a, b, c, d] if v4 => Ipv4Addr::new(a, b, c, d).to_string(),
        bytes => Ipv6Addr::from(bytes).to_string(),
    }
}

/// A host's name; what was meant to be an address is told as one.
fn name(text: &str) -> Result<Host, Trouble> {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(plain)
    };
    let without_star = text.strip_prefix("*.").unwrap_or(text);
    let last = without_star.rsplit('.').next().unwrap_or(without_star);
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit());
    if !numeric && text.len() <= 253 && without_star.split('.').all(label) {
        if without_star != text {
            let cause = "a name with `*` stands for hosts that no resolver lists".to_owned();
            return Err((cause, "name each host, or write its networks".to_owned()));
        }
        return Ok(Host::Name(text.to_ascii_lowercase()));
    }
    Err(("it is neither an address, a network nor a host's name".to_owned(), FORM.to_owned()))
}

fn port_range(text: &str) -> Result<(u16, u16), Trouble> {
    let number = |text: &str| {
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse::<u16>().ok())?
    };
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    match number(low).zip(number(high)) {
        Some((low, high)) if low <= high => Ok((low, high)),
        Some((low, high)) => Err((format!("the ports `{text}` are none"), format!("write `{high}-{low}`"))),
        None => Err((format!("`{text}` is no port"), FORM.to_owned())),
    }
}
