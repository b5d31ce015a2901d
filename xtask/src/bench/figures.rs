//! What `scenarios.sh` tells, line by line; what must hold for it to mean anything; and how it is shown.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// What all others are compared with.
const NOTHING: &str = "nothing";
/// The same, after everything was unloaded: how far it is from the first is how far to trust the rest.
const AGAIN: &str = "nothing_again";
/// Programs that do nothing but look their cgroup up, where rgt's are: what a neighbour's cost is compared with.
const LOOKUP: &str = "lookup";
const NEIGHBOUR: &str = "neighbour";
const SCENARIOS: [&str; 9] =
    [NOTHING, NEIGHBOUR, "observed", "governed", "rules_10", "rules_1000", "rules_10000", AGAIN, LOOKUP];
/// Seven operations, each alone and in a burst.
const FIGURES: usize = 14;
const SAMPLES: u64 = 2000;
/// How often `rgt exec` is measured.
const STARTS: usize = 5;

#[derive(Default)]
pub struct Told {
    kernel: String,
    scenarios: Vec<Scenario>,
    /// From `rgt exec` to its command.
    starts: Vec<u64>,
}

#[derive(Default)]
struct Scenario {
    name: String,
    calibration: (u64, u64),
    figures: Vec<Figure>,
    ledger: Option<Ledger>,
    daemon_kib: Option<u64>,
}

struct Figure {
    operation: String,
    pace: String,
    count: u64,
    min: u64,
    p10: u64,
    median: u64,
    p90: u64,
}

/// What an agent's run left behind.
struct Ledger {
    records: u64,
    gaps: u64,
    daemon: u64,
    bytes: u64,
    mode: String,
}

impl Told {
    pub fn line(&mut self, line: &str) -> Result<()> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| -> Result<u64> {
            words
                .get(index)
                .and_then(|word| word.parse().ok())
                .with_context(|| format!("word {} should be a number", index + 1))
        };
        let word = |index: usize| words.get(index).copied().unwrap_or_default().to_owned();
        match words.first().copied() {
            Some("kernel") => self.kernel = word(1),
            Some("scenario") => self.scenarios.push(Scenario { name: word(1), ..Scenario::default() }),
            Some("calibration") => self.last()?.calibration = (number(1)?, number(2)?),
            Some("figure") => {
                let figure = Figure {
                    operation: word(1),
                    pace: word(2),
                    count: number(3)?,
                    min: number(4)?,
                    p10: number(5)?,
                    median: number(6)?,
                    p90: number(7)?,
                };
                self.last()?.figures.push(figure);
            }
            Some("start") => self.starts.push(number(1)?),
            Some("memory") => self.last()?.daemon_kib = Some(number(1)?),
            Some("ledger") => {
                self.last()?.ledger = Some(Ledger {
                    records: number(1)?,
                    gaps: number(2)?,
                    daemon: number(3)?,
                    bytes: number(4)?,
                    mode: word(5),
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn last(&mut self) -> Result<&mut Scenario> {
        self.scenarios.last_mut().context("before any scenario")
    }

    /// Not one of these asks for a time: they ask whether what was measured is what the names say.
    pub fn check(&self) -> Result<()> {
        let names: Vec<&str> = self.scenarios.iter().map(|s| s.name.as_str()).collect();
        if names != SCENARIOS {
            bail!("the VM told of {names:?}, not of {SCENARIOS:?}");
        }
        if self.starts.len() != STARTS {
            bail!("`rgt exec` was measured {} times, not {STARTS}", self.starts.len());
        }
        for scenario in &self.scenarios {
            let name = &scenario.name;
            let (ticks, instructions) = scenario.calibration;
            if ticks.abs_diff(instructions) > instructions / 100 {
                bail!("{name}: {instructions} instructions took {ticks} ticks: the VM does not count instructions");
            }
            if scenario.figures.len() != FIGURES {
                bail!("{name}: {} figures, not {FIGURES}", scenario.figures.len());
            }
            if let Some(figure) = scenario.figures.iter().find(|f| f.count < SAMPLES) {
                bail!("{name}: {}: only {} samples", figure.operation, figure.count);
            }
            let agent = matches!(name.as_str(), "observed" | "governed") || name.starts_with("rules_");
            match &scenario.ledger {
                // Two opens, a deletion and a connection are recorded, alone and in a burst.
                Some(ledger) if agent && ledger.records < 8 * SAMPLES => {
                    bail!("{name}: only {} records: what was measured was not recorded", ledger.records)
                }
                Some(ledger) if agent && ledger.mode == "observe" && name == "governed" => {
                    bail!("{name}: mode observe: this kernel cannot deny, so no hook was measured")
                }
                None if agent => bail!("{name}: no ledger"),
                _ => {}
            }
        }
        Ok(())
    }

    fn median(&self, scenario: &str, operation: &str, pace: &str) -> Option<u64> {
        let scenario = self.scenarios.iter().find(|s| s.name == scenario)?;
        let mut figures = scenario.figures.iter();
        let figure = figures.find(|f| f.operation == operation && f.pace == pace)?;
        Some(figure.median)
    }

    /// The median.
    fn start(&self) -> Option<u64> {
        let mut starts = self.starts.clone();
        starts.sort_unstable();
        starts.get(starts.len() / 2).copied()
    }

    fn over_nothing(&self, figure: &Figure) -> Option<i64> {
        let nothing = self.median(NOTHING, &figure.operation, &figure.pace)?;
        figure.median.checked_signed_diff(nothing)
    }

    pub fn json(&self, rgt: &str, cpu: &str) -> Value {
        let scenarios: Vec<Value> = self
            .scenarios
            .iter()
            .map(|scenario| {
                let figures = scenario.figures.iter().map(|f| {
                    json!({
                        "operation": f.operation, "pace": f.pace, "count": f.count, "min": f.min, "p10": f.p10,
                        "median": f.median, "p90": f.p90, "over_nothing": self.over_nothing(f),
                    })
                });
                let mut value = json!({ "scenario": scenario.name, "figures": figures.collect::<Vec<_>>() });
                if let Some(kib) = scenario.daemon_kib {
                    value["daemon_rss_anon_kib"] = json!(kib);
                }
                if let Some(ledger) = &scenario.ledger {
                    value["mode"] = json!(ledger.mode);
                    value["ledger"] = json!({
                        "records": ledger.records, "gaps": ledger.gaps, "bytes": ledger.bytes,
                        "daemon_instructions": ledger.daemon,
                    });
                }
                value
            })
            .collect();
        json!({ "unit": "instructions of the guest", "kernel": self.kernel, "cpu": cpu, "rgt": rgt, "scenarios": scenarios, "exec_to_command": self.start() })
    }

    /// Medians: absolute for nothing, added for the others.
    pub fn table(&self) -> String {
        let mut text = format!("Instructions on {}, medians\n\n| | |", self.kernel);
        for name in SCENARIOS {
            let _ = write!(text, " {name} |");
        }
        text += "\n|---|---|";
        text += &"---:|".repeat(SCENARIOS.len());
        let operations = self.scenarios.first().map_or(&[][..], |s| &s.figures);
        for of in operations {
            let _ = write!(text, "\n| {} | {} | {} |", of.operation, of.pace, of.median);
            for name in &SCENARIOS[1..] {
                let added =
                    self.median(name, &of.operation, &of.pace).and_then(|median| median.checked_signed_diff(of.median));
                let _ = match added {
                    Some(added) => write!(text, " {added:+} |"),
                    None => write!(text, " – |"),
                };
            }
        }
        text.push('\n');
        for of in operations {
            let added = |name| self.median(name, &of.operation, &of.pace)?.checked_signed_diff(of.median);
            if let (Some(neighbour), Some(lookup)) = (added(NEIGHBOUR), added(LOOKUP).filter(|lookup| *lookup > 0)) {
                let hundredths = neighbour * 100 / lookup;
                let (whole, part) = (hundredths / 100, hundredths % 100);
                let _ =
                    write!(text, "\n{} {}: a neighbour pays {whole}.{part:02} times a look-up", of.operation, of.pace);
            }
        }
        if let Some(start) = self.start() {
            let _ = write!(text, "\nrgt exec to its command, daemon up and policy in force: {start}");
        }
        for scenario in &self.scenarios {
            if let Some(kib) = scenario.daemon_kib {
                let _ = write!(text, "\n{}: RssAnon of the daemon {kib} KiB", scenario.name);
            }
            if let Some(ledger) = &scenario.ledger {
                let _ = write!(
                    text,
                    "\n{}: mode {}, {} records, {} gaps, {} instructions and {} bytes a record in the daemon",
                    scenario.name,
                    ledger.mode,
                    ledger.records,
                    ledger.gaps,
                    ledger.daemon / ledger.records.max(1),
                    ledger.bytes / ledger.records.max(1),
                );
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &str) -> Told {
        let mut told = Told::default();
        for line in lines.lines() {
            told.line(line).unwrap();
        }
        told
    }

    #[test]
    fn others_are_compared_with_nothing() {
        let told = told(
            "kernel 6.12\nscenario nothing\nfigure open burst 2000 1 2 100 4\n\
             scenario neighbour\nfigure open burst 2000 1 2 90 4\nscenario governed\nfigure open alone 2000 1 2 90 4",
        );
        let json = told.json("rgt", "max");
        assert_eq!(json["scenarios"][1]["figures"][0]["over_nothing"], -10);
        assert_eq!(json["scenarios"][2]["figures"][0]["over_nothing"], Value::Null);
        assert!(told.table().contains("| open | burst | 100 | -10 | – |"));
    }

    #[test]
    fn what_is_not_what_it_says_is_refused() {
        assert!(told("scenario nothing").check().is_err());
        assert!(Told::default().line("figure open burst 1 2 3 4 5").is_err());
        assert!(Told::default().line("scenario").is_ok());
    }
}
