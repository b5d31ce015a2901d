//! One record as one line of the table.

use serde_json::Value;

use super::errno;
use crate::cli::paint::{Hue, Paint, fit, pad, readable, risk_hue, verdict_hue};

const VERDICT: usize = 9;
const ACTION: usize = 12;
const RESULT: usize = 12;
const RISK: usize = 4;
const GAP: &str = "  ";
/// Of the object where no terminal bounds it.
const OBJECT: usize = 52;

/// Widths of the columns: the object gets what the terminal leaves.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    time: usize,
    agent: usize,
    rule: usize,
    object: usize,
    /// There is a terminal: what does not fit is cut.
    cut: bool,
    ids: bool,
}

impl Layout {
    pub fn new(columns: Option<usize>, ids: bool) -> Layout {
        let narrow = columns.is_some_and(|columns| columns < 130);
        let (time, agent, rule) = if narrow { (8, 12, 14) } else { (12, 18, 22) };
        let others = time + agent + VERDICT + ACTION + RESULT + rule + RISK + 7 * GAP.len();
        let object = columns.map_or(OBJECT, |columns| columns.saturating_sub(others).clamp(14, 120));
        Layout { time, agent, rule, object, cut: columns.is_some(), ids }
    }

    pub fn head(&self, paint: Paint) -> String {
        let titles = [
            pad(if self.time < 12 { "UTC" } else { "TIME (UTC)" }, self.time),
            pad("AGENT", self.agent),
            pad("VERDICT", VERDICT),
            pad("ACTION", ACTION),
            pad("OBJECT", self.object),
            pad("RESULT", RESULT),
            pad("RULE", self.rule),
            "RISK".to_owned(),
        ];
        let id = if self.ids { "  ID" } else { "" };
        paint.paint(Hue::Dim, &format!("{}{id}", titles.join(GAP)))
    }

    pub fn row(&self, record: &Value, paint: Paint) -> String {
        let data = &record["data"];
        let agent = text(&data["agent_id"]).unwrap_or_else(|| "-".to_owned());
        let time = record["time"].as_str().and_then(|time| time.get(11..11 + self.time)).unwrap_or("-");
        let action = &data["action_attempted"];
        let mut cells = vec![paint.paint(Hue::Dim, &pad(time, self.time)), pad(&fit(&agent, self.agent), self.agent)];
        if action["syscall"].is_string() {
            self.attempt(data, action, paint, &mut cells);
        } else {
            self.event(record, data, paint, &mut cells);
        }
        let mut line = cells.join(GAP).trim_end().to_owned();
        if self.ids {
            line = format!("{line}  {}", paint.paint(Hue::Dim, record["id"].as_str().unwrap_or("-")));
        }
        line
    }

    fn attempt(&self, data: &Value, action: &Value, paint: Paint, cells: &mut Vec<String>) {
        let verdict = data["policy_verdict"].as_str().unwrap_or("?");
        let outcome = data["outcome_of"].is_string();
        let rule = text(&data["policy_rule_id"]).unwrap_or_default();
        let risk = data["live_risk_score"].as_u64().unwrap_or(0);
        cells.push(paint.paint(verdict_hue(verdict), &pad(verdict, VERDICT)));
        cells.push(pad(action["verb"].as_str().unwrap_or("?"), ACTION));
        cells.push(self.object(&object(action)));
        let (result, hue) = result(data, action);
        let result = if outcome { format!("↳ {result}") } else { result };
        cells.push(paint.paint(hue, &pad(&result, RESULT)));
        let hue = if rule == "RULE_DEFAULT" { Hue::Dim } else { Hue::Bold };
        cells.push(paint.paint(hue, &pad(&if self.cut { fit(&rule, self.rule) } else { rule }, self.rule)));
        cells.push(paint.paint(risk_hue(risk), &format!("{risk:>RISK$}")));
    }

    /// What is no attempt: lives of agents, the chain's own events.
    fn event(&self, record: &Value, data: &Value, paint: Paint, cells: &mut Vec<String>) {
        let category = record["type"].as_str().unwrap_or("?").rsplit('.').nth(1).unwrap_or("?");
        let kind = text(&record["subject"]).unwrap_or_default();
        let shown = match (category, kind.as_str()) {
            ("audit", "gap") => format!(
                "{} of {} events lost on ring {}: {}",
                data["dropped"],
                data["made"],
                plain(&data["ring"]),
                plain(&data["reason"])
            ),
            (_, "start") => format!("mode {}, policy {}", plain(&data["mode"]), plain(&data["policy"])),
            (_, "stop") => {
                format!("{} ({} attempts, {} denied)", plain(&data["reason"]), data["attempts"], data["deny"])
            }
            (_, "heartbeat") => format!("{} agents, mode {}", data["agents"], plain(&data["mode"])),
            (_, "registered") => format!("{}, policy {}", plain(&data["principal"]), plain(&data["policy"])),
            ("identity", "approval") => approval(data),
            _ => plain(&data["reason"]),
        };
        let hue = if kind == "gap" { Hue::Red } else { Hue::Dim };
        cells.push(paint.paint(hue, &pad("·", VERDICT)));
        cells.push(paint.paint(hue, &pad(&fit(&kind, ACTION), ACTION)));
        let room = self.object + RESULT + self.rule + RISK + 3 * GAP.len();
        cells.push(paint.paint(hue, &if self.cut { fit(&shown, room) } else { shown }));
    }

    fn object(&self, text: &str) -> String {
        let text = if self.cut { fit(text, self.object) } else { text.to_owned() };
        pad(&text, self.object)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(readable)
}

fn plain(value: &Value) -> String {
    text(value).unwrap_or_else(|| "-".to_owned())
}

/// `deploy given until 2026-11-03T10:30:00.000000000Z: release 12`
fn approval(data: &Value) -> String {
    let until = text(&data["until"]).filter(|_| data["state"] == "given");
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    let reason = text(&data["reason"]).map(|reason| format!(": {reason}")).unwrap_or_default();
    format!("{} {}{until}{reason}", plain(&data["approval"]), plain(&data["state"]))
}

/// What the attempt was about: as resolved where it was, else as written; a program with its arguments.
fn object(action: &Value) -> String {
    let argument = |key: &str| text(&action[key]).filter(|text| !text.is_empty());
    // A relative name says little without the directory that it starts from.
    let written = |name: &str, directory: &str| {
        argument(name).map(|name| match argument(directory) {
            Some(directory) => format!("{}/{name}", directory.trim_end_matches('/')),
            None => name,
        })
    };
    // What a symbolic link says is text, and starts from no directory; the object is the link itself.
    let symbolic = matches!(action["syscall"].as_str(), Some("symlink" | "symlinkat"));
    let first =
        if symbolic { argument("argument") } else { argument("object").or_else(|| written("argument", "directory")) };
    if action["verb"] == "proc.exec"
        && let Some(args) = action["argv"].as_array().filter(|args| !args.is_empty())
    {
        let rest: Vec<String> = args.iter().skip(1).filter_map(text).map(|arg| quoted(&arg)).collect();
        let program = first.or_else(|| args.first().and_then(text)).unwrap_or_default();
        return format!("{program} {}", rest.join(" ")).trim_end().to_owned();
    }
    let second = if symbolic { "object" } else { "object2" };
    let second = argument(second).or_else(|| written("argument2", "directory2"));
    let about = match (first, second) {
        (Some(first), Some(second)) => format!("{first} → {second}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => format!("({})", action["syscall"].as_str().unwrap_or("?")),
    };
    format!("{about}{}", parameters(action))
}

/// ` pid=42`, ` mode=0640`, ` flags=0x4000000`: whatever else the call was given.
fn parameters(action: &Value) -> String {
    let given = action["parameters"].as_object().into_iter().flatten();
    let told = given.map(|(name, value)| match (name.as_str(), value.as_i64().unwrap_or_default()) {
        ("mode", mode) => format!(" mode=0{mode:o}"),
        ("flags" | "nstype", flags) => format!(" {name}={flags:#x}"),
        (_, number) => format!(" {name}={number}"),
    });
    told.collect()
}

fn quoted(arg: &str) -> String {
    if arg.is_empty() || arg.contains(' ') { format!("'{arg}'") } else { arg.to_owned() }
}

fn result(data: &Value, action: &Value) -> (String, Hue) {
    match data["enforcement"].as_str() {
        Some("blocked") => return ("blocked".to_owned(), Hue::Red),
        Some("held") => return ("held".to_owned(), Hue::Yellow),
        Some("would_block") => return ("would block".to_owned(), Hue::Yellow),
        _ => {}
    }
    match (action["result"].as_i64(), data["end"].as_str()) {
        (Some(error @ -4095..=-1), _) => {
            (errno::name(-error).map_or_else(|| error.to_string(), str::to_owned), Hue::Dim)
        }
        (Some(0), _) => ("ok".to_owned(), Hue::Plain),
        (Some(value), _) => (format!("ok {value}"), Hue::Plain),
        (None, Some(end)) => (end.to_owned(), Hue::Dim),
        (None, None) => ("…".to_owned(), Hue::Dim),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn attempt(more: Value) -> Value {
        let mut data = json!({"agent_id": "builder", "policy_verdict": "DENY", "policy_rule_id": "R", "enforcement": "not_reached",
            "live_risk_score": 70, "action_attempted": {"verb": "file.delete", "syscall": "unlink", "argument": "/etc/x%0A", "result": -2}});
        for (key, value) in more.as_object().unwrap() {
            data[key] = value.clone();
        }
        json!({"id": "i-1", "time": "2026-11-03T10:00:00.123456789Z", "type": "rgt.policy.breach", "data": data})
    }

    #[test]
    fn a_row_says_what_happened() {
        let layout = Layout::new(None, false);
        let row = layout.row(&attempt(json!({})), Paint::none());
        let words: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(words, ["10:00:00.123", "builder", "DENY", "file.delete", "/etc/x\\n", "ENOENT", "R", "70"]);
        let row = layout.row(&attempt(json!({"enforcement": "would_block"})), Paint::none());
        assert!(row.contains("would block"));
        let head = layout.head(Paint::none());
        assert_eq!(head.find("VERDICT"), row.find("DENY"));
        assert_eq!(head.find("RESULT"), row.find("would"));
    }

    #[test]
    fn a_row_says_what_a_call_was_given() {
        let given = |syscall: &str, argument: Value, parameters: Value| {
            object(&json!({"syscall": syscall, "argument": argument, "parameters": parameters}))
        };
        assert_eq!(given("kill", json!("SIGTERM"), json!({"pid": -42})), "SIGTERM pid=-42");
        assert_eq!(
            given("setresuid", Value::Null, json!({"euid": 0, "ruid": -1, "suid": -1})),
            "(setresuid) euid=0 ruid=-1 suid=-1"
        );
        assert_eq!(given("chmod", json!("/x"), json!({"mode": 0o640})), "/x mode=0640");
        assert_eq!(given("unshare", Value::Null, json!({"flags": 0x0400_0000})), "(unshare) flags=0x4000000");
    }

    #[test]
    fn a_row_fits_its_terminal() {
        for columns in [100, 130, 200] {
            let layout = Layout::new(Some(columns), false);
            let long = attempt(
                json!({"action_attempted": {"verb": "file.read", "syscall": "open", "argument": "/x".repeat(500), "result": 3}}),
            );
            assert!(layout.row(&long, Paint::none()).chars().count() <= columns, "{columns}");
        }
    }

    #[test]
    fn programs_show_their_arguments() {
        let action =
            json!({"verb": "proc.exec", "syscall": "execve", "argument": "/bin/sh", "argv": ["sh", "-c", "a b"]});
        assert_eq!(object(&action), "/bin/sh -c 'a b'");
        assert_eq!(object(&json!({"verb": "sys.setuid", "syscall": "setuid"})), "(setuid)");
        assert_eq!(
            object(&json!({"verb": "file.rename", "syscall": "rename", "argument": "a", "object2": "/b"})),
            "a → /b"
        );
    }

    #[test]
    fn a_symbolic_link_shows_its_target_as_written() {
        let mut action = json!({"verb": "file.link", "syscall": "symlinkat", "argument": "../secret", "directory": "/work",
            "argument2": "s", "directory2": "/prot"});
        assert_eq!(object(&action), "../secret → /prot/s");
        action["object"] = json!("/mnt/prot/s");
        assert_eq!(object(&action), "../secret → /mnt/prot/s");
        // A hard link's first name is an object as any other.
        let hard = json!({"verb": "file.link", "syscall": "link", "argument": "a", "argument2": "b", "object": "/x/a", "object2": "/x/b"});
        assert_eq!(object(&hard), "/x/a → /x/b");
    }

    #[test]
    fn a_row_says_what_was_approved() {
        let row = |data: Value| {
            let record = json!({"id": "i-1", "time": "2026-11-03T10:00:00.123456789Z", "type": "rgt.identity.assertion", "subject": "approval", "data": data});
            Layout::new(None, false).row(&record, Paint::none())
        };
        let given = row(
            json!({"approval": "deploy", "state": "given", "until": "2026-11-03T10:30:00Z", "reason": "release%2012"}),
        );
        assert!(given.trim_end().ends_with("deploy given until 2026-11-03T10:30:00Z: release 12"), "{given}");
        let over = row(json!({"approval": "deploy", "state": "expired", "until": "2026-11-03T10:30:00Z"}));
        assert!(over.trim_end().ends_with("deploy expired"), "{over}");
    }
}
