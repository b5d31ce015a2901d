//! Which program acts, and whether a rule speaks of it.

use std::collections::HashSet;

use sensor_common::action::Action;
use sensor_common::table::{self, SET};

use super::automaton::PROGRAM_ROOT;
use super::circumstances::Circumstances;
use super::compiled::Table;
use super::object::Object;
use super::place::components;

/// The program that acts, by its executable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Program<'a> {
    /// Nobody knows, or it lies where no place is known.
    #[default]
    Unknown,
    Path(&'a [u8]),
    /// In no filesystem.
    Nameless,
}

impl<'a> Program<'a> {
    /// By its name, as a hook, `/proc` or a case gives it; none is unknown.
    pub fn of(name: Option<&'a [u8]>) -> Program<'a> {
        // As /proc has a file that is deleted: it goes by the last name it had.
        let name = name.map(|name| name.strip_suffix(b" (deleted)").unwrap_or(name));
        match Object::of(name) {
            Object::Path(path) if path.starts_with(b"/memfd:") => Program::Nameless,
            Object::Path(path) => Program::Path(path),
            Object::Nameless(_) => Program::Nameless,
            _ => Program::Unknown,
        }
    }
}

/// The sets of programs that the acting one is in.
pub(super) enum Acting {
    Unknown,
    In(HashSet<u32>),
}

impl Acting {
    /// Whether the rule speaks of the program; one that is unknown may be any.
    pub fn is_spoken_of(&self, rule: &table::Rule) -> bool {
        match (rule.program, self) {
            (table::program::ANY, _) | (_, Acting::Unknown) => true,
            (table::program::IN, Acting::In(sets)) => sets.contains(&rule.programs),
            (_, Acting::In(sets)) => !sets.contains(&rule.programs),
        }
    }

    /// Whether the rule would have to know a program that nobody does.
    pub fn asked_in_vain(&self, rule: &table::Rule) -> bool {
        rule.program != table::program::ANY && matches!(self, Acting::Unknown)
    }
}

impl Table {
    /// What is known of the program that acts, where a rule asks for it.
    pub(super) fn acting(&self, action: Action, how: &Circumstances<'_>) -> Acting {
        match how.program {
            _ if self.kernel.programs & action.bit() == 0 => Acting::Unknown,
            Program::Unknown => Acting::Unknown,
            Program::Nameless => Acting::In(HashSet::new()),
            Program::Path(path) => {
                let reached = self.automaton.walk(
                    PROGRAM_ROOT,
                    components(path),
                    &self.lanes,
                    self.held_at(path, how.program_holds),
                );
                let sets = reached.candidates.iter().map(|candidate| candidate.rule & !SET);
                if reached.unsure { Acting::Unknown } else { Acting::In(sets.collect()) }
            }
        }
    }
}
