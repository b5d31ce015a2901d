//! What one boot told, put together: each technique as each user, with its control.

use std::collections::BTreeMap;

use serde_json::Value;

/// User, family, technique.
pub type Key = (String, String, String);

#[derive(Default, Debug)]
pub struct Run {
    /// Ran by itself, and had its effect.
    pub control: bool,
    pub effect: bool,
    start: String,
    end: String,
    /// Of the agent's process: 3 where a step that prepares the technique failed.
    pub status: String,
    /// The rule that refused, by the ledger.
    pub rule: Option<String>,
}

#[derive(Default)]
pub struct Told {
    pub runs: BTreeMap<Key, Run>,
    pub facts: BTreeMap<String, String>,
    pub records: Vec<Value>,
}

impl Told {
    /// An error is a line that is not understood.
    pub fn read(out: &str) -> Result<Self, String> {
        let mut told = Self::default();
        for line in out.lines() {
            let fields: Vec<&str> = line.split('\t').collect();
            match fields[..] {
                ["@", phase, user, family, technique, effect] => {
                    let run = told.run(user, family, technique);
                    match phase {
                        "control" => run.control = effect == "1",
                        _ => run.effect = effect == "1",
                    }
                }
                ["=", "policy", user, family, technique, start, end, status] => {
                    let run = told.run(user, family, technique);
                    (run.start, run.end, run.status) = (start.to_owned(), end.to_owned(), status.to_owned());
                }
                ["=", "control", ..] => {}
                ["#", fact, value] => told.facts.extend([(fact.to_owned(), value.to_owned())]),
                ["%", record] => told.records.push(serde_json::from_str(record).map_err(|_| line)?),
                _ => return Err(line.to_owned()),
            }
        }
        told.find_rules();
        Ok(told)
    }

    /// How often the kernel skipped the daemon's programs.
    pub fn skipped(&self) -> u64 {
        self.records.iter().filter_map(|record| record["data"]["programs_skipped"].as_u64()).max().unwrap_or(0)
    }

    fn run(&mut self, user: &str, family: &str, technique: &str) -> &mut Run {
        self.runs.entry((user.to_owned(), family.to_owned(), technique.to_owned())).or_default()
    }

    /// Techniques run one after the other: a refusal is that of the one that ran then.
    fn find_rules(&mut self) {
        let refusals: Vec<(&str, &str)> = self
            .records
            .iter()
            .map(|record| &record["data"])
            .filter(|data| data["enforcement"] == "blocked" && data["judged"] == "kernel")
            .filter_map(|data| Some((data["timestamp"].as_str()?, data["policy_rule_id"].as_str()?)))
            .collect();
        for run in self.runs.values_mut() {
            run.rule = refusals
                .iter()
                .find(|(at, _)| *at >= run.start.as_str() && *at <= run.end.as_str())
                .map(|(_, rule)| (*rule).to_owned());
        }
    }
}
