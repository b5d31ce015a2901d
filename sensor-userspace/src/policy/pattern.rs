//! One path of a policy: literal components, perhaps below a variable, perhaps with all below it.

use std::path::PathBuf;

use super::problem::{At, Report};
use super::words::suggestion;

const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 4095;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variable {
    Workspace,
    Home,
}

impl Variable {
    pub const ALL: [Variable; 2] = [Variable::Workspace, Variable::Home];

    pub const fn name(self) -> &'static str {
        match self {
            Variable::Workspace => "workspace",
            Variable::Home => "home",
        }
    }
}

/// What the variables stand for; fixed when the agent is registered, never from its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    pub workspace: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

/// What a variable stands for in `check` and `test`, where no agent gives it a value.
const STAND_IN_WORKSPACE: &str = "/workspace";
const STAND_IN_HOME: &str = "/home/agent";

impl Variables {
    /// The same, with `/workspace` and `/home/agent` for what has no value: to check and to test with.
    pub fn or_stand_ins(&self) -> Variables {
        let or = |value: &Option<PathBuf>, stand_in: &str| {
            value.clone().or_else(|| Some(PathBuf::from(stand_in)))
        };
        Variables {
            workspace: or(&self.workspace, STAND_IN_WORKSPACE),
            home: or(&self.home, STAND_IN_HOME),
        }
    }

    pub fn get(&self, variable: Variable) -> Option<&PathBuf> {
        match variable {
            Variable::Workspace => self.workspace.as_ref(),
            Variable::Home => self.home.as_ref(),
        }
    }
}

#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) at: At,
    /// As written.
    pub(super) text: String,
    pub(super) variable: Option<Variable>,
    /// What follows the variable or the root.
    pub(super) tail: Vec<String>,
    /// `/**` at the end: the place and all below it.
    pub(super) below: bool,
}

impl Pattern {
    /// The place's path once the variable is known.
    pub(super) fn path(&self, variables: &Variables) -> Result<Vec<u8>, (String, String)> {
        use std::os::unix::ffi::OsStrExt;

        let mut path = Vec::new();
        if let Some(variable) = self.variable {
            let name = variable.name();
            let value = variables.get(variable).ok_or_else(|| {
                let hint = format!("give it (`--{name} DIR`), or write the directory itself");
                (format!("`${{{name}}}` has no value here"), hint)
            })?;
            let bytes = value.as_os_str().as_bytes();
            let absolute = bytes.starts_with(b"/") && !bytes.contains(&0);
            let plain = |part: &[u8]| part != b".." && part.len() <= MAX_COMPONENT;
            if !absolute || !bytes.split(|byte| *byte == b'/').all(plain) {
                let text = format!(
                    "the value of `${{{name}}}` is no absolute path without `..`: {}",
                    value.display()
                );
                return Err((text, "give the directory's absolute path".to_owned()));
            }
            for part in super::place::components(bytes) {
                path.push(b'/');
                path.extend_from_slice(part);
            }
        }
        for part in &self.tail {
            path.push(b'/');
            path.extend_from_slice(part.as_bytes());
        }
        if path.len() > MAX_PATH {
            let text = format!(
                "the path has {} bytes; the kernel knows none longer than {MAX_PATH}",
                path.len()
            );
            return Err((text, "shorten it".to_owned()));
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Ok(path)
    }

    /// Whether every path of `other` lies in `self`, whatever the variables stand for.
    pub(super) fn covers(&self, other: &Pattern) -> bool {
        if self.below && self.variable.is_none() && self.tail.is_empty() {
            return true;
        }
        self.variable == other.variable
            && if self.below {
                other.tail.starts_with(&self.tail)
            } else {
                !other.below && self.tail == other.tail
            }
    }
}

/// Reads one path as written in a policy.
pub(super) fn read(text: &str, at: At, report: &mut Report) -> Option<Pattern> {
    match parse(text) {
        Ok((variable, tail, below)) => {
            Some(Pattern { at, text: text.to_owned(), variable, tail, below })
        }
        Err((cause, hint)) => {
            report.error(at, format!("path `{text}`: {cause}"), hint);
            None
        }
    }
}

type Parsed = (Option<Variable>, Vec<String>, bool);

fn parse(text: &str) -> Result<Parsed, (String, String)> {
    let fail = |cause: &str, hint: &str| Err((cause.to_owned(), hint.to_owned()));
    let (variable, rest) = match text.strip_prefix("${") {
        Some(rest) => {
            let Some((name, rest)) = rest.split_once('}') else {
                return fail("the variable is not closed", "write `${workspace}` or `${home}`");
            };
            let Some(variable) = Variable::ALL.into_iter().find(|variable| variable.name() == name)
            else {
                let hint = suggestion(name, Variable::ALL.iter().map(|variable| variable.name()))
                    .unwrap_or_else(|| "the variables are `${workspace}` and `${home}`".to_owned());
                return Err((format!("unknown variable `${{{name}}}`"), hint));
            };
            (Some(variable), rest)
        }
        None => (None, text),
    };
    if rest.contains("${") {
        return fail(
            "a variable stands only at the start",
            "write `${workspace}/…` or `${home}/…`",
        );
    }
    if rest.contains('\0') {
        return fail("it holds a NUL byte, which no path does", "remove it");
    }
    let (literal, below) = match rest.strip_suffix("/**") {
        Some(literal) => (literal, true),
        None => (rest, false),
    };
    if literal.contains(['*', '?', '[', '{', '\\']) {
        let hint = "only `/**` at the end is understood: name the directories one by one, or `/dir/**` for all below one";
        return fail("wildcards inside a path are not supported yet", hint);
    }
    if variable.is_none() && !rest.starts_with('/') {
        return fail("it is relative", "begin it with `/`, `${workspace}` or `${home}`");
    }
    if variable.is_some() && !literal.is_empty() && !literal.starts_with('/') {
        return fail("a `/` must follow the variable", "write `${workspace}/name`");
    }
    let tail = match literal.strip_prefix('/') {
        Some("") if variable.is_none() && !below => Vec::new(),
        Some(inner) => inner.split('/').map(str::to_owned).collect(),
        None => Vec::new(),
    };
    for part in &tail {
        match part.as_str() {
            "" => {
                return fail(
                    "it has an empty component (`//`, or `/` at the end)",
                    "write `/dir` or `/dir/**`",
                );
            }
            "." | ".." => {
                return fail(
                    "`.` and `..` name nothing in a policy",
                    "write the path that is meant",
                );
            }
            part if part.len() > MAX_COMPONENT => {
                return fail(
                    "a component has more than 255 bytes: no file has such a name",
                    "shorten it",
                );
            }
            _ => {}
        }
    }
    Ok((variable, tail, below))
}
