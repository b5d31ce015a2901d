//! Runs a policy's own table of cases.

use super::judge::{Decision, Object, pair};
use super::language::{Case, CaseObject, Policy};
use super::pattern::Variables;
use super::problem::{At, Errors};

/// How one case came out.
#[derive(Clone, Debug)]
pub struct Outcome<'a> {
    pub case: &'a Case,
    pub at: At,
    pub decision: Decision,
    pub passed: bool,
}

impl Policy {
    /// Judges every case of `tests:`. Variables without a value stand for `/workspace` and `/home/agent`.
    pub fn run_cases(&self, variables: &Variables) -> Result<Vec<Outcome<'_>>, Errors> {
        let variables = variables.or_stand_ins();
        let table = self.compile(&variables)?;
        let mut outcomes = Vec::new();
        for case in &self.cases {
            // The values are sound once the table is compiled; a path that grows too long is unknown.
            let path = match &case.path {
                CaseObject::Path(pattern) => pattern.path(&variables).ok(),
                _ => None,
            };
            let path2 = case.path2.as_ref().map(|pattern| pattern.path(&variables).ok());
            let first = match case.path {
                CaseObject::None => Object::None,
                _ => Object::of(path.as_deref()),
            };
            let second = path2.as_ref().map(|path| Object::of(path.as_deref()));
            let decision = table.judge(&pair(&case.actions, first, second));
            let passed = decision.verdict == case.verdict
                && case.rule.as_ref().is_none_or(|rule| *rule == decision.rule_id);
            outcomes.push(Outcome { case, at: case.at, decision, passed });
        }
        Ok(outcomes)
    }
}
