//! From a ledger to the least policy that allows what is in it.
//!
//! `Observed` takes the records in, `suggest` makes rules of them, widens where a list would be longer
//! than a person reads, and judges every attempt by the compiled result before anybody sees it.

mod attempts;
mod names;
mod network;
mod placeless;
mod rules;
mod secrets;
mod tree;
mod write;

#[cfg(test)]
mod tests;

use sensor_common::action::Action;

pub use attempts::{Chosen, Observed, Stat, Thing};
pub use names::Dialect;
pub use rules::{LeftOut, Path, Rule};
pub use write::{readable, times};

use super::circumstances::Circumstances;
use super::pattern::Variables;
use super::problem::Errors;
use super::{Fallback, parse};
use crate::attempt::Verdict;

pub struct Options {
    pub name: String,
    pub variables: Variables,
    pub on_unknown: Fallback,
}

pub struct Suggestion {
    pub text: String,
    pub rules: Vec<Rule>,
    /// What no rule can name; all of it failed.
    pub left_out: LeftOut,
}

/// An attempt that the suggestion would deny.
pub struct Denied {
    pub action: Action,
    pub thing: Thing,
    pub stat: Stat,
    pub reason: String,
}

pub enum Failed {
    /// Nothing was attempted.
    Nothing,
    /// The text is no policy: a fault of the suggestion's.
    Unsound(Errors),
    Denied(Vec<Denied>),
}

impl Dialect {
    /// What the compiler of this version takes, asked by trying.
    pub fn of_this_version() -> Dialect {
        let takes = |rule: &str| {
            let text = format!("version: 1\nrules:\n  - {{ id: A, {rule} }}\n");
            let policy = parse("(a question)", &text);
            policy.is_ok_and(|policy| policy.compile(&Variables::default().or_stand_ins()).is_ok())
        };
        Dialect {
            wildcards: takes(r#"allow: file.read, path: ["/a/b-*/c?/\\*/**", "**/{.x,.y/z}/**"]"#),
            braces: takes(r#"allow: file.read, path: "/a/{b,c}""#),
            destinations: takes(r#"allow: net.connect, to: ["127.0.0.0/8:80", "*"]"#),
        }
    }
}

pub fn suggest(observed: &Observed, options: &Options, dialect: Dialect) -> Result<Suggestion, Failed> {
    let Options { name, variables, on_unknown } = options;
    let (rules, left_out) = rules::Maker { observed, variables, dialect }.rules();
    if rules.is_empty() {
        return Err(unnameable(observed, &left_out));
    }
    let on_unknown = match on_unknown {
        Fallback::Allow => "allow",
        Fallback::Deny => "deny",
    };
    let page = write::Page { name, on_unknown, observed, variables, rules: &rules, left_out: &left_out };
    let text = page.text();
    let denied = replay(observed, &text, variables, &left_out).map_err(Failed::Unsound)?;
    if !denied.is_empty() {
        return Err(Failed::Denied(denied));
    }
    Ok(Suggestion { text, rules, left_out })
}

/// Why there is no rule at all: nothing was attempted, or nothing that a rule can name.
fn unnameable(observed: &Observed, left_out: &LeftOut) -> Failed {
    let rest = observed.things.iter().filter(|(key, _)| !left_out.contains(key));
    let denied: Vec<Denied> = rest
        .map(|((action, thing), stat)| {
            let reason = "no rule can name it".to_owned();
            Denied { action: *action, thing: thing.clone(), stat: stat.clone(), reason }
        })
        .collect();
    if denied.is_empty() { Failed::Nothing } else { Failed::Denied(denied) }
}

/// Judges everything that was attempted by the policy, as `explain` and the daemon do. An attempt of
/// several actions is allowed if each is, so each is judged once.
pub fn replay(
    observed: &Observed,
    policy: &str,
    variables: &Variables,
    left_out: &LeftOut,
) -> Result<Vec<Denied>, Errors> {
    let table = parse("(suggestion)", policy)?.compile(variables)?;
    let mut denied = Vec::new();
    for (key @ (action, thing), stat) in &observed.things {
        if left_out.contains(key) {
            continue;
        }
        let decision = table.judge(&[(*action, thing.object(*action))], &Circumstances::default());
        if decision.verdict != Verdict::Allow {
            let (action, thing, stat) = (*action, thing.clone(), stat.clone());
            denied.push(Denied { action, thing, stat, reason: decision.reason });
        }
    }
    Ok(denied)
}
