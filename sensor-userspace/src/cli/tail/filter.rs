//! Which records are shown.

use sensor_common::action::{Action, Class};
use serde_json::Value;

use super::TailArgs;
use crate::config::duration;
use crate::near::suggestion;
use crate::record::time;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    agent: Option<String>,
    verdict: Option<String>,
    rule: Option<String>,
    action: Option<String>,
    /// RFC 3339 in UTC with nanoseconds: such texts are in order as times are.
    since: Option<String>,
}

impl Filter {
    pub fn new(args: &TailArgs) -> Filter {
        Filter {
            agent: args.agent.clone(),
            verdict: args.verdict.as_ref().map(|verdict| verdict.to_ascii_uppercase()),
            rule: args.rule.clone(),
            action: args.action.clone(),
            since: args.since.clone(),
        }
    }

    pub fn passes_all(&self) -> bool {
        *self == Filter::default()
    }

    pub fn passes(&self, record: &Value) -> bool {
        let data = &record["data"];
        let is = |wanted: &Option<String>, found: &Value| match wanted {
            None => true,
            Some(wanted) => found.as_str().is_some_and(|found| plain(found) == *wanted),
        };
        (is(&self.agent, &data["agent_id"]) || is(&self.agent, &data["run_id"]))
            && is(&self.verdict, &data["policy_verdict"])
            && is(&self.rule, &data["policy_rule_id"])
            && self.action.as_ref().is_none_or(|wanted| has_action(&data["action_attempted"], wanted))
            && self
                .since
                .as_ref()
                .is_none_or(|since| record["time"].as_str().is_some_and(|time| time >= since.as_str()))
    }
}

fn plain(text: &str) -> String {
    String::from_utf8_lossy(&crate::record::canonical::decode(text.as_bytes())).into_owned()
}

/// The attempt's verb, or any other that it means, or its class.
fn has_action(action: &Value, wanted: &str) -> bool {
    let meant = action["actions"].as_array().map(Vec::as_slice).unwrap_or_default();
    std::iter::once(&action["verb"]).chain([&action["class"]]).chain(meant).filter_map(Value::as_str).any(|verb| {
        match wanted.strip_suffix('*') {
            Some(family) => verb.starts_with(family),
            None => verb == wanted,
        }
    })
}

/// `--action`: what no record can bear is an error, not an empty table.
pub fn action(text: &str) -> Result<String, String> {
    let verbs = || Action::ALL.iter().map(|action| action.verb());
    let words = || verbs().chain(Class::ALL.map(Class::name));
    let known = match text.strip_suffix('*') {
        Some(start) => verbs().any(|verb| verb.starts_with(start)),
        None => words().any(|word| word == text),
    };
    if known {
        return Ok(text.to_owned());
    }
    let help = suggestion(text, words()).unwrap_or_else(|| {
        let words: Vec<&str> = words().collect();
        format!("there are: {}; and families, such as `file.*`", words.join(", "))
    });
    Err(format!("no action is called so; {help}"))
}

/// `--since`, as records bear their time.
pub fn since(text: &str) -> Result<String, String> {
    moment(text, time::now())
}

/// `10m` ago, or a moment.
fn moment(text: &str, now: u64) -> Result<String, String> {
    // A bare number could be a year or a time since the epoch: it is neither.
    if !text.bytes().all(|byte| byte.is_ascii_digit())
        && let Ok(ago) = duration(text)
    {
        let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        return Ok(time::format(now.saturating_sub(ago)));
    }
    // A date alone is its midnight; a moment without a fraction has none.
    let whole = match text.trim_end_matches('Z') {
        date if date.len() == 10 => format!("{date}T00:00:00.000000000Z"),
        moment if moment.len() == 19 => format!("{}.000000000Z", moment.replace(' ', "T")),
        moment => match moment.split_once('.') {
            Some((seconds, fraction)) if fraction.len() <= 9 => {
                format!("{seconds}.{fraction:0<9}Z")
            }
            _ => text.to_owned(),
        },
    };
    if !time::is_time(whole.as_bytes()) {
        return Err(
            "neither a time ago such as 10m, 2h, 1d nor a moment in UTC such as 2026-11-03T10:00:00Z".to_owned()
        );
    }
    Ok(whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn records_are_chosen() {
        let record = json!({"time": "2026-11-03T10:00:00.000000000Z", "data": {"agent_id": "a%20b", "policy_verdict": "DENY",
            "policy_rule_id": "R", "action_attempted": {"verb": "file.rename", "class": "destructive", "actions": ["file.rename", "file.delete"]}}});
        let with = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.passes(&record)
        };
        assert!(Filter::default().passes(&record));
        assert!(with(|filter| filter.agent = Some("a b".to_owned())));
        assert!(!with(|filter| filter.agent = Some("b".to_owned())));
        assert!(with(|filter| filter.action = Some("file.delete".to_owned())));
        assert!(with(|filter| filter.action = Some("file.*".to_owned())));
        assert!(with(|filter| filter.action = Some("destructive".to_owned())));
        assert!(!with(|filter| filter.action = Some("net.*".to_owned())));
        assert!(!with(|filter| filter.verdict = Some("ALLOW".to_owned())));
        assert!(with(|filter| filter.since = Some("2026-11-03T10:00:00.000000000Z".to_owned())));
        assert!(!with(|filter| filter.since = Some("2026-11-03T10:00:00.000000001Z".to_owned())));
    }

    #[test]
    fn wrong_words_are_wrong_usage() {
        for known in ["file.delete", "file.*", "file.de*", "*", "destructive"] {
            assert_eq!(action(known).as_deref(), Ok(known));
        }
        assert!(action("file.delte").unwrap_err().contains("did you mean `file.delete`?"));
        assert!(action("destructiv").unwrap_err().contains("did you mean `destructive`?"));
        let error = action("bogus.verb").unwrap_err();
        assert!(error.contains("file.read, ") && error.contains("file.*"), "{error}");
        assert!(action("bogus.*").is_err());
        for wrong in [["--since", "yesterday"], ["--action", "bogus.verb"], ["--verdict", "MAYBE"]] {
            let error = crate::cli::parse(&["tail", wrong[0], wrong[1]]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.to_string().contains(wrong[0]), "{error}");
        }
        crate::cli::parse(&["tail", "--since", "10m", "--action", "net.*", "--verdict", "deny"]).unwrap();
    }

    #[test]
    fn moments() {
        let now = 1_800_000_000_000_000_000;
        assert_eq!(moment("2026-11-03", now).unwrap(), "2026-11-03T00:00:00.000000000Z");
        assert_eq!(moment("2026-11-03T10:00:00Z", now).unwrap(), "2026-11-03T10:00:00.000000000Z");
        assert_eq!(moment("2026-11-03T10:00:00.5Z", now).unwrap(), "2026-11-03T10:00:00.500000000Z");
        assert_eq!(moment("1s", now).unwrap(), time::format(now - 1_000_000_000));
        assert!(moment("yesterday", now).is_err());
    }
}
