//! From YAML to what a rule asks of the program that acts.

use super::language::{CaseProgram, ProgramTest, SetId};
use super::problem::Report;
use super::read::Reading;
use super::read_case::{file, literal};
use super::read_object::sets;
use super::words::unknown_key;
use super::yaml::{Entry, Kind, Node};

/// What the program of a case has in front of its name if it is in no filesystem.
pub const NAMELESS: &str = "memfd:";

/// Reads `exe:` of a rule; `None` with the reason told.
pub(super) fn exe(entry: Option<&Entry>, reading: &mut Reading, report: &mut Report) -> Option<ProgramTest> {
    let Some(entry) = entry else { return Some(ProgramTest::Any) };
    let Kind::Map(sides) = &entry.value.kind else {
        return programs(&entry.value, reading, report).map(ProgramTest::In);
    };
    match sides.as_slice() {
        [side] if side.key == "not" => programs(&side.value, reading, report).map(ProgramTest::NotIn),
        [] => {
            report.error(entry.value.at, "`exe` is an empty map", "write `exe: { not: [/usr/bin/git] }`");
            None
        }
        sides => {
            for side in sides.iter().filter(|side| side.key != "not") {
                unknown_key(side, &["not"], true, report);
            }
            None
        }
    }
}

fn programs(node: &Node, reading: &mut Reading, report: &mut Report) -> Option<Vec<SetId>> {
    sets(node, "exe", reading, report)
}

/// Reads `exe:` of a case.
pub(super) fn case_program(entry: Option<&Entry>, report: &mut Report) -> Option<CaseProgram> {
    let Some(entry) = entry else { return Some(CaseProgram::Unknown) };
    if entry.value.text().is_some_and(|text| text.starts_with(NAMELESS)) {
        return Some(CaseProgram::Nameless);
    }
    literal(entry, &file, report).map(CaseProgram::Path)
}
