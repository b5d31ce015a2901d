//! Compiled policies in the kernel's maps: all of one is written before anything names it, and nothing is taken
//! away while an attempt may still be judged by it.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use aya::maps::{
    Array, HashMap as KernelMap, MapData,
    lpm_trie::{Key, LpmTrie},
};
use sensor_common::{
    action::Action,
    answer::{HostKey, name_hash},
    hash::{self, Secret},
    table::{
        self, ALL_CANDIDATES, ALL_CELLS, ALL_RULES, ALL_STATES, CONTENTS, Candidate, EdgeKey, MAX_POLICIES,
        NETWORK_BITS, NetworkKey, Policy, Range, Rule, SET, State, bytes, names, pinned,
    },
};

use super::{guard, names::Filter, pod::Pod};
use crate::policy::{ByteAutomaton, Table};

pub struct Maps {
    pub policies: Array<MapData, Pod<Policy>>,
    pub rules: Array<MapData, Pod<Rule>>,
    pub states: Array<MapData, Pod<State>>,
    pub edges: KernelMap<MapData, Pod<EdgeKey>, u32>,
    pub candidates: Array<MapData, Pod<Candidate>>,
    pub cells: Array<MapData, u64>,
    pub networks: LpmTrie<MapData, Pod<NetworkKey>, Pod<Range>>,
    pub hosts: KernelMap<MapData, Pod<HostKey>, Pod<Range>>,
}

/// Stretches of one map that are free: first entry and length.
struct Room {
    what: &'static str,
    entries: u32,
    free: BTreeMap<u32, u32>,
}

impl Room {
    fn new(what: &'static str, entries: u32) -> Room {
        // The first entry is nothing's: 0 says "none".
        Room { what, entries, free: BTreeMap::from([(1, entries - 1)]) }
    }

    fn is_whole(&self) -> bool {
        self.free.iter().eq([(&1, &(self.entries - 1))])
    }

    fn take(&mut self, count: u32) -> io::Result<u32> {
        if count == 0 {
            return Ok(1);
        }
        let found = self.free.iter().find(|(_, room)| **room >= count).map(|(first, room)| (*first, *room));
        let Some((first, room)) = found else {
            return Err(io::Error::other(format!(
                "{count} {} of the policy do not fit beside those of other policies in force; end other agents, or \
                 let them share one policy file",
                self.what
            )));
        };
        self.free.remove(&first);
        if room > count {
            self.free.insert(first + count, room - count);
        }
        Ok(first)
    }

    fn give_back(&mut self, first: u32, count: u32) {
        if count == 0 {
            return;
        }
        let (mut first, mut count) = (first, count);
        if let Some((before, room)) = self.free.range(..first).next_back().map(|(at, room)| (*at, *room))
            && before + room == first
        {
            self.free.remove(&before);
            first = before;
            count += room;
        }
        if let Some(room) = self.free.remove(&(first + count)) {
            count += room;
        }
        self.free.insert(first, count);
    }
}

/// What one policy holds of each map.
#[derive(Default)]
struct Held {
    rules: Range,
    states: Range,
    candidates: Range,
    cells: Range,
    edges: Vec<EdgeKey>,
    networks: Vec<(u8, [u8; 16])>,
    hosts: Vec<HostKey>,
}

struct Loaded {
    identity: [u8; 32],
    observe: u8,
    relaxed: u32,
    generation: u64,
    /// Whether it refuses anything that is sent.
    sends: bool,
    agents: u32,
    /// When the last agent left it.
    left: Option<Instant>,
    held: Held,
}

/// A program that read a policy's number before it went out of force is long done by then.
const GRACE: Duration = Duration::from_secs(1);

pub struct Policies {
    maps: Maps,
    secret: Secret,
    generation: u64,
    loaded: BTreeMap<u32, Loaded>,
    rules: Room,
    states: Room,
    candidates: Room,
    cells: Room,
}

impl Policies {
    pub fn new(maps: Maps, secret: Secret) -> Policies {
        Policies {
            maps,
            secret,
            generation: 0,
            loaded: BTreeMap::new(),
            rules: Room::new("rules", ALL_RULES),
            states: Room::new("places", ALL_STATES),
            candidates: Room::new("places", ALL_CANDIDATES),
            cells: Room::new("cells of wildcards and names", ALL_CELLS),
        }
    }

    /// Puts the guard's names where the kernel side looks for names.
    pub fn fill_guard(&mut self) -> io::Result<()> {
        for (key, value) in guard::edges(self.secret) {
            self.maps.edges.insert(Pod(key), value, 0).map_err(io::Error::other)?;
        }
        Ok(())
    }

    pub fn secret(&self) -> Secret {
        self.secret
    }

    /// Generations are counted from here: attempts that began under another daemon's policies are nobody's here.
    pub fn count_from(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// Whether a policy is still there: an attempt under way may be judged by it.
    pub fn holds(&self, generation: u64) -> bool {
        self.loaded.values().any(|loaded| loaded.generation == generation)
    }

    /// Number and generation of the table's policy, for one agent more; equal tables are there once.
    pub fn load(&mut self, table: &Table) -> io::Result<(u32, u64)> {
        let same = self.loaded.iter_mut().find(|(_, loaded)| {
            (loaded.identity, loaded.observe, loaded.relaxed)
                == (table.identity, table.kernel.observe, table.kernel.relaxed)
        });
        if let Some((number, loaded)) = same {
            loaded.agents += 1;
            loaded.left = None;
            return Ok((*number, loaded.generation));
        }
        let number = (0..MAX_POLICIES)
            .find(|number| !self.loaded.contains_key(number))
            .ok_or_else(|| io::Error::other(format!("{MAX_POLICIES} policies are in force already")))?;
        let mut held = Held::default();
        let written = self.write(number, table, &mut held);
        self.generation += 1;
        let loaded = Loaded {
            identity: table.identity,
            observe: table.kernel.observe,
            relaxed: table.kernel.relaxed,
            generation: self.generation,
            sends: table.may_refuse(Action::NetSend),
            agents: 1,
            left: None,
            held,
        };
        if let Err(error) = written {
            self.wipe(number, &loaded.held);
            return Err(error);
        }
        self.loaded.insert(number, loaded);
        Ok((number, self.generation))
    }

    /// Whether nothing is held of any policy; without the guard's names, which stay.
    pub fn is_empty(&self) -> bool {
        let rooms = [&self.rules, &self.states, &self.candidates, &self.cells];
        self.loaded.is_empty()
            && rooms.into_iter().all(Room::is_whole)
            && self.maps.edges.keys().next().is_none()
            && self.maps.networks.keys().next().is_none()
            && self.maps.hosts.keys().next().is_none()
    }

    /// Whether some policy refuses anything that is sent.
    pub fn refuse_sends(&self) -> bool {
        self.loaded.values().any(|loaded| loaded.sends)
    }

    /// One agent less.
    pub fn release(&mut self, number: u32) {
        if let Some(loaded) = self.loaded.get_mut(&number) {
            loaded.agents = loaded.agents.saturating_sub(1);
            loaded.left = (loaded.agents == 0).then(Instant::now);
        }
    }

    /// Takes away policies that no agent has and no attempt under way began with; `in_use` tells by generation.
    pub fn sweep(&mut self, in_use: impl Fn(u64) -> bool) {
        let idle = |loaded: &Loaded| loaded.left.is_some_and(|left| left.elapsed() >= GRACE);
        let gone: Vec<u32> = self
            .loaded
            .iter()
            .filter(|(_, loaded)| idle(loaded) && !in_use(loaded.generation))
            .map(|(number, _)| *number)
            .collect();
        for number in gone {
            if let Some(loaded) = self.loaded.remove(&number) {
                self.wipe(number, &loaded.held);
            }
        }
    }

    fn write(&mut self, number: u32, table: &Table, held: &mut Held) -> io::Result<()> {
        let automaton = &table.automaton;
        let edges = automaton.states.iter().map(|state| state.names.len()).sum();
        held.edges.reserve(edges);
        let by_state = automaton.states.iter().flat_map(|state| [&state.below, &state.exact]);
        let by_network = table.networks.offered.values();
        let by_host = table.answered.values();
        let by_action = table.always.iter().chain(&table.unknown);
        let lists: Vec<&Vec<Candidate>> = by_state.chain(by_network).chain(by_host).chain(by_action).collect();
        let candidates = lists.iter().map(|list| list.len() as u32).sum();
        let cells: u32 = automaton.bytes.iter().map(cells_of).sum::<u32>()
            + automaton
                .states
                .iter()
                .map(|state| state.targets.len() as u32 + names::cells(state.names.len()))
                .sum::<u32>();
        held.rules = taken(&mut self.rules, table.tests.len() as u32)?;
        held.states = taken(&mut self.states, automaton.states.len() as u32)?;
        held.candidates = taken(&mut self.candidates, candidates)?;
        held.cells = taken(&mut self.cells, cells)?;

        for (index, rule) in table.tests.iter().enumerate() {
            self.maps.rules.set(held.rules.first + index as u32, Pod(*rule), 0).map_err(io::Error::other)?;
        }
        let mut next = held.candidates.first;
        let mut ranges = Vec::with_capacity(lists.len());
        for list in &lists {
            ranges.push(Range { first: next, count: list.len() as u32 });
            for candidate in *list {
                self.maps.candidates.set(next, Pod(*candidate), 0).map_err(io::Error::other)?;
                next += 1;
            }
        }
        let (of_states, rest) = ranges.split_at(2 * automaton.states.len());
        let (of_networks, rest) = rest.split_at(table.networks.offered.len());
        let (of_hosts, of_actions) = rest.split_at(table.answered.len());
        let (always, unknown) = of_actions.split_at(table.always.len());

        let absolute = |state: u32| if state == 0 { 0 } else { held.states.first + state };
        let mut cell = held.cells.first;
        let mut starts = Vec::with_capacity(automaton.bytes.len());
        for bytes in &automaton.bytes {
            starts.push(cell);
            for value in serialised(bytes, cell) {
                self.maps.cells.set(cell, value, 0).map_err(io::Error::other)?;
                cell += 1;
            }
        }
        for (index, from) in automaton.states.iter().enumerate() {
            let own = held.states.first + index as u32;
            let targets = cell;
            for target in &from.targets {
                self.maps.cells.set(cell, u64::from(absolute(*target)), 0).map_err(io::Error::other)?;
                cell += 1;
            }
            let mut filter = Filter::new(from.names.len());
            for (name, to) in &from.names {
                let key = EdgeKey { state: own.into(), name: hash::component(self.secret, name) };
                filter.add(key.name);
                // Two names of one state with one hash would be judged alike: refused, and all but impossible.
                self.maps.edges.insert(Pod(key), absolute(*to), NO_EXIST).map_err(|error| {
                    io::Error::other(format!("the policy's places do not fit the kernel's table: {error}"))
                })?;
                held.edges.push(key);
            }
            let mut value = State {
                below: of_states[2 * index],
                exact: of_states[2 * index + 1],
                any: absolute(from.any),
                bytes: from.bytes.map_or(0, |bytes| starts[bytes]),
                star: absolute(from.star),
                targets,
                ..State::default()
            };
            if let Some(pinned) = &from.pinned {
                value.pinned = if pinned.acting { pinned::BY_ANY } else { pinned::WHERE_IT_RUNS };
                if let Some((identity, to)) = &pinned.read {
                    let key = EdgeKey { state: u64::from(own) | CONTENTS, name: identity.hash(self.secret) };
                    self.maps.edges.insert(Pod(key), absolute(*to), NO_EXIST).map_err(|error| {
                        io::Error::other(format!("the policy's places do not fit the kernel's table: {error}"))
                    })?;
                    held.edges.push(key);
                }
            }
            filter.put(cell, &mut value);
            for bits in filter.cells() {
                self.maps.cells.set(cell, *bits, 0).map_err(io::Error::other)?;
                cell += 1;
            }
            self.maps.states.set(own, Pod(value), 0).map_err(io::Error::other)?;
        }
        debug_assert_eq!(cell, held.cells.first + cells, "as many cells as were counted");
        for (network, range) in table.networks.offered.keys().zip(of_networks) {
            let key = network_key(number, network.prefix, network.address);
            self.maps.networks.insert(&key, Pod(*range), 0).map_err(|error| {
                io::Error::other(format!("the policy's networks do not fit the kernel's table: {error}"))
            })?;
            held.networks.push((network.prefix, network.address));
        }
        for (name, range) in table.answered.keys().zip(of_hosts) {
            let key = HostKey { name: name_hash(self.secret, name.as_bytes()), policy: number, reserved: 0 };
            self.maps.hosts.insert(Pod(key), Pod(*range), NO_EXIST).map_err(|error| {
                io::Error::other(format!("the policy's host names do not fit the kernel's table: {error}"))
            })?;
            held.hosts.push(key);
        }
        let mut policy = Policy {
            generation: self.generation + 1,
            root: absolute(crate::policy::ROOT),
            rules: held.rules.first,
            ..table.kernel
        };
        policy.always.copy_from_slice(always);
        policy.unknown.copy_from_slice(unknown);
        self.maps.policies.set(number, Pod(policy), 0).map_err(io::Error::other)
    }

    fn wipe(&mut self, number: u32, held: &Held) {
        for key in &held.edges {
            let _ = self.maps.edges.remove(&Pod(*key));
        }
        for (prefix, address) in &held.networks {
            let _ = self.maps.networks.remove(&network_key(number, *prefix, *address));
        }
        for key in &held.hosts {
            let _ = self.maps.hosts.remove(&Pod(*key));
        }
        for (room, range) in [
            (&mut self.rules, held.rules),
            (&mut self.states, held.states),
            (&mut self.candidates, held.candidates),
            (&mut self.cells, held.cells),
        ] {
            room.give_back(range.first, range.count);
        }
    }
}

/// Of the kernel's map update: fail if the key is there.
const NO_EXIST: u64 = 1;

fn taken(room: &mut Room, count: u32) -> io::Result<Range> {
    Ok(Range { first: room.take(count)?, count })
}

fn network_key(policy: u32, prefix: u8, address: [u8; 16]) -> Key<Pod<NetworkKey>> {
    let mut data = [0; 20];
    data[..4].copy_from_slice(&policy.to_be_bytes());
    data[4..].copy_from_slice(&address);
    Key::new(NETWORK_BITS + u32::from(prefix), Pod(data))
}

fn cells_of(automaton: &ByteAutomaton) -> u32 {
    let stride = bytes::stride(automaton.classes as u32);
    let matches: u32 = automaton.rows.iter().map(|row| row.matches.len() as u32).sum();
    bytes::ROWS + automaton.rows.len() as u32 * stride + matches
}

/// The automaton's cells, the first of which will be number `first`.
fn serialised(automaton: &ByteAutomaton, first: u32) -> Vec<u64> {
    let stride = bytes::stride(automaton.classes as u32);
    let mut cells = vec![automaton.classes as u64];
    cells.extend(
        automaton
            .class_of
            .chunks(8)
            .map(|classes| classes.iter().rev().fold(0, |cell, class| cell << 8 | u64::from(*class))),
    );
    let mut list = first + bytes::ROWS + automaton.rows.len() as u32 * stride;
    for row in &automaton.rows {
        cells.push(u64::from(list) | (row.matches.len() as u64) << 32);
        list += row.matches.len() as u32;
        cells.extend(
            row.next.chunks(4).map(|next| next.iter().rev().fold(0, |cell, state| cell << 16 | u64::from(*state))),
        );
    }
    cells.extend(automaton.rows.iter().flat_map(|row| row.matches.iter().map(|each| u64::from(*each))));
    cells
}

const _: () = assert!(SET > table::MAX_RULES as u32);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_given_back_is_whole_again() {
        let mut room = Room::new("things", 100);
        let taken: Vec<u32> = (0..9).map(|_| room.take(11).unwrap()).collect();
        assert!(room.take(1).is_err());
        for first in taken.iter().step_by(2).chain(taken.iter().skip(1).step_by(2)) {
            room.give_back(*first, 11);
        }
        assert!(room.is_whole());
    }
}
