//! What is wrong with a policy, where, and the way out.

use std::fmt;

/// Where in the policy's files; line and column count from 1, the column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// 0 is the policy's own file.
    pub file: u16,
    pub line: usize,
    pub column: usize,
}

impl At {
    /// What concerns the policy as a whole.
    pub const TOP: At = At { file: 0, line: 1, column: 1 };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Error,
    Warning,
}

impl Level {
    pub const fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub level: Level,
    pub file: String,
    pub at: At,
    /// The rule it stands in, as far as that is known.
    pub rule: Option<String>,
    pub text: String,
    /// The way out.
    pub hint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At { line, column, .. } = self.at;
        write!(out, "{}:{line}:{column}: {}: ", self.file, self.level.name())?;
        if let Some(rule) = &self.rule {
            write!(out, "[{rule}] ")?;
        }
        write!(out, "{}", self.text)?;
        if !self.hint.is_empty() {
            write!(out, "\n  help: {}", self.hint)?;
        }
        Ok(())
    }
}

/// All errors of a policy, in its order, up to a thousand; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Errors(pub Vec<Problem>);

impl fmt::Display for Errors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(out)?;
            }
            write!(out, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Errors {}

/// Gathers problems while a file is read, so that all of them are told at once.
pub(super) struct Report {
    /// `At::file` is the index here.
    files: Vec<String>,
    rule: Option<String>,
    problems: Vec<Problem>,
    /// Warnings and errors so far.
    told: [usize; 2],
}

/// Of either kind.
const MAX_TOLD: usize = 1000;

impl Report {
    pub fn over(files: Vec<String>) -> Report {
        Report { files, rule: None, problems: Vec::new(), told: [0; 2] }
    }

    /// The number of one more file.
    pub fn add_file(&mut self, name: &str) -> u16 {
        self.files.push(name.to_owned());
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// `line 7`, or `FILE:7` where it is another file than `from`'s.
    pub fn place(&self, at: At, from: At) -> String {
        match self.files.get(usize::from(at.file)).filter(|_| at.file != from.file) {
            Some(file) => format!("{file}:{}", at.line),
            None => format!("line {}", at.line),
        }
    }

    /// What follows is about this rule.
    pub fn enter_rule(&mut self, rule: Option<String>) {
        self.rule = rule;
    }

    pub fn rule(&self) -> Option<String> {
        self.rule.clone()
    }

    pub fn error(&mut self, at: At, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Level::Error, at, text.into(), hint.into());
    }

    pub fn warning(&mut self, at: At, text: impl Into<String>, hint: impl Into<String>) {
        self.push(Level::Warning, at, text.into(), hint.into());
    }

    fn push(&mut self, level: Level, at: At, text: String, hint: String) {
        // A file of nothing but mistakes is not told line by line; and no error hides behind warnings.
        let told = &mut self.told[usize::from(level == Level::Error)];
        *told += 1;
        if *told > MAX_TOLD {
            return;
        }
        let file = self.files.get(usize::from(at.file)).cloned().unwrap_or_default();
        let rule = self.rule.clone();
        self.problems.push(Problem { level, file, at, rule, text, hint });
    }

    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.level == Level::Error)
    }

    /// The warnings, or the errors if there is one.
    pub fn finish(mut self) -> Result<Vec<Problem>, Errors> {
        self.problems.sort_by_key(|problem| problem.at);
        if !self.has_errors() {
            return Ok(self.problems);
        }
        self.problems.retain(|problem| problem.level == Level::Error);
        Err(Errors(self.problems))
    }
}
