//! `rgt top`: how busy and how risky the agents are.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::agents::cell;
use super::connect;
use super::paint::{Hue, Paint, columns, fit, pad, risk_hue};
use super::say::say;
use crate::control::protocol::Request;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  rgt top              refreshes each second; Ctrl-C ends it\n  rgt top --json | jq  once"
)]
pub struct TopArgs {
    /// One JSON object per agent and line, once
    #[arg(long)]
    json: bool,
    /// Print once, also on a terminal
    #[arg(long)]
    once: bool,
}

const KEYS: [&str; 14] = [
    "agent_id", "run_id", "principal", "mode", "policy", "phase", "tasks", "rate", "attempts", "allow", "deny",
    "challenge", "blocked", "risk",
];

pub fn run(args: TopArgs) -> Result<ExitCode> {
    let live = !args.json && !args.once && std::io::stdout().is_terminal();
    loop {
        let status = connect::ask(&Request::Status {})?;
        let answer = connect::ask(&Request::Agents {})?;
        let mut agents = answer.as_array().cloned().unwrap_or_default();
        // The riskiest first, then the busiest.
        agents.sort_by_key(|agent| {
            std::cmp::Reverse((agent["risk"].as_u64(), agent["rate"].as_u64(), agent["attempts"].as_u64()))
        });
        if args.json {
            for agent in &agents {
                let shown: serde_json::Map<String, Value> =
                    KEYS.iter().map(|key| ((*key).to_owned(), agent[*key].clone())).collect();
                say(format_args!("{}\n", json!(shown)))?;
            }
        } else {
            let screen = screen(&status, &agents, Paint::for_stdout());
            let clear = if live { "\u{1b}[H\u{1b}[2J" } else { "" };
            say(format_args!("{clear}{screen}"))?;
        }
        if !live {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn screen(status: &Value, agents: &[Value], paint: Paint) -> String {
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap_or(0);
    let sum = |key: &str| agents.iter().map(|agent| number(agent, key)).sum::<u64>();
    let mut out = format!(
        "rgt: mode {}{}   agents {}   {} attempts/s   ALLOW {}   DENY {}   CHALLENGE {}\n\n",
        status["mode"].as_str().unwrap_or("?"),
        if status["degraded"] == true { " (degraded)" } else { "" },
        agents.len(),
        sum("rate"),
        sum("allow"),
        sum("deny"),
        sum("challenge"),
    );
    let name = agents.iter().map(|agent| cell(agent, "agent_id").chars().count()).max().unwrap_or(0);
    let name = name.clamp(5, columns().unwrap_or(100).saturating_sub(58).max(12));
    let title = format!("{}  RISK  TASKS   RATE/S  ATTEMPTS     ALLOW    DENY  CHALL  MODE", pad("AGENT", name));
    out.push_str(&paint.paint(Hue::Dim, &title));
    out.push('\n');
    for agent in agents {
        let risk = number(agent, "risk");
        let deny = number(agent, "deny");
        out.push_str(&format!(
            "{}  {}  {:>5}  {:>7}  {:>8}  {:>8}  {}  {:>5}  {}\n",
            paint.paint(Hue::Bold, &pad(&fit(&cell(agent, "agent_id"), name), name)),
            paint.paint(risk_hue(risk), &format!("{risk:>4}")),
            number(agent, "tasks"),
            number(agent, "rate"),
            number(agent, "attempts"),
            number(agent, "allow"),
            paint.paint(if deny > 0 { Hue::Red } else { Hue::Plain }, &format!("{deny:>6}")),
            number(agent, "challenge"),
            agent["mode"].as_str().unwrap_or("?"),
        ));
    }
    out
}
