//! `rgt agents`: who is governed now.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::connect;
use super::paint::{Hue, Paint, pad, readable, risk_hue};
use super::say::say;
use crate::control::protocol::Request;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  rgt agents\n  rgt agents --json | jq -r .agent_id\n\nIt fails while no daemon is ready."
)]
pub struct AgentsArgs {
    /// One JSON object per line
    #[arg(long)]
    json: bool,
}

pub fn run(args: AgentsArgs) -> Result<ExitCode> {
    let answer = connect::ask(&Request::Agents {})?;
    let agents = answer.as_array().map(Vec::as_slice).unwrap_or_default();
    if args.json {
        for agent in agents {
            say(format_args!("{agent}\n"))?;
        }
    } else if agents.is_empty() {
        say("no agent is governed now\n")?;
    } else {
        say(table(agents, Paint::for_stdout()))?;
    }
    Ok(ExitCode::SUCCESS)
}

const COLUMNS: [(&str, &str); 10] = [
    ("AGENT", "agent_id"),
    ("PRINCIPAL", "principal"),
    ("PID", "pid"),
    ("TASKS", "tasks"),
    ("MODE", "mode"),
    ("POLICY", "policy"),
    ("UP", "uptime_s"),
    ("ATTEMPTS", "attempts"),
    ("DENY", "deny"),
    ("RISK", "risk"),
];

fn table(agents: &[Value], paint: Paint) -> String {
    let rows: Vec<Vec<String>> =
        agents.iter().map(|agent| COLUMNS.iter().map(|(_, key)| cell(agent, key)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([COLUMNS[column].0.len()]).max().unwrap_or(0)
    };
    let mut out = String::new();
    let titles: Vec<String> =
        COLUMNS.iter().enumerate().map(|(column, (title, _))| pad(title, width(column))).collect();
    out.push_str(paint.paint(Hue::Dim, titles.join("  ").trim_end()).as_str());
    out.push('\n');
    for (row, agent) in rows.iter().zip(agents) {
        let cells: Vec<String> = row
            .iter()
            .enumerate()
            .map(|(column, cell)| {
                let text = pad(cell, width(column));
                match COLUMNS[column].1 {
                    "agent_id" => paint.paint(Hue::Bold, &text),
                    "deny" if cell != "0" => paint.paint(Hue::Red, &text),
                    "risk" => paint.paint(risk_hue(agent["risk"].as_u64().unwrap_or(0)), &text),
                    _ => text,
                }
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

pub fn cell(agent: &Value, key: &str) -> String {
    match &agent[key] {
        Value::String(text) => readable(text),
        Value::Number(number) if key == "uptime_s" => duration(number.as_u64().unwrap_or(0)),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let agents = [
            serde_json::json!({"agent_id": "a", "uptime_s": 61, "risk": 90, "deny": 2}),
            serde_json::json!({"agent_id": "long/name"}),
        ];
        let text = table(&agents, Paint::none());
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("a          -"), "{text}");
        assert!(lines[1].contains("1m01s"), "{text}");
        assert_eq!(lines[0].find("PRINCIPAL"), Some(11));
    }
}
