//! Runs a policy's own table of cases.

use sensor_common::action::Action;

use super::circumstances::Circumstances;
use super::contents::{Contents, Holds};
use super::decision::Decision;
use super::facts::Identity;
use super::hosts::Hosts;
use super::language::{Case, CaseObject, CaseProgram, Policy, Who};
use super::limit::Limits;
use super::object::{Object, Written, pair};
use super::pattern::{Pattern, Variables};
use super::problem::{At, Errors};
use super::program::Program;
use super::read_exe::NAMELESS;

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
        let hosts = self.stand_in_hosts();
        let table = self.compile_with(&variables, &hosts, &Contents::new())?;
        let outcomes = self.cases.iter().filter_map(|case| {
            let exe = case.program(&variables);
            let now = Circumstances { program: Program::of(exe.as_deref()), ..self.circumstances(case) };
            let (path, path2) = case.paths(&variables);
            let outcome = |attempt: Vec<_>| {
                let decision = table.judge(&attempt, &now);
                let passed =
                    decision.verdict == case.verdict && case.rule.as_ref().is_none_or(|rule| *rule == decision.rule_id);
                Outcome { case, at: case.at, decision, passed }
            };
            let attempts = case.attempts(path.as_deref(), path2.as_deref(), &hosts);
            // A name's addresses must all come out as the case says: one that does not is the outcome.
            attempts.into_iter().map(outcome).reduce(|first, next| if first.passed { next } else { first })
        });
        Ok(outcomes.collect())
    }

    /// What the kernel would know of the case's agent; its program is the caller's to add.
    pub(super) fn circumstances(&self, case: &Case) -> Circumstances<'static> {
        let Who { agent, principal, role, env, task, approvals } = &case.who;
        let approvals: Vec<&str> = approvals.iter().map(String::as_str).collect();
        let who = Identity {
            agent_id: agent.as_deref().unwrap_or_default(),
            principal: principal.as_deref().unwrap_or_default(),
            role: role.as_deref(),
            environment: env.as_deref(),
            task: task.as_deref(),
            approvals: &approvals,
        };
        let time = case.time.unwrap_or_else(|| jiff::Timestamp::now().as_second());
        Circumstances {
            // Reading refuses more than 32.
            labels: case.labels.iter().fold(0, |bits, label| bits | 1 << label),
            risk: case.risk,
            facts: self.facts_that_hold(&who, time),
            written: if case.written { Written::Yes } else { Written::No },
            holds: case.holds(),
            program: Program::Unknown,
            program_holds: case.program_holds(),
            limits: Limits::Given(self.limits_of(&case.exceeds)),
            answered: &[],
        }
    }

    /// The rule of this name, if it has a limit.
    pub fn limited(&self, id: &str) -> Option<usize> {
        self.rules.iter().position(|rule| rule.id == id && rule.when.limit.is_some())
    }

    /// A bit for the limit of each of these rules.
    pub fn limits_of(&self, rules: &[usize]) -> u32 {
        let limited = self.rules.iter().enumerate().filter(|(_, rule)| rule.when.limit.is_some());
        let bits = limited.enumerate().filter(|(_, (rule, _))| rules.contains(rule));
        bits.fold(0, |bits, (limit, _)| bits | 1_u32.checked_shl(limit as u32).unwrap_or(0))
    }
}

impl Case {
    /// Both paths. The values are sound once a table is compiled; a path that grows too long is unknown.
    pub(super) fn paths(&self, variables: &Variables) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let first = match &self.object {
            CaseObject::Path(pattern) => pattern.literal(variables),
            _ => None,
        };
        (first, self.path2.as_ref().and_then(|pattern| pattern.literal(variables)))
    }

    /// The program that acts; none where the case does not say.
    pub(super) fn program(&self, variables: &Variables) -> Option<Vec<u8>> {
        match &self.exe {
            CaseProgram::Unknown => None,
            CaseProgram::Path(pattern) => pattern.literal(variables),
            CaseProgram::Nameless => Some(NAMELESS.into()),
        }
    }

    /// What its object's file holds, and its program's: nobody has read any.
    fn holds(&self) -> Holds {
        match &self.object {
            CaseObject::Path(Pattern { digest, .. }) => Holds::of(*digest),
            _ => Holds::AsRead,
        }
    }

    fn program_holds(&self) -> Holds {
        match &self.exe {
            CaseProgram::Path(Pattern { digest, .. }) => Holds::of(*digest),
            _ => Holds::AsRead,
        }
    }

    /// What is attempted: once, or to each address of a host.
    pub(super) fn attempts<'a>(
        &self,
        path: Option<&'a [u8]>,
        path2: Option<&'a [u8]>,
        hosts: &Hosts,
    ) -> Vec<Vec<(Action, Object<'a>)>> {
        let first = match &self.object {
            CaseObject::None => vec![Object::None],
            CaseObject::Number(which) => vec![Object::Number(*which)],
            CaseObject::Nameless => vec![Object::Nameless(b"memfd:x")],
            CaseObject::Address { address, port, protocol } => {
                vec![Object::Address { address: *address, port: *port, protocol: *protocol }]
            }
            CaseObject::Host { name, port, protocol } => hosts.objects(name, *port, *protocol),
            CaseObject::Path(_) | CaseObject::Unknown => vec![Object::of(path)],
        };
        let second = self.path2.as_ref().map(|_| Object::of(path2));
        first.into_iter().map(|first| pair(&self.actions, first, second)).collect()
    }
}
