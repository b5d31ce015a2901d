//! `rgt policy check|explain|show|test|suggest`: what a policy says, without a kernel; `apply`: with one.

mod apply;
mod explain;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use sensor_common::action::Action;
use serde_json::{Value, json};

use self::apply::{Apply, apply};
use self::explain::{Explain, explain};
use super::suggest::{self, SuggestArgs};
use crate::policy::{self, Contents, Decision, Errors, Policy, Problem, Variables, effect_word, read_text};

/// A policy has errors, a case of its tests fails, or no daemon is there to apply it.
const EXIT_UNSOUND: u8 = 1;
/// The question itself cannot be answered: a file that cannot be read, an action that does not exist.
const EXIT_USAGE: u8 = 2;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt policy check policies/*.yaml\n  rgt policy test policies/article.yaml\n  \
    rgt policy explain policies/article.yaml --action file.delete --path /prod/db\n\n\
    Exit status: 0; 1 where a policy has errors, a case fails, or it could not be applied; 2 where the question cannot \
    be answered.")]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Tell every error of policy files, with line, column and the way out.
    #[command(
        after_help = "Examples:\n  rgt policy check policy.yaml\n  rgt policy check --json policies/*.yaml | jq .problems"
    )]
    Check {
        /// One JSON object a file.
        #[arg(long)]
        json: bool,
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Put another policy in force for agents that run; a bad one changes nothing.
    Apply(Apply),
    /// Say which rule decides an attempt, and why.
    Explain(Box<Explain>),
    /// Show a policy as it is compiled.
    #[command(after_help = "Examples:\n  rgt policy show policy.yaml\n  \
        rgt policy show policy.yaml --workspace \"$PWD\" --json | jq .rules")]
    Show {
        #[command(flatten)]
        variables: Given,
        /// One JSON object.
        #[arg(long)]
        json: bool,
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Run the policy's own table of cases (`tests:`).
    #[command(
        after_help = "Examples:\n  rgt policy test policy.yaml\n  rgt policy test policy.yaml --json | jq 'select(.passed | not)'"
    )]
    Test {
        #[command(flatten)]
        variables: Given,
        /// One JSON object a case.
        #[arg(long)]
        json: bool,
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Write the least policy that allows what a ledger holds.
    Suggest(SuggestArgs),
}

#[derive(Args, Debug)]
struct Given {
    /// What `${workspace}` stands for.
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What `${home}` stands for.
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl Given {
    fn variables(&self) -> Variables {
        Variables { workspace: self.workspace.clone(), home: self.home.clone() }
    }
}

pub fn run(args: PolicyArgs) -> anyhow::Result<ExitCode> {
    let status = execute(&args, &mut io::stdout().lock(), &mut io::stderr().lock())?;
    Ok(ExitCode::from(status))
}

/// The command with its outputs given, and its exit status returned.
pub fn execute(args: &PolicyArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let result = match &args.verb {
        Verb::Check { json, files } => return check(files, *json, out, err),
        Verb::Suggest(args) => return suggest::execute(args, out, err),
        Verb::Apply(args) => apply(args, out, err),
        Verb::Explain(question) => explain(question, out),
        Verb::Show { variables, json, file } => show(file, &variables.variables(), *json, out),
        Verb::Test { variables, json, file } => test(file, &variables.variables(), *json, out),
    };
    match result {
        Ok(status) => Ok(status),
        Err(Failure::Output(error)) => Err(error),
        Err(Failure::Unsound(errors)) => {
            writeln!(err, "{errors}")?;
            Ok(EXIT_UNSOUND)
        }
        Err(Failure::Usage(text)) => {
            writeln!(err, "rgt policy: {text}")?;
            Ok(EXIT_USAGE)
        }
        Err(Failure::Undone(text)) => {
            writeln!(err, "rgt policy: {text}")?;
            Ok(EXIT_UNSOUND)
        }
    }
}

enum Failure {
    Output(io::Error),
    Unsound(Errors),
    Usage(String),
    /// Nothing is wrong with the question, and it could not be done.
    Undone(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Output(error)
    }
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Failure {
        Failure::Unsound(errors)
    }
}

fn load(file: &Path) -> Result<Policy, Failure> {
    let text = read_text(file).map_err(|cause| {
        let file = file.display();
        Failure::Usage(format!("cannot read {file}: {cause}; give the path of a policy file"))
    })?;
    Ok(policy::parse_file(&file.to_string_lossy(), &text)?.0)
}

fn check(files: &[PathBuf], json: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let mut status = 0;
    for file in files {
        let checked = load(file).and_then(|policy| {
            policy.compile_with(&Variables::default().or_stand_ins(), &policy.stand_in_hosts(), &Contents::new())?;
            Ok(policy)
        });
        let name = file.to_string_lossy();
        let (problems, ok) = match checked {
            Ok(policy) => {
                if !json {
                    let (rules, cases) = (policy.rules.len(), policy.cases.len());
                    writeln!(out, "{name}: ok, policy `{}`, rules: {rules}, tests: {cases}", policy.name)?;
                }
                (policy.warnings, true)
            }
            Err(Failure::Unsound(errors)) => {
                status = status.max(EXIT_UNSOUND);
                (errors.0, false)
            }
            Err(Failure::Usage(text) | Failure::Undone(text)) => {
                status = status.max(EXIT_USAGE);
                if json {
                    writeln!(out, "{}", json!({ "file": name, "ok": false, "error": text }))?;
                } else {
                    writeln!(err, "rgt policy: {text}")?;
                }
                continue;
            }
            Err(Failure::Output(error)) => return Err(error),
        };
        if json {
            let problems: Vec<Value> = problems.iter().map(Problem::to_json).collect();
            writeln!(out, "{}", json!({ "file": name, "ok": ok, "problems": problems }))?;
        } else {
            for problem in problems {
                writeln!(err, "{problem}")?;
            }
        }
    }
    Ok(status)
}

fn headline(decision: &Decision) -> String {
    let observed = if decision.observe { ", observed only" } else { "" };
    let (verdict, rule) = (decision.verdict.name(), &decision.rule_id);
    format!("{verdict} by {rule} (severity {}{observed})", decision.severity.name())
}

fn show(file: &Path, variables: &Variables, json: bool, out: &mut dyn Write) -> Result<u8, Failure> {
    let policy = load(file)?;
    let table = policy.compile_with(variables, &policy.stand_in_hosts(), &Contents::new())?;
    if json {
        writeln!(out, "{}", table.to_json())?;
        return Ok(0);
    }
    let mode = if table.observes() { "observe" } else { "enforce" };
    let effects = (effect_word(table.kernel.default_effect), effect_word(table.kernel.on_unknown));
    writeln!(out, "policy {} (mode {mode}, default {}, on_unknown {})", table.name, effects.0, effects.1)?;
    writeln!(out, "sha256 {}", table.hash)?;
    for (index, (rule, kernel)) in table.rules.iter().zip(&table.tests).enumerate() {
        let observe = if kernel.observe != 0 { " (observes)" } else { "" };
        let places = table.objects_text(index);
        let verbs: Vec<&str> = policy::verbs(kernel.actions).map(Action::verb).collect();
        writeln!(out, "{:>3}  {}{observe}: {} {places}", index + 1, rule.id, effect_word(kernel.effect))?;
        writeln!(out, "       {}", verbs.join(" "))?;
    }
    let (states, networks) = (table.automaton.states.len(), table.networks.offered.len());
    writeln!(out, "{states} states, {} byte automata, {networks} networks", table.automaton.bytes.len())?;
    Ok(0)
}

fn test(file: &Path, variables: &Variables, json: bool, out: &mut dyn Write) -> Result<u8, Failure> {
    let policy = load(file)?;
    let outcomes = policy.run_cases(variables)?;
    if outcomes.is_empty() {
        let text = format!("{} has no cases; write some under `tests:`", file.display());
        return Err(Failure::Usage(text));
    }
    let mut failed = 0;
    for outcome in &outcomes {
        failed += usize::from(!outcome.passed);
        let name = outcome.case.name.clone().unwrap_or_else(|| outcome.decision.reason.clone());
        if json {
            let mut line = outcome.decision.to_json();
            line["name"] = json!(name);
            line["line"] = json!(outcome.at.line);
            line["passed"] = json!(outcome.passed);
            writeln!(out, "{line}")?;
            continue;
        }
        let word = if outcome.passed { "ok    " } else { "FAILED" };
        writeln!(out, "{word} {}:{}: {name}", file.display(), outcome.at.line)?;
        if !outcome.passed {
            let rule = outcome.case.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
            writeln!(
                out,
                "       expected {}{rule}, got {}",
                outcome.case.verdict.name(),
                headline(&outcome.decision)
            )?;
            writeln!(out, "       {}", outcome.decision.reason)?;
        }
    }
    if !json {
        writeln!(out, "{} passed, {failed} failed", outcomes.len() - failed)?;
    }
    Ok(if failed == 0 { 0 } else { EXIT_UNSOUND })
}
