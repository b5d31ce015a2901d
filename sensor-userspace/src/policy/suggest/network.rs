//! Destinations that were attempted, as patterns of `to:`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::attempts::Stat;

/// More addresses than this of one port become their network.
const ADDRESSES: usize = 8;
/// More ports than this of one host become a range.
const PORTS: usize = 4;

/// One line of `to:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    pub text: String,
    pub stat: Stat,
}

/// A host as a pattern says it, and the addresses that it covers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    Loopback4,
    One(IpAddr),
    /// The network's first address and its length.
    Net(Ipv4Addr, u8),
    Any,
}

impl Host {
    fn of(address: IpAddr) -> Host {
        match address.to_canonical() {
            IpAddr::V4(address) if address.is_loopback() => Host::Loopback4,
            address => Host::One(address),
        }
    }

    fn wider(&self, bits: u8) -> Host {
        match self {
            Host::One(IpAddr::V4(address)) if bits > 0 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                Host::Net(Ipv4Addr::from(u32::from(*address) & mask), bits)
            }
            Host::One(_) | Host::Net(..) if bits == 0 => Host::Any,
            Host::Net(address, _) => Host::One(IpAddr::V4(*address)).wider(bits),
            other => other.clone(),
        }
    }

    fn text(&self, ports: (u16, u16)) -> String {
        let (low, high) = ports;
        let ports = if low == high { low.to_string() } else { format!("{low}-{high}") };
        match self {
            Host::Loopback4 => format!("127.0.0.0/8:{ports}"),
            Host::One(IpAddr::V4(address)) => format!("{address}/32:{ports}"),
            Host::One(IpAddr::V6(address)) => format!("[{address}]:{ports}"),
            Host::Net(address, bits) => format!("{address}/{bits}:{ports}"),
            Host::Any => format!("*:{ports}"),
        }
    }
}

/// The destination that a record's argument names; none if it is no IP.
pub fn parse(argument: &[u8]) -> Option<SocketAddr> {
    std::str::from_utf8(argument).ok()?.parse().ok()
}

/// Patterns over all of these, networks where there are many.
pub fn patterns<'a>(seen: impl Iterator<Item = (SocketAddr, &'a Stat)>) -> Vec<To> {
    let mut all: BTreeMap<(Host, (u16, u16)), Stat> = BTreeMap::new();
    for (address, stat) in seen {
        let key = (Host::of(address.ip()), (address.port(), address.port()));
        all.entry(key).or_default().add(stat);
    }
    // Many ports of one host: a server that answers to wherever it was asked from.
    let mut ports: BTreeMap<Host, Vec<u16>> = BTreeMap::new();
    for (host, (port, _)) in all.keys() {
        ports.entry(host.clone()).or_default().push(*port);
    }
    ports.retain(|_, ports| ports.len() > PORTS);
    all = merge(all, |host, own| match ports.get(host).map(|ports| (ports.first(), ports.last())) {
        Some((Some(low), Some(high))) => (host.clone(), (*low, *high)),
        _ => (host.clone(), own),
    });
    // Many hosts of one port: the service has many addresses, and will have others.
    for bits in [24, 16, 0] {
        let mut hosts: BTreeMap<(u16, u16), usize> = BTreeMap::new();
        for (host, ports) in all.keys() {
            *hosts.entry(*ports).or_default() += usize::from(matches!(host, Host::One(_) | Host::Net(..)));
        }
        all = merge(all, |host, ports| {
            let many = hosts.get(&ports).is_some_and(|count| *count > ADDRESSES);
            (if many { host.wider(bits) } else { host.clone() }, ports)
        });
    }
    all.into_iter().map(|((host, ports), stat)| To { text: host.text(ports), stat }).collect()
}

type Seen = BTreeMap<(Host, (u16, u16)), Stat>;

fn merge(all: Seen, key: impl Fn(&Host, (u16, u16)) -> (Host, (u16, u16))) -> Seen {
    let mut merged = Seen::new();
    for ((host, ports), stat) in all {
        merged.entry(key(&host, ports)).or_default().add(&stat);
    }
    merged
}
