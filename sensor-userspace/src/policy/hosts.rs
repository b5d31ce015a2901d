//! What host names stand for. The language does not ask the network: the daemon's resolver says it, in a case the
//! policy itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};

use super::address::Destination;
use super::language::{AddressTest, CaseObject, Policy, Rule};
use super::object::Object;

/// Names of one policy.
pub(super) const MAX_NAMES: usize = 256;
/// Addresses of one name; the rest of an answer is left out.
pub const MAX_ADDRESSES: usize = 64;

/// Addresses by name, in order, each once; IPv4 as `::ffff:a.b.c.d`. A name without any matches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts(BTreeMap<String, Vec<[u8; 16]>>);

/// IPv4 lives in IPv6, however a program writes it.
pub fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

impl Hosts {
    pub fn set(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) {
        let mut addresses: Vec<_> = addresses.into_iter().map(octets).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        self.0.insert(name.to_owned(), addresses);
    }

    pub fn of(&self, name: &str) -> &[[u8; 16]] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// A connection to each address of a name.
    pub fn objects(&self, name: &str, port: u16, protocol: u8) -> Vec<Object<'static>> {
        self.of(name).iter().map(|address| Object::Address { address: *address, port, protocol }).collect()
    }

    /// Known to have no address.
    pub(super) fn says_none(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(Vec::is_empty)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes a name's addresses over from others.
    pub(super) fn copy(&mut self, name: &str, from: &Hosts) {
        self.0.insert(name.to_owned(), from.of(name).to_vec());
    }

    /// By address: its names, with commas between them.
    pub(super) fn by_address(&self) -> BTreeMap<[u8; 16], String> {
        let mut names: BTreeMap<_, String> = BTreeMap::new();
        for (name, addresses) in &self.0 {
            for address in addresses {
                let known = names.entry(*address).or_default();
                known.push_str(if known.is_empty() { "" } else { "," });
                known.push_str(name);
            }
        }
        names
    }
}

/// `192.0.2.7 api.example.com`, as in /etc/hosts.
pub fn told(address: [u8; 16], names: &str) -> String {
    format!("{} {names}", Ipv6Addr::from(address).to_canonical())
}

impl Policy {
    /// The host names that its rules speak of.
    pub fn host_names(&self) -> BTreeSet<&str> {
        let destinations = self.rules.iter().flat_map(destinations);
        destinations.filter_map(Destination::name).collect()
    }

    /// What names stand for where nobody resolves them: what `hosts:` says, else an address that no host has.
    pub fn stand_in_hosts(&self) -> Hosts {
        let mut hosts = self.hosts.clone();
        let cases = self.cases.iter().filter_map(|case| match &case.object {
            CaseObject::Host { name, .. } => Some(name.as_str()),
            _ => None,
        });
        let names: BTreeSet<&str> = self.host_names().into_iter().chain(cases).collect();
        for (number, name) in names.into_iter().enumerate() {
            hosts.0.entry(name.to_owned()).or_insert_with(|| vec![stand_in(number)]);
        }
        hosts
    }
}

pub(super) fn destinations(rule: &Rule) -> &[Destination] {
    match &rule.to {
        AddressTest::Any => &[],
        AddressTest::In(to) | AddressTest::NotIn(to) => to,
    }
}

/// Of `100::/64`, which is there to be discarded.
fn stand_in(number: usize) -> [u8; 16] {
    Ipv6Addr::from((0x100_u128 << 112) + number as u128 + 1).octets()
}
