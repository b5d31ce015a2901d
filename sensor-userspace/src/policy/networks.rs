//! The networks that rules name, and what each address is offered: by its longest prefix.

use std::collections::BTreeMap;

use sensor_common::table::Candidate;

/// IPv4 lives in IPv6 below this prefix.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
const MAPPED_BITS: u8 = 96;

/// A network: its first address, and how many of the 128 bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    pub prefix: u8,
    pub address: [u8; 16],
}

impl Network {
    pub fn new(address: [u8; 16], prefix: u8) -> Network {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
        Network { prefix, address: (u128::from_be_bytes(address) & mask).to_be_bytes() }
    }

    fn contains(&self, address: [u8; 16]) -> bool {
        Network::new(address, self.prefix).address == self.address
    }

    fn is_v4(&self) -> bool {
        self.prefix >= MAPPED_BITS && self.address.starts_with(&MAPPED)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Networks {
    own: BTreeMap<Network, Vec<Candidate>>,
    /// With what enclosing networks offer, in the order of the rules.
    pub offered: BTreeMap<Network, Vec<Candidate>>,
    /// The prefixes' lengths that there are, shortest first.
    lengths: Vec<u8>,
}

impl Networks {
    pub fn add(&mut self, network: Network, candidate: Candidate) {
        self.own.entry(network).or_default().push(candidate);
    }

    /// Gives every network what those around it offer: the kernel's trie finds the innermost alone.
    pub fn finish(&mut self) {
        // `::/8` speaks of IPv6: IPv4, which lies in it as numbers go, is fenced off. Prefix 0 is every address.
        let mut addresses = [0; 16];
        addresses[..12].copy_from_slice(&MAPPED);
        let all_v4 = Network::new(addresses, MAPPED_BITS);
        if self.own.keys().any(|network| network.prefix > 0 && !network.is_v4() && network.contains(addresses)) {
            self.own.entry(all_v4).or_default();
        }
        // The keys are in order of their prefixes.
        self.lengths = self.own.keys().map(|network| network.prefix).collect();
        self.lengths.dedup();
        for network in self.own.keys() {
            let mut all = Vec::new();
            for prefix in self.lengths.iter().take_while(|prefix| **prefix <= network.prefix) {
                let around = Network::new(network.address, *prefix);
                if *prefix == 0 || around.is_v4() == network.is_v4() {
                    all.extend(self.own.get(&around).into_iter().flatten().copied());
                }
            }
            all.sort_by_key(|candidate| (candidate.rule, candidate.low));
            all.dedup();
            self.offered.insert(*network, all);
        }
    }

    pub fn look_up(&self, address: [u8; 16]) -> &[Candidate] {
        let found = self.lengths.iter().rev().find_map(|prefix| self.offered.get(&Network::new(address, *prefix)));
        found.map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv6Addr};

    use super::*;

    fn octets(text: &str) -> [u8; 16] {
        match text.parse().unwrap() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => Ipv6Addr::octets(&address),
        }
    }

    fn rules(networks: &Networks, address: &str) -> Vec<u32> {
        networks.look_up(octets(address)).iter().map(|candidate| candidate.rule).collect()
    }

    #[test]
    fn the_innermost_offers_what_those_around_it_do() {
        let mut networks = Networks::default();
        for (rule, (text, prefix)) in
            [("10.0.0.0", 96 + 8), ("10.1.0.0", 96 + 16), ("::", 8), ("0.0.0.0", 96), ("2001:db8::", 32)]
                .into_iter()
                .enumerate()
        {
            let candidate = Candidate { rule: rule as u32, ..Candidate::default() };
            networks.add(Network::new(octets(text), prefix), candidate);
        }
        networks.finish();
        assert_eq!(rules(&networks, "10.1.2.3"), [0, 1, 3]);
        assert_eq!(rules(&networks, "10.2.2.3"), [0, 3]);
        assert_eq!(rules(&networks, "1.1.1.1"), [3]);
        assert_eq!(rules(&networks, "2001:db8::1"), [4]);
        assert_eq!(rules(&networks, "::1"), [2]);
    }

    #[test]
    fn every_address_is_of_both_kinds() {
        let mut networks = Networks::default();
        networks.add(Network::new([0; 16], 0), Candidate::default());
        networks.add(Network::new([0; 16], 8), Candidate { rule: 1, ..Candidate::default() });
        networks.finish();
        assert_eq!(rules(&networks, "1.1.1.1"), [0]);
        assert_eq!(rules(&networks, "::1"), [0, 1]);
    }
}
