//! Configuration: embedded defaults, a TOML file over them, `--set section.key=value` over both.
//!
//! Every key takes its value as text, so that the file and `--set` mean the same by the same words.

mod keys;
mod kind;

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;
use toml::de::{DeTable, DeValue};

use crate::agent::check_name;
pub use keys::duration;
use keys::{KEYS, kafka, unknown};
use kind::{Kind, scalar};

pub const DEFAULT_FILE: &str = "/etc/rgt/rgt.toml";
pub const STATE_DIR: &str = "/var/lib/rgt";
pub const RUNTIME_DIR: &str = "/run/rgt";

/// Past actions that a record may carry.
pub const MAX_TRAJECTORY: usize = 64;

#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("{path}: {cause}; give another file with --config, or mend this one's permissions")]
    Unreadable { path: String, cause: std::io::Error },
    #[error("{file}:{line}:{column}: {problem}")]
    File { file: String, line: usize, column: usize, problem: String },
    #[error("--set {given}: {problem}")]
    Set { given: String, problem: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealMode {
    Static,
    Ratchet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyEncoding {
    Hex,
    Utf8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub mode: SealMode,
    pub key_file: Option<PathBuf>,
    pub key_encoding: KeyEncoding,
}

/// Where the processes of a configured agent are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// A glob over paths below the cgroup v2 root.
    Cgroup(String),
    Unit(String),
}

/// An agent that the operator's configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRule {
    pub name: Option<String>,
    pub whose: Whose,
    pub policy: Option<PathBuf>,
    /// Which role it has, and at what task it is: for the conditions of policies.
    pub role: Option<String>,
    pub task: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub seal: Seal,
    pub ledger_dir: PathBuf,
    /// `(key, value)` below `sinks.kafka`, as given.
    pub kafka: Vec<(String, String)>,
    pub risk_profile: String,
    pub trajectory_length: usize,
    pub type_prefix: String,
    pub outcome_wait: Duration,
    pub heartbeat: Duration,
    /// How often a denial is tried while somebody is governed.
    pub canary: Duration,
    /// Rules of the guard that the operator relaxes, a bit each.
    pub guard_relax: u32,
    /// How often host names are resolved again.
    pub hosts_refresh: Duration,
    /// Name servers whose answers to agents are believed, beside the machine's own.
    pub hosts_servers: Vec<IpAddr>,
    pub node_name: Option<String>,
    pub environment: Option<String>,
    pub agents: Vec<AgentRule>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            seal: Seal { mode: SealMode::Static, key_file: None, key_encoding: KeyEncoding::Hex },
            ledger_dir: Path::new(STATE_DIR).join("ledger"),
            kafka: Vec::new(),
            risk_profile: "article".to_owned(),
            trajectory_length: 8,
            type_prefix: "rgt.".to_owned(),
            outcome_wait: Duration::from_millis(200),
            heartbeat: Duration::from_secs(60),
            canary: Duration::from_secs(30),
            guard_relax: 0,
            hosts_refresh: Duration::from_secs(60),
            hosts_servers: Vec::new(),
            node_name: None,
            environment: None,
            agents: Vec::new(),
        }
    }
}

/// What librdkafka knows and we do not is passed through.
const PASSED_THROUGH: &str = "sinks.kafka.properties.";

impl Config {
    /// The file given, else the default one where it is present, and `sets` over it.
    pub fn load(file: Option<&Path>, sets: &[String]) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let default = Path::new(DEFAULT_FILE);
        if let Some(file) = file.or_else(|| default.exists().then_some(default)) {
            let text = std::fs::read_to_string(file)
                .map_err(|cause| ConfigError::Unreadable { path: file.display().to_string(), cause })?;
            config.read(&file.display().to_string(), file.parent(), &text)?;
        }
        config.set_all(sets)?;
        Ok(config)
    }

    /// Whether it asks for what a daemon does for all its agents alike, and another does not.
    pub fn asks_of_all(&self, base: &Config) -> bool {
        self.outcome_wait < base.outcome_wait
            || self.heartbeat != base.heartbeat
            || self.hosts_refresh != base.hosts_refresh
            || self.hosts_servers != base.hosts_servers
            || self.canary != base.canary
    }

    /// Whether one `section.key=value` does.
    pub fn is_of_all(given: &str) -> bool {
        let mut config = Config::default();
        config.set_all(&[given.to_owned()]).is_ok() && config.asks_of_all(&Config::default())
    }

    pub fn set_all(&mut self, sets: &[String]) -> Result<(), ConfigError> {
        for given in sets {
            let fault = |problem| ConfigError::Set { given: given.clone(), problem };
            let Some((key, value)) = given.split_once('=') else {
                return Err(fault("is no `section.key=value`".to_owned()));
            };
            self.set(key.trim(), value).map_err(fault)?;
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        if let Some(name) = key.strip_prefix(PASSED_THROUGH).filter(|name| !name.is_empty()) {
            return kafka(self, &format!("properties.{name}"), value);
        }
        match KEYS.iter().find(|(known, ..)| *known == key) {
            Some((.., setter)) => setter(self, value),
            None => Err(unknown(key, KEYS.iter().map(|(known, ..)| *known))),
        }
    }

    fn read(&mut self, file: &str, dir: Option<&Path>, text: &str) -> Result<(), ConfigError> {
        let at = |span: Range<usize>, problem: String| {
            let (line, column) = position(text, span.start);
            ConfigError::File { file: file.to_owned(), line, column, problem }
        };
        let document =
            DeTable::parse(text).map_err(|error| at(error.span().unwrap_or(0..0), error.message().to_owned()))?;
        self.table("", document.get_ref(), dir.unwrap_or(Path::new("/"))).map_err(|(span, problem)| at(span, problem))
    }

    fn table(&mut self, section: &str, table: &DeTable<'_>, dir: &Path) -> Result<(), Fault> {
        for (name, value) in table {
            let key = match section {
                "" => name.get_ref().to_string(),
                _ => format!("{section}.{}", name.get_ref()),
            };
            match value.get_ref() {
                DeValue::Array(rules) if key == "agents" => {
                    for rule in rules.iter() {
                        let DeValue::Table(fields) = rule.get_ref() else {
                            return Err((
                                rule.span(),
                                "an agent is a table: { name, cgroup | unit, policy }".to_owned(),
                            ));
                        };
                        let rule =
                            agent(fields, dir).map_err(|(span, problem)| (span.unwrap_or(rule.span()), problem))?;
                        self.agents.push(rule);
                    }
                }
                DeValue::Table(inner) => self.table(&key, inner, dir)?,
                other => {
                    let of_ours = KEYS.iter().find(|(known, ..)| *known == key).map(|(_, kind, _)| *kind);
                    let Some(kind) = of_ours.or(key.starts_with(PASSED_THROUGH).then_some(Kind::Any)) else {
                        let keys = KEYS.iter().map(|(known, ..)| *known).chain(["agents"]);
                        return Err((name.span(), unknown(&key, keys)));
                    };
                    let text = kind
                        .text(other)
                        .ok_or_else(|| (value.span(), format!("{key}: {} is wanted", kind.wanted())))?;
                    self.set(&key, &text).map_err(|problem| (value.span(), format!("{key}: {problem}")))?;
                }
            }
        }
        Ok(())
    }
}

type Fault = (Range<usize>, String);

fn agent(fields: &DeTable<'_>, dir: &Path) -> Result<AgentRule, (Option<Range<usize>>, String)> {
    let (mut name, mut whose, mut policy, mut role, mut task) = (None, None, None, None, None);
    for (key, value) in fields {
        let fault = |problem: String| (Some(value.span()), problem);
        let text = scalar(value.get_ref())
            .filter(|text| !text.is_empty())
            .ok_or_else(|| fault(format!("agents.{}: a string is wanted", key.get_ref())))?;
        match key.get_ref().as_ref() {
            "name" => {
                check_name(&text).map_err(|why| fault(format!("agents.name: {why}")))?;
                name = Some(text);
            }
            "policy" => policy = Some(dir.join(text)),
            "role" => role = Some(text),
            "task" => task = Some(text),
            found @ ("cgroup" | "unit") => {
                let one = match found {
                    "cgroup" => Whose::Cgroup(text.trim_matches('/').to_owned()),
                    _ => Whose::Unit(text),
                };
                if whose.replace(one).is_some() {
                    return Err(fault("an agent is found by `cgroup` or by `unit`, not by both".to_owned()));
                }
            }
            other => {
                let known = ["name", "cgroup", "unit", "policy", "role", "task"];
                return Err((Some(key.span()), unknown(other, known.into_iter())));
            }
        }
    }
    let whose = whose.ok_or((None, "an agent needs `cgroup` (a glob) or `unit`".to_owned()))?;
    Ok(AgentRule { name, whose, policy, role, task })
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset.min(text.len()))];
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use sensor_common::guard::Guard;

    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let mut config = Config::default();
        match config.read("t.toml", Some(Path::new("/etc/rgt")), text) {
            Ok(()) => Ok(config),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn some_settings_are_of_a_whole_daemon() {
        for given in ["record.outcome_wait=100ms", "record.heartbeat=10s", "hosts.refresh=30s", "enforce.canary=5s"] {
            assert!(Config::is_of_all(given), "{given}");
        }
        for given in ["record.outcome_wait=10s", "trajectory.length=3", "seal.mode=static", "hosts.refresh=x", "x"] {
            assert!(!Config::is_of_all(given), "{given}");
        }
    }

    #[test]
    fn a_file_is_read() {
        let config = read(
            "agents = [{name = \"a\", cgroup = \"/x/*\", policy = \"p.yaml\"}, {unit = \"b.service\"}]\n\
             [seal]\nmode = \"static\"\n[trajectory]\nlength = 16\n[record]\noutcome_wait = \"1s\"\n\
             [sinks.kafka]\nbrokers = [\"a:1\", \"b:2\"]\ntopic = \"t\"\nexactly_once = false\n\
             properties.linger.ms = 20\n",
        )
        .unwrap();
        assert_eq!(config.trajectory_length, 16);
        assert_eq!(config.outcome_wait, Duration::from_secs(1));
        assert!(config.kafka.contains(&("brokers".to_owned(), "a:1,b:2".to_owned())));
        assert!(config.kafka.contains(&("properties.linger.ms".to_owned(), "20".to_owned())));
        assert_eq!(config.agents[0].whose, Whose::Cgroup("x/*".to_owned()));
        assert_eq!(config.agents[0].policy.as_deref(), Some(Path::new("/etc/rgt/p.yaml")));
        assert_eq!(config.agents[1].whose, Whose::Unit("b.service".to_owned()));
    }

    #[test]
    fn errors_name_place_and_way_out() {
        for (text, part) in [
            ("[seal]\nmod = \"static\"\n", "t.toml:2:1: unknown key `seal.mod`; did you mean `seal.mode`?"),
            ("[seal]\nmode = \"x\"\n", "t.toml:2:8: seal.mode: `x` is none of: static, ratchet"),
            ("[trajectory]\nlength = 65\n", "t.toml:2:10: trajectory.length: `65` is no number from 0 to 64"),
            ("agents = [{name = \"a\"}]", "t.toml:1:11: an agent needs"),
            ("agents = [{name = \"a/../b\", unit = \"b\"}]", "t.toml:1:19: agents.name: a part of the name is `..`"),
            ("agents = [{unit = \"a\", cgroup = \"b\"}]", "not by both"),
            ("[seal\n", "t.toml:1:6: "),
            ("[node]\nname = \"a/b\"\n", "`a/b` holds a `/`"),
            ("[node]\nname = \"..\"\n", "a part of the name is `..`"),
            ("zzzzzzzzzzzzzzzz = 1\n", "there are: seal.mode"),
            ("[ledger]\ndir = 5\n", "t.toml:2:7: ledger.dir: a string is wanted"),
            ("[ledger]\ndir = [\"a\", \"b\"]\n", "a string is wanted"),
            ("[trajectory]\nlength = \"8\"\n", "a number is wanted"),
            ("[guard]\nrelax = [1]\n", "a string or a list of strings is wanted"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn sets_stand_over_the_file() {
        let mut config = read("[record]\ntype_prefix = \"a.\"\n").unwrap();
        config
            .set_all(&[
                "record.type_prefix=b.".to_owned(),
                "seal.key_file=/k".to_owned(),
                "guard.relax=GUARD_BPF, GUARD_CLOCK".to_owned(),
            ])
            .unwrap();
        assert_eq!(config.guard_relax, Guard::Bpf.bit() | Guard::Clock.bit());
        assert_eq!(config.type_prefix, "b.");
        assert_eq!(config.seal.key_file.as_deref(), Some(Path::new("/k")));
        for (given, part) in [
            ("seal.mode", "section.key=value"),
            ("seal.mod=static", "did you mean `seal.mode`"),
            ("risk.profile=x", "none of: article"),
            ("guard.relax=GUARD_BPF,GUARD_PREF", "no rule `GUARD_PREF`; did you mean `GUARD_PERF`?"),
            ("guard.relax=everything", "there are: GUARD_HELPERS"),
            ("record.outcome_wait=5 parsecs", "no duration"),
            ("ledger.dir=", "empty"),
        ] {
            let error = config.set_all(&[given.to_owned()]).unwrap_err().to_string();
            assert!(error.starts_with("--set ") && error.contains(part), "{given}: {error}");
        }
    }
}
