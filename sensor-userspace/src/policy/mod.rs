//! The policy language: read, checked, compiled, judged, explained.
//!
//! `parse` reads a file and tells every error in it; `Policy::compile` makes the `Table` that the kernel
//! gets; `Table::judge` walks the same table for what no hook saw, for `explain` and for `test`.

mod address;
mod automaton;
mod bytes;
mod cases;
mod circumstances;
mod compile;
mod compiled;
mod contents;
mod decision;
mod facts;
mod glob;
mod guard;
mod hosts;
mod include;
mod json;
mod judge;
mod kernel_rule;
mod lane;
mod language;
mod limit;
mod lists;
mod networks;
mod numbering;
mod numbers;
mod object;
mod offered;
mod pattern;
pub mod place;
mod problem;
mod program;
mod read;
mod read_case;
mod read_consequence;
mod read_exe;
mod read_hosts;
mod read_limit;
mod read_number;
mod read_object;
mod read_rule;
mod read_when;
mod reason;
mod schema;
mod sensitivity;
mod shadow;
pub mod suggest;
mod vocabulary;
mod window;
mod words;
mod yaml;

#[cfg(test)]
mod tests;

pub use address::{Destination, Host, exact, protocol_number};
pub use automaton::{PROGRAM_ROOT, ROOT};
pub use bytes::ByteAutomaton;
pub use cases::Outcome;
pub use circumstances::Circumstances;
pub use compiled::{Table, TableRule};
pub use contents::{Content, Contents, Digest, Holds, split as split_digest};
pub use decision::{Consequences, Decision, KernelHit, Step, StepResult};
pub use facts::{Fact, Identity, Words};
pub use hosts::{Hosts, MAX_ADDRESSES, octets, told};
pub use include::read_text;
pub use json::effect_word;
pub use lane::Lanes;
pub use language::{
    AddressTest, Case, CaseObject, CaseProgram, Effect, FactId, Fallback, LabelId, NumberTest, PathTest, Policy,
    ProgramTest, Rule, SetId, SetLabel, When, Who,
};
pub use limit::{Counted, Counting, Limit, Limits, Tally};
pub use numbering::Busy;
pub use numbers::Numbered;
pub use object::{Object, Written, pair};
pub use pattern::{Part, Pattern, Piece, Variable, Variables};
pub use problem::{At, Errors, Level, Problem};
pub use program::Program;
pub use read::{Included, parse, parse_file, parse_given};
pub use read_exe::NAMELESS as NAMELESS_PROGRAM;
pub use read_rule::{has_address, has_place, reaches_sockets};
pub use schema::schema;
pub use window::Window;
pub use words::{MAX_NAME, is_name, verbs};

/// The rule id of the policy's `default:`.
pub const RULE_DEFAULT: &str = "RULE_DEFAULT";
/// The rule id of the policy's `on_unknown:`.
pub const RULE_UNKNOWN: &str = "RULE_UNKNOWN";
/// The id of the rule that `unresolved:` is.
pub const RULE_UNRESOLVED: &str = "RULE_UNRESOLVED";
