//! Directories of an agent's own, which patterns may begin with: no table holds them, so that one serves all agents.

use sensor_common::table::{LANES, OBJECT_LANES, PROGRAM_LANES};

use super::automaton::{ABSTRACT, PROGRAM_ROOT, ROOT};
use super::pattern::{Variable, Variables, directory};

/// By `Variable`: the names of its directory, where it has a value that is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lanes([Option<Vec<Vec<u8>>>; Variable::ALL.len()]);

impl Lanes {
    pub fn of(variables: &Variables) -> Lanes {
        Lanes(Variable::ALL.map(|variable| directory(variable, variables).ok()))
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<&[Vec<u8>]>> {
        self.0.iter().map(Option::as_deref)
    }

    /// A walk along a path, from this root on; `asked` as `table::Policy::lanes` has it.
    pub(super) fn walk(&self, root: u32, asked: u32) -> Along<'_> {
        let asked = if root == ABSTRACT { 0 } else { asked >> shift(root) };
        Along { lanes: self, root, taken: 0, on_the_way: std::array::from_fn(|lane| asked >> lane & 1 == 1) }
    }
}

/// Where a pattern begins that is tried on this root's paths.
pub(super) fn start(root: u32, variable: Option<Variable>) -> u32 {
    match variable {
        None => root,
        Some(variable) => first(root) + variable as u32,
    }
}

/// The state behind the first directory.
fn first(root: u32) -> u32 {
    match root {
        PROGRAM_ROOT => PROGRAM_ROOT + PROGRAM_LANES,
        _ => ROOT + OBJECT_LANES,
    }
}

/// The bit of `table::Policy::lanes` for patterns that are tried on this root's paths.
pub(super) fn bit(root: u32, variable: Option<Variable>) -> u32 {
    variable.map_or(0, |variable| 1 << (shift(root) + variable as usize))
}

/// Programs' bits stand behind those of objects.
fn shift(root: u32) -> usize {
    if root == PROGRAM_ROOT { LANES } else { 0 }
}

pub(super) struct Along<'a> {
    lanes: &'a Lanes,
    root: u32,
    taken: usize,
    on_the_way: [bool; Variable::ALL.len()],
}

impl Along<'_> {
    /// Takes the next name.
    pub fn take(&mut self, name: &[u8]) {
        for (lane, on_the_way) in self.lanes.iter().zip(&mut self.on_the_way) {
            *on_the_way &= lane.and_then(|lane| lane.get(self.taken)).is_some_and(|next| next == name);
        }
        self.taken += 1;
    }

    /// The states of those that the names so far lead to.
    pub fn reached(&self) -> impl Iterator<Item = u32> {
        let there = self.lanes.iter().zip(self.on_the_way).zip(first(self.root)..);
        let there = there.filter(|((lane, on), _)| *on && lane.is_some_and(|lane| lane.len() == self.taken));
        there.map(|(_, state)| state)
    }
}
