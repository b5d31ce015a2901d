//! Which rules an object comes to, by the automaton or the networks, and which then speak of it.

use std::collections::HashSet;

use sensor_common::action::Action;
use sensor_common::table::{self, Candidate, LEVELS, SET};

use super::automaton::{ABSTRACT, ROOT};
use super::circumstances::Circumstances;
use super::compiled::Table;
use super::contents::{Held, goes_by_contents};
use super::lane::Lanes;
use super::object::{Object, Written};
use super::place::components;
use super::read_rule::may_have_place;

/// What came to be offered for one object.
#[derive(Default)]
pub(super) struct Offered {
    pub(super) rules: HashSet<u32>,
    sets: HashSet<u32>,
    /// What it comes to cannot be told.
    pub(super) unsure: bool,
}

impl Offered {
    fn take(&mut self, candidate: &Candidate) {
        if candidate.rule & SET != 0 {
            self.sets.insert(candidate.rule & !SET);
        } else {
            self.rules.insert(candidate.rule);
        }
    }

    /// Whether a rule that was offered, or that nothing has to offer, speaks of the object.
    pub(super) fn takes(&self, rule: &table::Rule, action: Action, object: Object<'_>, written: Written) -> bool {
        let outside = !self.sets.contains(&rule.set);
        match (rule.object, object) {
            (table::object::IN_SET, object) => !outside && matches!(object, Object::Path(_) | Object::Abstract(_)),
            (table::object::TO_SET, object) => !outside && matches!(object, Object::Address { .. }),
            (table::object::NOT_IN, Object::Path(_) | Object::Abstract(_)) => outside,
            (table::object::TO, object) if object.has_place() => false,
            // No file name: outside of all places only for what could run it as code.
            (table::object::NOT_IN, Object::Nameless(_)) => {
                matches!(action, Action::ProcExec | Action::FileMapExec)
            }
            (table::object::NOT_TO, Object::Address { .. }) => outside,
            (table::object::AMONG | table::object::NOT_AMONG, Object::Number(which)) => {
                rule.speaks_of_number(which.into())
            }
            (table::object::AMONG | table::object::NOT_AMONG, _) => false,
            (table::object::WRITTEN, _) => written == Written::Yes,
            (table::object::NOT_WRITTEN, Object::Path(_)) => written == Written::No,
            (table::object::NOT_IN | table::object::NOT_TO | table::object::NOT_WRITTEN, _) => false,
            _ => true,
        }
    }
}

impl Table {
    /// How sensitive the object is, a bit; 0: it has neither a place nor an address.
    pub(super) fn level(&self, offered: &Offered, action: Action, object: Object<'_>) -> u32 {
        let sets = match object {
            // Binding a unix socket has neither.
            Object::Path(_) | Object::Abstract(_) if !may_have_place(action) => return 0,
            Object::Path(_) | Object::Abstract(_) => &self.kernel.level_places,
            Object::Address { .. } => &self.kernel.level_addresses,
            _ => return 0,
        };
        let is_of = |level: &usize| sets[*level] != 0 && offered.sets.contains(&(u32::from(sets[*level]) - 1));
        1 << (1..LEVELS).rev().find(is_of).unwrap_or(0)
    }

    /// What the automaton, or the networks, offer for this object.
    pub(super) fn offered(&self, action: Action, object: Object<'_>, how: &Circumstances) -> Offered {
        let mut offered = Offered::default();
        let speaks = |candidate: &Candidate, port: u16, protocol: u8| {
            (candidate.low..=candidate.high).contains(&port)
                && (candidate.protocol == 0 || candidate.protocol == u32::from(protocol))
        };
        let held = |path: &[u8]| if goes_by_contents(action) { self.held_at(path, how.holds) } else { Held::NotAsked };
        match object {
            Object::Path(path) if self.kernel.walks & action.bit() != 0 => {
                let reached = self.automaton.walk(ROOT, components(path), &self.lanes, held(path));
                offered.unsure = reached.unsure;
                reached.candidates.iter().for_each(|candidate| offered.take(candidate));
            }
            Object::Abstract(name) if self.kernel.walks & action.bit() != 0 => {
                let reached = self.automaton.walk(ABSTRACT, std::iter::once(name), &Lanes::default(), Held::NotAsked);
                offered.unsure = reached.unsure;
                reached.candidates.iter().for_each(|candidate| offered.take(candidate));
            }
            Object::Address { address, port, protocol } => {
                let answered = how.answered.iter().filter_map(|name| self.answered.get(name)).flatten();
                let found = self.networks.look_up(address).iter();
                found
                    .chain(answered)
                    .filter(|candidate| speaks(candidate, port, protocol))
                    .for_each(|candidate| offered.take(candidate));
            }
            _ => {}
        }
        offered
    }
}

pub(super) fn written(object: Object<'_>, how: &Circumstances) -> Written {
    if matches!(object, Object::Nameless(_)) { Written::Yes } else { how.written }
}

/// Whether a rule would have to know of the object what nobody does. What was written is known by itself, wherever
/// it lies; that something was not is known of a known place alone.
pub(super) fn asks_in_vain(rule: &table::Rule, unknown_place: bool, object: Object<'_>, written: Written) -> bool {
    match rule.object {
        table::object::ANY => unknown_place && rule.levels != 0,
        table::object::TO | table::object::NOT_TO | table::object::TO_SET => unknown_place && !object.has_place(),
        table::object::WRITTEN | table::object::NOT_WRITTEN => match written {
            Written::Yes => unknown_place && rule.levels != 0 && rule.object == table::object::WRITTEN,
            Written::No => unknown_place,
            Written::Unknown => true,
        },
        _ => unknown_place,
    }
}
