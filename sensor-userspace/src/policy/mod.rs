//! The policy language: read, checked, compiled, judged, explained.
//!
//! `parse` reads a file and tells every error in it; `Policy::compile` makes the `Table` that the kernel
//! gets; `Table::judge` walks the same table for what no hook saw, for `explain` and for `test`.

mod cases;
mod compile;
mod json;
mod judge;
mod language;
mod pattern;
pub mod place;
mod problem;
mod read;
mod read_case;
mod read_rule;
mod reason;
mod shadow;
mod words;
mod yaml;

#[cfg(test)]
mod tests;

pub use cases::Outcome;
pub use compile::{Table, TableRule};
pub use json::effect_word;
pub use judge::{Decision, KernelHit, Object, Step, StepResult, pair};
pub use language::{Case, CaseObject, Fallback, ObjectTest, Policy, Rule};
pub use pattern::{Pattern, Variable, Variables};
pub use problem::{At, Errors, Level, Problem};
pub use read::parse;
pub use read_rule::has_place;
pub use words::verbs;

/// The rule id of the policy's `default:`.
pub const RULE_DEFAULT: &str = "RULE_DEFAULT";
/// The rule id of the policy's `on_unknown:`.
pub const RULE_UNKNOWN: &str = "RULE_UNKNOWN";
