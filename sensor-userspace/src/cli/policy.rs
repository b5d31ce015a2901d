//! `rgt policy check|explain|show|test`: what a policy says, without a kernel.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use sensor_common::action::Action;
use serde_json::{Value, json};

use crate::policy::{
    self, Decision, Errors, Object, Policy, Problem, Variables, effect_word, place,
};

/// A policy has errors, or a case of its tests fails.
const EXIT_UNSOUND: u8 = 1;
/// The question itself cannot be answered: a file that cannot be read, an action that does not exist.
const EXIT_USAGE: u8 = 2;

#[derive(Args, Debug)]
pub struct PolicyArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Tell every error of policy files, with line, column and the way out.
    Check {
        /// One JSON object a file.
        #[arg(long)]
        json: bool,
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Say which rule decides an attempt, and why.
    Explain(Explain),
    /// Show a policy as it is compiled.
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
    Test {
        #[command(flatten)]
        variables: Given,
        /// One JSON object a case.
        #[arg(long)]
        json: bool,
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

#[derive(Args, Debug)]
struct Explain {
    /// What is attempted: `file.delete`; several with commas, if one call means several.
    #[arg(long, value_name = "VERB", required = true, value_delimiter = ',')]
    action: Vec<String>,
    /// Its object, an absolute path.
    #[arg(long, value_name = "PATH", conflicts_with = "unknown")]
    path: Option<OsString>,
    /// The second path of a rename or a link.
    #[arg(long, value_name = "PATH")]
    path2: Option<OsString>,
    /// The kernel cannot tell the object's place.
    #[arg(long)]
    unknown: bool,
    #[command(flatten)]
    variables: Given,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[arg(value_name = "FILE")]
    file: PathBuf,
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
    }
}

enum Failure {
    Output(io::Error),
    Unsound(Errors),
    Usage(String),
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
    let bytes = std::fs::read(file).map_err(|error| {
        Failure::Usage(format!(
            "cannot read {}: {error}; give the path of a policy file",
            file.display()
        ))
    })?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::Usage(format!("{} is not UTF-8 at byte {at}; save it as UTF-8", file.display()))
    })?;
    Ok(policy::parse(&file.to_string_lossy(), &text)?)
}

fn check(
    files: &[PathBuf],
    json: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<u8> {
    let mut status = 0;
    for file in files {
        let checked = load(file).and_then(|policy| {
            policy.compile(&Variables::default().or_stand_ins())?;
            Ok(policy)
        });
        let name = file.to_string_lossy();
        let (problems, ok) = match checked {
            Ok(policy) => {
                if !json {
                    let (rules, cases) = (policy.rules.len(), policy.cases.len());
                    writeln!(
                        out,
                        "{name}: ok, policy `{}`, rules: {rules}, tests: {cases}",
                        policy.name
                    )?;
                }
                (policy.warnings, true)
            }
            Err(Failure::Unsound(errors)) => {
                status = status.max(EXIT_UNSOUND);
                (errors.0, false)
            }
            Err(Failure::Usage(text)) => {
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

fn explain(question: &Explain, out: &mut dyn Write) -> Result<u8, Failure> {
    let table = load(&question.file)?.compile(&question.variables.variables())?;
    let actions = actions(&question.action)?;
    let path = absolute(question.path.as_ref())?;
    let path2 = absolute(question.path2.as_ref())?;
    let placeless = path.is_none() && !question.unknown;
    if let Some(action) = actions.iter().find(|action| placeless && policy::has_place(**action)) {
        let text = format!(
            "{} has a path: give it with --path, or --unknown if it cannot be told",
            action.verb()
        );
        return Err(Failure::Usage(text));
    }
    let first = match &path {
        Some(path) => Object::Path(path),
        None if question.unknown => Object::Unknown,
        None => Object::None,
    };
    let second = path2.as_deref().map(Object::Path);
    let (decision, steps) = table.explain(&policy::pair(&actions, first, second));
    if question.json {
        let steps: Vec<Value> = steps
            .iter()
            .map(|step| json!({ "action": step.action.verb(), "rule": table.rules[step.rule].id, "result": step.result.name() }))
            .collect();
        let mut answer = decision.to_json();
        answer["steps"] = Value::Array(steps);
        writeln!(out, "{answer}")?;
        return Ok(0);
    }
    writeln!(out, "{}", headline(&decision))?;
    writeln!(out, "  {}", decision.reason)?;
    if let Some((verdict, rule)) = &decision.would {
        writeln!(out, "  {rule} observes: it would have said {}", verdict.name())?;
    }
    for step in steps {
        let places = table.places_text(step.rule).unwrap_or_else(|| "any object".to_owned());
        let (verb, id) = (step.action.verb(), &table.rules[step.rule].id);
        writeln!(out, "    {verb:<14} {id}: {} ({places})", step.result.name().replace('_', " "))?;
    }
    Ok(0)
}

fn actions(words: &[String]) -> Result<Vec<Action>, Failure> {
    let action = |word: &String| {
        Action::from_verb(word).ok_or_else(|| {
            let verbs: Vec<&str> = Action::ALL.iter().map(|action| action.verb()).collect();
            Failure::Usage(format!("no action is called `{word}`; they are: {}", verbs.join(", ")))
        })
    };
    words.iter().map(action).collect()
}

fn absolute(path: Option<&OsString>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let known = place::normalise(b"", path.as_bytes());
    known.map(Some).ok_or_else(|| {
        Failure::Usage(format!(
            "the path `{}` is not absolute; begin it with `/`",
            path.to_string_lossy()
        ))
    })
}

fn headline(decision: &Decision) -> String {
    let observed = if decision.observe { ", observed only" } else { "" };
    let (verdict, rule) = (decision.verdict.name(), &decision.rule_id);
    format!("{verdict} by {rule} (severity {}{observed})", decision.severity.name())
}

fn show(
    file: &Path,
    variables: &Variables,
    json: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let policy = load(file)?;
    let table = policy.compile(variables)?;
    if json {
        writeln!(out, "{}", table.to_json())?;
        return Ok(0);
    }
    let mode = if table.kernel.observe != 0 { "observe" } else { "enforce" };
    let effects = (effect_word(table.kernel.default_effect), effect_word(table.kernel.on_unknown));
    writeln!(
        out,
        "policy {} (mode {mode}, default {}, on_unknown {})",
        table.name, effects.0, effects.1
    )?;
    writeln!(out, "sha256 {}", table.hash)?;
    for (index, (rule, kernel)) in table.rules.iter().zip(&table.kernel.rules).enumerate() {
        let observe = if kernel.observe != 0 { " (observes)" } else { "" };
        let places = table.places_text(index).unwrap_or_else(|| "any object".to_owned());
        let verbs: Vec<&str> = policy::verbs(kernel.actions).map(Action::verb).collect();
        writeln!(
            out,
            "{:>3}  {}{observe}: {} {places}",
            index + 1,
            rule.id,
            effect_word(kernel.effect)
        )?;
        writeln!(out, "       {}", verbs.join(" "))?;
    }
    writeln!(out, "places: {}", table.places.len())?;
    for (path, place) in &table.places {
        let path = String::from_utf8_lossy(path);
        let slash = if path == "/" { "" } else { "/" };
        if place.exact != 0 {
            writeln!(out, "     {path}  sets {:#x}", place.exact)?;
        }
        if place.below != 0 {
            writeln!(out, "     {path}{slash}**  sets {:#x}", place.below)?;
        }
    }
    Ok(0)
}

fn test(
    file: &Path,
    variables: &Variables,
    json: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
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
            let rule =
                outcome.case.rule.as_ref().map(|rule| format!(" by {rule}")).unwrap_or_default();
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
