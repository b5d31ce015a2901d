//! Reads libtest's output: results, times, and `SKIP <test>: <reason>` lines of the tests themselves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Counts of one step or of the whole run. Failures and skips are what they are named by.
#[derive(Debug, Default)]
pub struct Tally {
    pub passed: usize,
    pub failures: Vec<String>,
    pub skips: Vec<String>,
    pub times: Vec<(Duration, String)>,
}

impl Tally {
    pub fn add(&mut self, mut other: Self) {
        self.passed += other.passed;
        self.failures.append(&mut other.failures);
        self.skips.append(&mut other.skips);
        self.times.append(&mut other.times);
    }
}

pub struct Parser {
    step: String,
    serial: bool,
    /// A test whose name was printed and whose result was not: its own output stands between.
    running: Option<String>,
    last: Instant,
    passed: Vec<String>,
    failed: Vec<String>,
    ignored: Vec<(String, String)>,
    skipped: Vec<(String, String)>,
    tally: Tally,
}

impl Parser {
    pub fn new(step: &str, serial: bool) -> Self {
        Self {
            step: step.to_owned(),
            serial,
            running: None,
            last: Instant::now(),
            passed: Vec::new(),
            failed: Vec::new(),
            ignored: Vec::new(),
            skipped: Vec::new(),
            tally: Tally::default(),
        }
    }

    pub fn line(&mut self, line: &str, now: Instant) {
        let line = line.trim_end_matches('\r');
        if line.starts_with("running ") {
            self.last = now;
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.result(counts);
        } else if let Some((name, rest)) = line.strip_prefix("test ").and_then(|line| line.split_once(" ... ")) {
            let name = name.strip_suffix(" - should panic").unwrap_or(name).to_owned();
            if !self.verdict(&name, rest, now) {
                // With --nocapture the test's own first line stands behind its name.
                self.skip(rest);
                self.running = Some(name);
            }
        } else if let Some(name) = self.running.take() {
            if !self.verdict(&name, line, now) {
                self.skip(line);
                self.running = Some(name);
            }
        } else {
            self.skip(line);
        }
    }

    /// Whether a test's name was told and its result was not.
    pub fn is_in_a_test(&self) -> bool {
        self.running.is_some()
    }

    fn verdict(&mut self, name: &str, word: &str, now: Instant) -> bool {
        match word {
            "ok" => self.passed.push(name.to_owned()),
            "FAILED" => self.failed.push(name.to_owned()),
            _ => match word.strip_prefix("ignored") {
                Some("") => self.ignored.push((name.to_owned(), "ignored, no reason given".into())),
                Some(reason) if reason.starts_with(", ") => {
                    self.ignored.push((name.to_owned(), reason[2..].to_owned()))
                }
                _ => return false,
            },
        }
        if self.serial {
            self.tally.times.push((now - self.last, format!("{name} ({})", self.step)));
        }
        self.last = now;
        true
    }

    fn skip(&mut self, line: &str) {
        let found = line.strip_prefix("SKIP ").and_then(|rest| rest.split_once(": "));
        if let Some((name, reason)) = found {
            self.skipped.push((name.trim().to_owned(), reason.trim().to_owned()));
        }
    }

    /// The end of one test program: its own counts are the truth, the names only explain them.
    fn result(&mut self, counts: &str) {
        let count = |what: &str| {
            counts
                .split([';', '.'])
                .find_map(|part| part.trim().strip_suffix(what)?.trim().parse::<usize>().ok())
                .unwrap_or(0)
        };
        let (mut passed, failed, ignored) = (count("passed"), count("failed"), count("ignored"));
        let mut seen = BTreeSet::new();
        for (name, reason) in std::mem::take(&mut self.skipped) {
            if !seen.insert(name.clone()) {
                continue;
            }
            let is = |test: &String| *test == name || test.ends_with(&format!("::{name}"));
            if self.failed.iter().any(is) {
                continue;
            }
            // A part of a test may skip under a name of its own; then the test itself still counts.
            if self.passed.iter().any(is) {
                passed = passed.saturating_sub(1);
            }
            self.tally.skips.push(format!("{name}: {reason}"));
        }
        let known = self.ignored.len();
        self.tally.skips.extend(self.ignored.drain(..).map(|(name, reason)| format!("{name}: {reason}")));
        self.tally.skips.extend((known..ignored).map(|_| format!("{}: ignored", self.step)));
        let known = self.failed.len();
        self.tally.failures.extend(self.failed.drain(..).map(|name| format!("{name} ({})", self.step)));
        self.tally.failures.extend((known..failed).map(|_| format!("a test of {}", self.step)));
        self.tally.passed += passed;
        self.passed.clear();
        self.running = None;
    }

    /// The end of the step. A failure without a result is a crash or a compile error.
    pub fn end(mut self, success: bool) -> Tally {
        let crashed = self.running.take();
        if !success && (self.tally.failures.is_empty() || crashed.is_some()) {
            let cause = crashed.map_or_else(
                || "did not compile, or ended without a result; see above".to_owned(),
                |test| format!("ended in the middle of {test}"),
            );
            self.tally.failures.push(format!("{}: {cause}", self.step));
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> Tally {
        let mut parser = Parser::new("step", true);
        for line in text.lines() {
            parser.line(line, Instant::now());
        }
        parser.end(success)
    }

    #[test]
    fn results_are_summed_and_skips_do_not_count_as_passed() {
        let tally = read(
            "running 5 tests\n\
             test a::one ... ok\n\
             test two ... SKIP two: no root\n\
             ok\n\
             test three ... noise\nmore noise\nFAILED\n\
             test four ... ignored, needs a broker\n\
             test five ... SKIP kernel 7.2: not to be had\nok\n\
             test result: FAILED. 3 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n",
            false,
        );
        assert_eq!(tally.passed, 2);
        assert_eq!(tally.failures, ["three (step)"]);
        assert_eq!(tally.skips, ["two: no root", "kernel 7.2: not to be had", "four: needs a broker"]);
        assert_eq!(tally.times.len(), 5);
    }

    #[test]
    fn output_shown_after_the_results_may_skip_as_well() {
        let tally = read(
            "running 1 test\ntest m::quiet ... ok\n\nsuccesses:\n\n---- m::quiet stdout ----\nSKIP quiet: no python3\n\n\
             test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            true,
        );
        assert_eq!((tally.passed, tally.skips.as_slice()), (0, ["quiet: no python3".to_owned()].as_slice()));
    }

    #[test]
    fn a_crash_is_a_failure() {
        assert_eq!(
            read("running 1 test\ntest x ... some output\n", false).failures,
            ["step: ended in the middle of x"]
        );
        assert_eq!(read("", false).failures.len(), 1);
        assert!(read("", true).failures.is_empty());
    }
}
