//! `rgt policy suggest`: the least policy that allows what a ledger holds.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::agent::User;
use crate::ledger::{Position, Reader, files};
use crate::policy::suggest::{Chosen, Denied, Dialect, Failed, Observed, Options, Rule, Suggestion, readable, suggest};
use crate::policy::{Fallback, Variables};

/// Of what would be denied, so much is told.
const TOLD: usize = 10;

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt exec --ledger ./seen --observe -- ./agent --task review\n  \
    rgt policy suggest ./seen --workspace \"$PWD\" > review.yaml\n  rgt policy check review.yaml\n  \
    rgt exec --policy review.yaml -- ./agent --task review\n\n\
    The policy denies by default and allows what was attempted, as far as patterns can say it. It is printed only \
    if it allows every attempt of the ledger. Lines marked `!!` (secrets, privileges) are for a person to decide.\n\n\
    Exit status: 0 printed · 1 an attempt would still be denied, which is told · 2 the ledger cannot be read, or \
    nothing in it was chosen.")]
pub struct SuggestArgs {
    /// Only what this agent attempted
    #[arg(long, value_name = "A")]
    agent: Option<String>,
    /// Only this run
    #[arg(long, value_name = "R")]
    run: Option<String>,
    /// The policy's name [default: the agent's]
    #[arg(long, value_name = "N")]
    name: Option<String>,
    /// What `${workspace}` stood for [default: where the run's first relative name began]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// What `${home}` stood for [default: the home of the one user there is in the records]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The policy's `on_unknown`: what holds for an object whose place cannot be told
    #[arg(long, value_name = "V", default_value = "deny", value_parser = ["allow", "deny"])]
    on_unknown: String,
    /// One JSON object: the text, its rules, what was left out
    #[arg(long)]
    json: bool,
    /// A ledger directory, or one of its segments
    #[arg(value_name = "LEDGER")]
    ledger: PathBuf,
}

/// Prints the policy, or says why there is none; the exit status.
pub fn execute(args: &SuggestArgs, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    let observed = match observe(args) {
        Ok(observed) => observed,
        Err(error) => {
            writeln!(err, "rgt policy suggest: {error:#}")?;
            return Ok(2);
        }
    };
    let options = options(args, &observed);
    match suggest(&observed, &options, Dialect::of_this_version()) {
        Ok(suggestion) if args.json => {
            writeln!(out, "{}", to_json(&suggestion, &observed))?;
            Ok(0)
        }
        Ok(suggestion) => {
            out.write_all(suggestion.text.as_bytes())?;
            Ok(0)
        }
        Err(Failed::Nothing) => {
            writeln!(
                err,
                "rgt policy suggest: {}: no attempt in it was chosen; `rgt agents` and `rgt tail --ledger` \
                 name agents and runs",
                args.ledger.display()
            )?;
            Ok(2)
        }
        Err(Failed::Unsound(errors)) => {
            writeln!(err, "rgt policy suggest: the suggestion is no sound policy:\n{errors}")?;
            Ok(1)
        }
        Err(Failed::Denied(denied)) => {
            write!(err, "{}", told(&denied))?;
            Ok(1)
        }
    }
}

fn observe(args: &SuggestArgs) -> Result<Observed> {
    if let Some((name, place)) = [("workspace", &args.workspace), ("home", &args.home)]
        .into_iter()
        .find_map(|(name, place)| place.as_ref().filter(|place| useless(place)).map(|place| (name, place)))
    {
        bail!("--{name} {}: not an absolute directory below `/`; give the one that the agent had", place.display());
    }
    let path = &args.ledger;
    let (mut reader, segment) = open(path)?;
    let chosen = Chosen { agent: args.agent.clone(), run: args.run.clone() };
    let (mut observed, mut line) = (Observed::default(), Vec::new());
    loop {
        let Some(at) = reader.next_line(&mut line)? else { break };
        if segment.is_some_and(|segment| at.segment != segment) {
            break;
        }
        observed.line(&line, &chosen);
    }
    if observed.strange > 0 {
        bail!("{}: {} lines are no records; `rgt verify` tells more", path.display(), observed.strange);
    }
    Ok(observed)
}

/// A reader from the start of the ledger, or of the one segment.
fn open(path: &Path) -> Result<(Reader, Option<u64>)> {
    let about = std::fs::metadata(path)
        .with_context(|| format!("{}: cannot be read; name a ledger directory or a segment", path.display()))?;
    if about.is_dir() {
        if files::segments(path)?.is_empty() {
            bail!("{}: no segment (rgt-*.jsonl) is in it; name a ledger directory", path.display());
        }
        return Ok((Reader::open(path)?, None));
    }
    let name = path.file_name().and_then(|name| name.to_str());
    let Some((first, _)) = name.and_then(files::parse_name) else {
        bail!(
            "{}: a segment is called rgt-NUMBER.jsonl or rgt-NUMBER.jsonl.zst; name one, or its directory",
            path.display()
        );
    };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let start = Position { seq: first, segment: first, offset: 0 };
    Ok((Reader::at(dir, start)?, Some(first)))
}

/// A variable that stands for everything says nothing.
fn useless(place: &Path) -> bool {
    let plain = |part: std::path::Component<'_>| {
        matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_))
    };
    !place.is_absolute() || place.parent().is_none() || !place.components().all(plain)
}

fn options(args: &SuggestArgs, observed: &Observed) -> Options {
    let mut started = observed.started_in.values();
    let first = started.next().filter(|first| started.all(|other| other == *first));
    let workspace = first.map(|path| PathBuf::from(std::ffi::OsString::from_vec(path.clone())));
    let only = observed.uids.first().filter(|_| observed.uids.len() == 1);
    let home = only.and_then(|uid| User::by_uid(*uid).ok().flatten()).map(|user| user.home);
    let usable = |place: &PathBuf| !useless(place) && !place.starts_with("/usr");
    let variables = Variables {
        workspace: args.workspace.clone().or(workspace.filter(usable)),
        home: args.home.clone().or(home.filter(usable)),
    };
    let last = |agent: &String| agent.rsplit('/').next().unwrap_or(agent).to_owned();
    let agent = observed.agents.first().filter(|_| observed.agents.len() == 1).map(last);
    let name = args.name.clone().or(agent).filter(|name| !name.is_empty());
    let on_unknown = if args.on_unknown == "allow" { Fallback::Allow } else { Fallback::Deny };
    Options { name: name.unwrap_or_else(|| "suggested".to_owned()), variables, on_unknown }
}

fn told(denied: &[Denied]) -> String {
    let mut text = format!(
        "rgt policy suggest: no policy is printed, because it would still deny {} of what was attempted:\n",
        denied.len()
    );
    for Denied { action, thing, stat, reason } in denied.iter().take(TOLD) {
        let what = readable(thing.bytes());
        let _ = writeln!(text, "  {} of `{what}` ({} times, record {}): {reason}", action.verb(), stat.count, stat.id);
    }
    if denied.len() > TOLD {
        let _ = writeln!(text, "  and {} more", denied.len() - TOLD);
    }
    text.push_str(
        "  help: what has no place that can be told is allowed by `--on-unknown allow`; `--agent` and `--run` leave \
         others out\n",
    );
    text
}

fn to_json(suggestion: &Suggestion, observed: &Observed) -> Value {
    let rule = |rule: &Rule| {
        let paths: Vec<Value> = rule
            .paths
            .iter()
            .map(|path| {
                let stat = &path.line.stat;
                json!({ "path": path.line.text, "count": stat.count, "failed": stat.failed,
                    "denied": stat.denied, "first": stat.first, "last": stat.last, "in_vain": path.in_vain })
            })
            .collect();
        let to: Vec<Value> = rule
            .to
            .iter()
            .map(|to| json!({ "to": to.text, "count": to.stat.count, "failed": to.stat.failed }))
            .collect();
        let actions: Vec<&str> = rule.actions.iter().map(|action| action.verb()).collect();
        json!({ "id": rule.id, "effect": if rule.deny { "deny" } else { "allow" }, "actions": actions,
            "marked": rule.marked, "paths": paths, "to": to })
    };
    let left_out: Vec<Value> = suggestion
        .left_out
        .iter()
        .map(|(action, thing)| json!({ "action": action.verb(), "object": readable(thing.bytes()) }))
        .collect();
    json!({ "policy": suggestion.text, "attempts": observed.attempts, "denied": 0, "left_out": left_out,
        "rules": suggestion.rules.iter().map(rule).collect::<Vec<_>>() })
}
