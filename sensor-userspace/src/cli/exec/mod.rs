//! `rgt exec`: one command as an agent.

mod child;
mod find;
mod inherited;
mod wait;

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use clap::Args;
use serde_json::Value;

use super::connect;
use crate::agent::{check_name, we_are_root};
use crate::config::Config;
use crate::control::client::Client;
use crate::control::protocol::{Answer, ExecRequest, Kind, Request, WantedMode};
use crate::policy;
use child::Child;

/// What `exec` returns when rgt itself failed.
const FAILED: u8 = 125;
/// A daemon that is ending lets others try so long.
const RETRY: Duration = Duration::from_secs(60);
/// A daemon that was killed may be followed by another within this.
const NEXT: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  rgt exec -- make test\n  rgt exec --policy policies/article.yaml --name builder -- ./agent --once\n  \
    rgt exec --ledger ./evidence --set seal.key_file=key.hex -- python3 agent.py\n\n\
    The command's execve is the first attempt recorded. Environment, directory, terminal, signals and open \
    descriptors pass through (beyond the standard three, those that the policy denies are /dev/null); under sudo the command runs as the user who called sudo. Under a policy that an ordinary \
    user gives, set-user-ID programs such as sudo gain no rights (no_new_privs). The exit status is the \
    command's; 125: rgt failed, 126: the command cannot be run, 127: it is not found."
)]
pub struct ExecArgs {
    /// Policy to govern it by [default: allow everything, record it]
    #[arg(long, value_name = "F")]
    policy: Option<PathBuf>,
    /// What the agent is called [default: exec/UID/COMMAND]; an ordinary user's is called exec/UID/N
    #[arg(long, value_name = "N", value_parser = called)]
    name: Option<String>,
    /// Record what the policy would have denied; deny nothing
    #[arg(long, conflicts_with = "enforce")]
    observe: bool,
    /// Fail rather than run where nothing can be denied
    #[arg(long)]
    enforce: bool,
    /// A ledger for this command alone, closed when it has ended
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// Set one configuration key for this command; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    set: Vec<String>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

fn called(name: &str) -> Result<String, String> {
    check_name(name).map(|()| name.to_owned())
}

pub fn run(args: ExecArgs) -> ExitCode {
    // A daemon that goes away is an error to tell, not this process's end.
    // SAFETY: signal(2) with SIG_IGN runs no code of ours; the child gets the inherited one back.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let path = match find::program(&args.command[0]) {
        Ok(path) => path,
        Err(missing) => {
            eprintln!("rgt exec: {missing}");
            return ExitCode::from(missing.code());
        }
    };
    match govern(&args, &path) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("rgt exec: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

fn govern(args: &ExecArgs, path: &Path) -> Result<u8> {
    let request = request(args, path)?;
    let deadline = Instant::now() + RETRY;
    let (mut client, child, started) = loop {
        let mut client = connect::join_or_start(&request.set)?;
        // Forked once the daemon is there: the child waits, and nothing it does is covered before it may.
        let child = Child::prepare(path, &args.command, enforces(args), bound(args))?;
        let mut request = request.clone();
        request.pid = child.pid();
        match client.ask(&Request::Exec(Box::new(request))) {
            Ok(started) => break (client, child, started),
            Err(refusal) if refusal.kind == Kind::Ending && Instant::now() < deadline => {
                child.abandon();
                std::thread::sleep(Duration::from_millis(30));
            }
            Err(refusal) => {
                child.abandon();
                return Err(anyhow!("{}", refusal.error));
            }
        }
    };
    warn(args, &started);
    // Where nothing refuses, nothing is replaced.
    let judged = enforces(args) && started.get("mode").and_then(Value::as_str) != Some("observe");
    let running = child.release(judged)?;
    let ended = wait::until_end(running);
    let code = match ended {
        Ok(ended) => {
            finish(&mut client, &started, &ended.describe());
            ended.code(path)
        }
        Err(error) => {
            finish(&mut client, &started, "unknown");
            return Err(error);
        }
    };
    Ok(code)
}

/// Whether a policy is to be enforced, not only to be observed.
fn enforces(args: &ExecArgs) -> bool {
    args.policy.is_some() && !args.observe
}

/// Whether the command may gain no rights: an ordinary user's policy must not stop what runs with another's.
fn bound(args: &ExecArgs) -> bool {
    enforces(args) && !we_are_root()
}

fn request(args: &ExecArgs, path: &Path) -> Result<ExecRequest> {
    // Wrong settings and policies are told before anything starts.
    Config::default().set_all(&args.set)?;
    let (policy, policy_includes) = match &args.policy {
        Some(file) => {
            let text = policy::read_text(file).map_err(|cause| anyhow!("policy {}: {cause}", file.display()))?;
            let (read, included) = policy::parse_file(&file.to_string_lossy(), &text)?;
            for warning in &read.warnings {
                eprintln!("{warning}");
            }
            (Some(text), included)
        }
        None => (None, Vec::new()),
    };
    let ledger = match &args.ledger {
        Some(dir) => {
            let dir = std::path::absolute(dir).with_context(|| format!("--ledger {}", dir.display()))?;
            Some(dir.into_os_string().into_string().map_err(|dir| anyhow!("--ledger {}: not UTF-8", dir.display()))?)
        }
        None => None,
    };
    let base = path.file_name().unwrap_or(path.as_os_str());
    Ok(ExecRequest {
        pid: 0,
        name: args.name.clone(),
        command: String::from_utf8_lossy(base.as_bytes()).into_owned(),
        policy,
        policy_name: args.policy.as_ref().map(|file| file.to_string_lossy().into_owned()),
        policy_includes,
        ledger,
        set: absolute_sets(&args.set)?,
        mode: match (args.observe, args.enforce) {
            (true, _) => Some(WantedMode::Observe),
            (_, true) => Some(WantedMode::Enforce),
            _ => None,
        },
        traceparent: std::env::var("TRACEPARENT").ok(),
    })
}

/// The daemon stands elsewhere: files that are set are named from the root.
fn absolute_sets(sets: &[String]) -> Result<Vec<String>> {
    let absolute = |set: &String| match set.split_once('=') {
        Some((key @ ("seal.key_file" | "ledger.dir"), file)) if !file.is_empty() => {
            let path = std::path::absolute(file).with_context(|| format!("--set {set}"))?;
            Ok(format!("{key}={}", path.display()))
        }
        _ => Ok(set.clone()),
    };
    sets.iter().map(absolute).collect()
}

/// What the caller believes to be enforced, and is not, is said loudly.
fn warn(args: &ExecArgs, started: &Value) {
    let text = |key: &str| started.get(key).and_then(Value::as_str).unwrap_or_default();
    let notes = started.get("notes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    let why: Vec<&str> = notes.collect();
    let said = observing(args, text("mode"), std::io::stderr().is_terminal());
    if let Some(word) = said {
        eprintln!(
            "rgt exec: {word}: nothing is denied on this kernel ({}); `rgt doctor` says what is missing",
            why.join("; ")
        );
    } else if started.get("degraded").and_then(Value::as_bool) == Some(true) && args.policy.is_some() {
        eprintln!("rgt exec: enforcement is degraded: {}", why.join("; "));
    }
    if args.ledger.is_none()
        && args
            .set
            .iter()
            .any(|set| set.starts_with("sinks.") || set.starts_with("seal.") || set.starts_with("record.type_prefix"))
    {
        eprintln!("rgt exec: this command's records are in {}", text("ledger"));
    }
}

/// How it is said that this kernel denies nothing, to whom wants to know. Without a policy nothing is to be denied: a
/// person is told, a log is not filled by it.
fn observing(args: &ExecArgs, mode: &str, terminal: bool) -> Option<&'static str> {
    match mode {
        "observe" if enforces(args) => Some("OBSERVING ONLY"),
        "observe" if !args.observe && terminal => Some("observing only"),
        _ => None,
    }
}

/// Waits until the last record is in the ledger.
fn finish(client: &mut Client, started: &Value, status: &str) {
    let ended = Request::Ended {
        status: status.to_owned(),
        run_id: started.get("run_id").and_then(Value::as_str).map(str::to_owned),
    };
    let answer = match client.ask(&ended) {
        Err(refusal) if refusal.kind == Kind::Ending => tell_next(&ended).unwrap_or(Err(refusal)),
        answer => answer,
    };
    let lost = match answer {
        Ok(done) => {
            if let Some(warning) = done.get("warning").and_then(Value::as_str) {
                eprintln!("rgt exec: {warning}");
            }
            done.get("dropped").and_then(Value::as_u64).unwrap_or(0)
        }
        Err(refusal) => {
            eprintln!("rgt exec: the ledger may lack the command's last records: {}", refusal.error);
            0
        }
    };
    if lost > 0 {
        eprintln!("rgt exec: {lost} events were lost; gap records say where");
    }
}

/// Another daemon may have taken over: it knows of the agent as well.
fn tell_next(ended: &Request) -> Option<Answer> {
    let deadline = Instant::now() + NEXT;
    loop {
        match connect::try_ask(ended) {
            Ok(answer) => return Some(answer),
            Err(_) if Instant::now() >= deadline => return None,
            Err(_) => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ExecArgs,
    }

    fn args(options: &[&str]) -> Result<ExecArgs, clap::Error> {
        let words = ["exec"].iter().chain(options).chain(&["--", "true"]);
        Line::try_parse_from(words).map(|line| line.args)
    }

    #[test]
    fn names_that_climb_are_wrong_usage() {
        let error = args(&["--name", "../../x"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("--name") && error.to_string().contains("`..`"), "{error}");
        assert!(args(&["--name", "team/a.b"]).is_ok());
    }

    #[test]
    fn that_nothing_is_denied_is_said_to_whom_it_matters() {
        let said = |options: &[&str], mode, terminal| observing(&args(options).unwrap(), mode, terminal);
        for terminal in [false, true] {
            assert_eq!(said(&["--policy", "p.yaml"], "observe", terminal), Some("OBSERVING ONLY"));
            assert_eq!(said(&["--policy", "p.yaml"], "lsm", terminal), None);
            assert_eq!(said(&[], "fmod_ret", terminal), None);
            // Who asks for it knows.
            assert_eq!(said(&["--observe"], "observe", terminal), None);
            assert_eq!(said(&["--policy", "p.yaml", "--observe"], "observe", terminal), None);
        }
        assert_eq!(said(&[], "observe", true), Some("observing only"));
        assert_eq!(said(&[], "observe", false), None);
    }
}
