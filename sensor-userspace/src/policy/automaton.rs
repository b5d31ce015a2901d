//! All paths of a policy in one automaton over names.
//!
//! The globs are laid into a tree that shares what they have in common from the root on; a walk may be in
//! several of its states at once (behind a `**`, beside a wildcard), so nothing is ever multiplied out.

use std::collections::{BTreeMap, HashMap};

use sensor_common::contents::Identity;
use sensor_common::table::{self, Candidate, MAX_ACTIVE, PROGRAMS};

use super::bytes::{ByteAutomaton, TooLarge};
use super::contents::{Contents, Digest, Held};
use super::lane::{self, Lanes};
use super::pattern::{Part, Pattern, Piece, Variable};

/// The state at the root, for objects; 0 is none.
pub const ROOT: u32 = 1;
/// … before an abstract socket's name …
pub const ABSTRACT: u32 = ROOT + table::ABSTRACT;
/// … and for programs that act.
pub const PROGRAM_ROOT: u32 = ROOT + PROGRAMS;

/// The globs of one state, in the order of their positions.
pub type Globs = Vec<Vec<Piece>>;

#[derive(Clone, Debug, Default)]
pub struct State {
    pub names: HashMap<Vec<u8>, u32>,
    pub any: u32,
    /// Behind `**`.
    pub star: u32,
    /// It is one of those: no path ends in it, and nothing else leads to it.
    pub loops: bool,
    /// Which of the byte automata, and the state that each of its globs leads to.
    pub bytes: Option<usize>,
    pub targets: Vec<u32>,
    pub below: Vec<Candidate>,
    pub exact: Vec<Candidate>,
    /// Some candidate asks what the file that lies here holds.
    pub pinned: Option<Box<Pinned>>,
    globs: BTreeMap<Vec<Piece>, u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Pinned {
    pub place: String,
    /// Of programs that act, and not of objects.
    pub acting: bool,
    /// States that offer what asks for this digest. No name leads to them.
    pub by_digest: BTreeMap<Digest, u32>,
    /// By what the file is known that was read, and the state for what it holds; 0 for none.
    pub read: Option<(Identity, u32)>,
}

#[derive(Clone, Debug)]
pub struct Automaton {
    /// State 0 is never entered.
    pub states: Vec<State>,
    pub bytes: Vec<ByteAutomaton>,
    /// As `table::Policy::lanes` has them.
    pub lanes: u32,
}

impl Default for Automaton {
    fn default() -> Automaton {
        // None, the root, and beside it what abstract names and programs' paths start from, and what lies behind the agent's
        // own directories.
        let fixed = lane::start(PROGRAM_ROOT, Variable::ALL.last().copied()) as usize + 1;
        Automaton { states: vec![State::default(); fixed], bytes: Vec::new(), lanes: 0 }
    }
}

/// What a path comes to.
#[derive(Clone, Debug, Default)]
pub struct Reached {
    pub candidates: Vec<Candidate>,
    /// More states at once than the kernel's walk holds, or contents that nobody knows.
    pub unsure: bool,
}

impl Automaton {
    /// Adds one pattern's glob below a root, its variable's directory first; whoever matches it, and holds what it asks for,
    /// is offered `candidate`.
    pub fn add(&mut self, root: u32, pattern: &Pattern, candidate: Candidate) {
        let Pattern { parts, digest, variable, .. } = pattern;
        self.lanes |= lane::bit(root, *variable);
        let mut at = lane::start(root, *variable) as usize;
        for (position, part) in parts.iter().enumerate() {
            if *part == Part::Deep && position + 1 == parts.len() {
                self.states[at].below.push(candidate);
                return;
            }
            at = self.behind(at, part) as usize;
        }
        let at = digest.map_or(at, |digest| self.holding(at, pattern, digest, root == PROGRAM_ROOT));
        self.states[at].exact.push(candidate);
    }

    /// The state that a file at this place comes to if it holds this.
    fn holding(&mut self, at: usize, pattern: &Pattern, digest: Digest, acting: bool) -> usize {
        let new = self.states.len() as u32;
        let place = || pattern.pinned_place().unwrap_or_default();
        let pinned = self.states[at]
            .pinned
            .get_or_insert_with(|| Box::new(Pinned { place: place(), acting, ..Pinned::default() }));
        let found = *pinned.by_digest.entry(digest).or_insert(new);
        if found == new {
            self.states.push(State::default());
        }
        found as usize
    }

    /// What was read of files in pinned places.
    pub fn pin(&mut self, contents: &Contents) {
        for pinned in self.states.iter_mut().filter_map(|state| state.pinned.as_deref_mut()) {
            let read = contents.get(&pinned.place).copied().flatten();
            pinned.read = read.map(|read| (read.identity, pinned.by_digest.get(&read.digest).copied().unwrap_or(0)));
        }
    }

    fn behind(&mut self, at: usize, part: &Part) -> u32 {
        let new = self.states.len() as u32;
        let state = &mut self.states[at];
        let found = match part {
            Part::Name(name) => *state.names.entry(name.clone()).or_insert(new),
            Part::Glob(pieces) => *state.globs.entry(pieces.clone()).or_insert(new),
            Part::Abstract => ABSTRACT,
            Part::Any if state.any != 0 => state.any,
            Part::Any => {
                state.any = new;
                new
            }
            Part::Deep if state.loops => at as u32,
            Part::Deep if state.star != 0 => state.star,
            Part::Deep => {
                state.star = new;
                new
            }
        };
        if found == new {
            self.states.push(State { loops: *part == Part::Deep, ..State::default() });
        }
        found
    }

    /// Makes the byte automata; the state whose globs do not fit one, if there is any.
    pub fn finish(&mut self) -> Result<(), Globs> {
        // States with the same globs share one: `/opt/**/N/*.log` for every N.
        let mut known: HashMap<Globs, usize> = HashMap::new();
        for state in &mut self.states {
            if state.globs.is_empty() {
                continue;
            }
            let (globs, targets): (Globs, Vec<u32>) = std::mem::take(&mut state.globs).into_iter().unzip();
            let number = match known.get(&globs) {
                Some(number) => *number,
                None => {
                    let automaton = ByteAutomaton::new(&globs).map_err(|TooLarge| globs.clone())?;
                    // Each match is one more state to be in.
                    if automaton.rows.iter().any(|row| row.matches.len() >= MAX_ACTIVE) {
                        return Err(globs);
                    }
                    self.bytes.push(automaton);
                    known.insert(globs, self.bytes.len() - 1);
                    self.bytes.len() - 1
                }
            };
            state.bytes = Some(number);
            state.targets = targets;
        }
        Ok(())
    }

    /// Walks a path from a root as the kernel does; `held`: what the file there holds.
    pub fn walk<'a>(&self, root: u32, names: impl Iterator<Item = &'a [u8]>, lanes: &Lanes, held: Held) -> Reached {
        let mut reached = Reached::default();
        let mut active = Vec::new();
        let mut along = lanes.walk(root, self.lanes);
        self.enter(root, &mut active, &mut reached);
        along.reached().for_each(|lane| self.enter(lane, &mut active, &mut reached));
        for name in names {
            let mut next = Vec::new();
            for &number in &active {
                let state = &self.states[number as usize];
                if state.loops {
                    be_in(number, &mut next, &mut reached);
                }
                if let Some(to) = state.names.get(name) {
                    self.enter(*to, &mut next, &mut reached);
                }
                if state.any != 0 {
                    self.enter(state.any, &mut next, &mut reached);
                }
                if let Some(bytes) = state.bytes {
                    for which in self.bytes[bytes].matches(name) {
                        self.enter(state.targets[*which as usize], &mut next, &mut reached);
                    }
                }
            }
            along.take(name);
            along.reached().for_each(|lane| self.enter(lane, &mut next, &mut reached));
            active = next;
        }
        for number in active {
            let state = &self.states[number as usize];
            reached.candidates.extend_from_slice(&state.exact);
            match (&state.pinned, held) {
                (None, _) | (_, Held::NotAsked) => {}
                (Some(_), Held::Unknown) => reached.unsure = true,
                (Some(pinned), Held::This(held)) => {
                    let holding = pinned.by_digest.get(&held).map(|number| &self.states[*number as usize]);
                    reached.candidates.extend(holding.into_iter().flat_map(|state| &state.exact));
                }
            }
        }
        reached
    }

    fn enter(&self, number: u32, next: &mut Vec<u32>, reached: &mut Reached) {
        let state = &self.states[number as usize];
        be_in(number, next, reached);
        if state.star != 0 {
            be_in(state.star, next, reached);
        }
        reached.candidates.extend_from_slice(&state.below);
    }
}

fn be_in(number: u32, next: &mut Vec<u32>, reached: &mut Reached) {
    if next.contains(&number) {
        return;
    }
    if next.len() >= MAX_ACTIVE {
        reached.unsure = true;
        return;
    }
    next.push(number);
}
