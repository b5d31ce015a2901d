//! `rgt policy explain`: which rule decides an attempt, and why.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use clap::Args;
use sensor_common::action::Action;
use serde_json::{Value, json};

use super::{Failure, Given, headline, load};
use crate::policy::{
    self, Circumstances, Contents, Digest, Holds, Host, Hosts, Identity, Limits, Numbered, Object, Policy, Program,
    Written, place,
};

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  rgt policy explain policy.yaml --action file.delete --path /prod/db\n  \
    rgt policy explain policies/ci-agent.yaml --workspace \"$PWD\" --home \"$HOME\" \\\n    \
    --action net.connect --to 198.51.100.7:22 --label secret\n  \
    rgt policy explain policy.yaml --action file.rename,file.delete --path /a --path2 /b --json\n\n\
    Exit status: 0 whatever the verdict; 1 the policy has errors; 2 the question cannot be answered.")]
pub(super) struct Explain {
    /// What is attempted: `file.delete`; several with commas, if one call means several.
    #[arg(long, value_name = "VERB", required = true, value_delimiter = ',')]
    action: Vec<String>,
    /// Its object, an absolute path; `/usr/bin/git@sha256:DIGEST` says what the file holds.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["unknown", "to"])]
    path: Option<OsString>,
    /// The second path of a rename or a link.
    #[arg(long, value_name = "PATH")]
    path2: Option<OsString>,
    /// The agent's run has written the object.
    #[arg(long, conflicts_with = "to")]
    written: bool,
    /// The program that acts, an absolute path, with a digest or without, or `memfd:x`; without it nobody can tell.
    #[arg(long, value_name = "PATH")]
    exe: Option<OsString>,
    /// Where it goes: `1.2.3.4:443`, `[::1]:80`, `api.example.com:443`; `udp/1.2.3.4:53` for UDP.
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "unknown")]
    to: Option<String>,
    /// The unix socket that it reaches: its file's absolute path, or `@name`.
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["unknown", "path", "to", "written"])]
    unix: Option<OsString>,
    /// The signal that it sends: `SIGKILL`, or a number. Without it none is, as by `kill -0`.
    #[arg(long, value_name = "SIGNAL", conflicts_with_all = ["unknown", "path", "to", "unix", "written"])]
    signal: Option<String>,
    /// The capability that it uses: `CAP_NET_RAW`.
    #[arg(long, value_name = "CAPABILITY", conflicts_with_all = ["unknown", "path", "to", "unix", "written", "signal"])]
    capability: Option<String>,
    /// The kernel cannot tell the object's place.
    #[arg(long)]
    unknown: bool,
    #[command(flatten)]
    agent: Agent,
    #[command(flatten)]
    variables: Given,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// What holds of the agent at the time.
#[derive(Args, Debug)]
struct Agent {
    /// A label that the agent has; several with commas.
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    label: Vec<String>,
    /// Its risk.
    #[arg(long, value_name = "0-100", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=100))]
    risk: u8,
    /// Its name, which `scope:` asks for.
    #[arg(long, value_name = "NAME", default_value = "")]
    agent: String,
    #[arg(long, value_name = "WHO", default_value = "")]
    principal: String,
    #[arg(long)]
    role: Option<String>,
    #[arg(long)]
    env: Option<String>,
    #[arg(long)]
    task: Option<String>,
    /// What an operator has approved for it; several with commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    approval: Vec<String>,
    /// A rule whose limit the attempt exceeds; several with commas.
    #[arg(long, value_name = "RULE", value_delimiter = ',')]
    exceeds: Vec<String>,
    /// When: `2026-11-21T10:00:00Z` [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<jiff::Timestamp>,
}

impl Agent {
    fn circumstances(&self, policy: &Policy) -> Result<Circumstances<'static>, Failure> {
        let mut labels = 0;
        for name in &self.label {
            let label = policy.labels.iter().position(|label| label == name).ok_or_else(|| {
                let known = match policy.labels.join(", ") {
                    none if none.is_empty() => "it has none".to_owned(),
                    known => format!("they are: {known}"),
                };
                Failure::Usage(format!("no rule of the policy knows the label `{name}`; {known}"))
            })?;
            labels |= 1 << label;
        }
        let approvals: Vec<&str> = self.approval.iter().map(String::as_str).collect();
        let asked = policy.approvals();
        if let Some(name) = approvals.iter().find(|name| !asked.contains(name)) {
            let known = match asked.join(", ") {
                none if none.is_empty() => "they ask for none".to_owned(),
                known => format!("they ask for: {known}"),
            };
            return Err(Failure::Usage(format!("no rule of the policy asks for the approval `{name}`; {known}")));
        }
        let mut exceeds = Vec::new();
        for name in &self.exceeds {
            let rule = policy.limited(name);
            exceeds.push(rule.ok_or_else(|| Failure::Usage(format!("no rule with a limit is called `{name}`")))?);
        }
        let who = Identity {
            agent_id: &self.agent,
            principal: &self.principal,
            role: self.role.as_deref(),
            environment: self.env.as_deref(),
            task: self.task.as_deref(),
            approvals: &approvals,
        };
        let at = self.at.unwrap_or_else(jiff::Timestamp::now);
        let facts = policy.facts_that_hold(&who, at.as_second());
        let limits = Limits::Given(policy.limits_of(&exceeds));
        Ok(Circumstances { labels, risk: self.risk, facts, limits, ..Circumstances::default() })
    }
}

pub(super) fn explain(question: &Explain, out: &mut dyn Write) -> Result<u8, Failure> {
    let policy = load(&question.file)?;
    let hosts = policy.stand_in_hosts();
    let table = policy.compile_with(&question.variables.variables(), &hosts, &Contents::new())?;
    let mut circumstances = question.agent.circumstances(&policy)?;
    if question.written {
        circumstances.written = Written::Yes;
    }
    let exe = match &question.exe {
        Some(name) if name.as_bytes().starts_with(policy::NAMELESS_PROGRAM.as_bytes()) => {
            Some(name.as_bytes().to_vec())
        }
        path => {
            let (path, digest) = digest_of(path.as_ref())?;
            circumstances.program_holds = Holds::of(digest);
            absolute(path.as_ref())?
        }
    };
    circumstances.program = Program::of(exe.as_deref());
    let actions = actions(&question.action)?;
    let (path, digest) = digest_of(question.path.as_ref())?;
    circumstances.holds = Holds::of(digest);
    let path = absolute(path.as_ref())?;
    let path2 = absolute(question.path2.as_ref())?;
    let unix = socket(question.unix.as_ref())?;
    if let Some(action) = actions.iter().find(|action| unix.is_some() && !policy::reaches_sockets(**action)) {
        let text = format!("{} reaches no unix socket; net.connect and net.send do", action.verb());
        return Err(Failure::Usage(text));
    }
    let number = numbered(question, &actions)?;
    let placeless = path.is_none() && !question.unknown;
    if let Some(action) = actions.iter().find(|action| placeless && policy::has_place(**action)) {
        let text = format!("{} has a path: give it with --path, or --unknown if it cannot be told", action.verb());
        return Err(Failure::Usage(text));
    }
    let first = match (&path, &question.to, number) {
        _ if unix.is_some() => Object::of(unix.as_deref()),
        (.., Some(number)) => number,
        (Some(path), ..) => Object::Path(path),
        (None, Some(to), None) => address(to, &hosts)?,
        (None, None, None) if question.unknown => Object::Unknown,
        (None, None, None) => Object::None,
    };
    let second = path2.as_deref().map(Object::Path);
    let attempt = policy::pair(&actions, first, second);
    let (decision, steps) = table.explain(&attempt, &circumstances);
    let decision = table.guard(&attempt).unwrap_or(decision);
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
        let places = table.objects_text(step.rule);
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

/// A path, and what stands behind it of what the file holds.
fn digest_of(path: Option<&OsString>) -> Result<(Option<OsString>, Option<Digest>), Failure> {
    let Some(path) = path else { return Ok((None, None)) };
    let Some(text) = path.to_str() else { return Ok((Some(path.clone()), None)) };
    let (path, digest) = policy::split_digest(text)
        .map_err(|(cause, hint)| Failure::Usage(format!("the path `{text}`: {cause}; {hint}")))?;
    Ok((Some(path.into()), digest))
}

fn absolute(path: Option<&OsString>) -> Result<Option<Vec<u8>>, Failure> {
    let Some(path) = path else { return Ok(None) };
    let known = place::normalise(b"", path.as_bytes());
    known.map(Some).ok_or_else(|| {
        Failure::Usage(format!("the path `{}` is not absolute; begin it with `/`", path.to_string_lossy()))
    })
}

fn socket(name: Option<&OsString>) -> Result<Option<Vec<u8>>, Failure> {
    match name {
        Some(name) if name.as_bytes().starts_with(b"@") => Ok(Some(name.as_bytes().to_vec())),
        name => absolute(name),
    }
}

/// The signal or the capability; none where none is asked about.
fn numbered(question: &Explain, actions: &[Action]) -> Result<Option<Object<'static>>, Failure> {
    for (kind, given) in Numbered::ALL.into_iter().zip([&question.signal, &question.capability]) {
        let (key, action) = (kind.key(), kind.action());
        let other = actions.iter().find(|asked| **asked != action);
        match (given, other) {
            (Some(_), Some(other)) => {
                let text = format!("{} has no {key}; {} does", other.verb(), action.verb());
                return Err(Failure::Usage(text));
            }
            (Some(text), None) if kind == Numbered::Signal && text == "0" => return Ok(Some(Object::None)),
            (Some(text), None) => {
                let which = kind.parse(text).ok_or_else(|| Failure::Usage(format!("no {key} is called `{text}`")))?;
                return Ok(Some(Object::Number(which)));
            }
            (None, _) => {}
        }
    }
    if actions.contains(&Action::SysCapability) {
        return Err(Failure::Usage("sys.capability has a capability: give it with --capability".to_owned()));
    }
    Ok(None)
}

/// Of a host that is named the first address: what its rules say is the same for all, but for other rules about them.
fn address(text: &str, hosts: &Hosts) -> Result<Object<'static>, Failure> {
    let (host, port, protocol) = policy::exact(text).map_err(Failure::Usage)?;
    let name = match host {
        Host::Net { address, .. } => return Ok(Object::Address { address, port, protocol }),
        Host::Name(name) => name,
    };
    hosts.objects(&name, port, protocol).into_iter().next().ok_or_else(|| {
        Failure::Usage(format!(
            "the host `{name}` has no address, and explain asks no resolver: give it one under `hosts:`, or ask for an address"
        ))
    })
}
