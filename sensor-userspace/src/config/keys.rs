//! Every key: its name, and what its value may be.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use sensor_common::answer::MAX_NAMED;
use sensor_common::guard::Guard;

use super::kind::Kind;
use super::{Config, KeyEncoding, MAX_TRAJECTORY, SealMode};
use crate::agent::stays_in_uri;
use crate::near::suggestion;

pub(super) type Setter = fn(&mut Config, &str) -> Result<(), String>;

/// Every key, in the order of the manual, and what its value is in a file.
pub(super) const KEYS: &[(&str, Kind, Setter)] = &[
    ("seal.mode", Kind::Text, |config, value| {
        config.seal.mode = one_of(value, &[("static", SealMode::Static), ("ratchet", SealMode::Ratchet)])?;
        Ok(())
    }),
    ("seal.key_file", Kind::Text, |config, value| {
        config.seal.key_file = Some(path(value)?);
        Ok(())
    }),
    ("seal.key_encoding", Kind::Text, |config, value| {
        config.seal.key_encoding = one_of(value, &[("hex", KeyEncoding::Hex), ("utf8", KeyEncoding::Utf8)])?;
        Ok(())
    }),
    ("ledger.dir", Kind::Text, |config, value| {
        config.ledger_dir = path(value)?;
        Ok(())
    }),
    ("sinks.kafka.brokers", Kind::Texts, |config, value| kafka(config, "brokers", value)),
    ("sinks.kafka.topic", Kind::Text, |config, value| kafka(config, "topic", value)),
    ("sinks.kafka.exactly_once", Kind::Truth, |config, value| {
        one_of(value, &[("true", true), ("false", false)])?;
        kafka(config, "exactly_once", value)
    }),
    ("risk.profile", Kind::Text, |config, value| {
        config.risk_profile = one_of(value, &[("article", "article".to_owned())])?;
        Ok(())
    }),
    ("trajectory.length", Kind::Number, |config, value| {
        config.trajectory_length = match value.parse::<usize>() {
            Ok(length) if length <= MAX_TRAJECTORY => length,
            _ => return Err(format!("`{value}` is no number from 0 to {MAX_TRAJECTORY}")),
        };
        Ok(())
    }),
    ("record.type_prefix", Kind::Text, |config, value| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if !value.bytes().all(plain) {
            return Err(format!("`{value}` holds more than letters, digits, `.`, `_` and `-`"));
        }
        config.type_prefix = value.to_owned();
        Ok(())
    }),
    ("record.outcome_wait", Kind::Text, |config, value| {
        config.outcome_wait = duration(value)?;
        Ok(())
    }),
    ("record.heartbeat", Kind::Text, |config, value| {
        let every = duration(value)?;
        if every < Duration::from_secs(1) {
            return Err(format!("`{value}` is less than one second"));
        }
        config.heartbeat = every;
        Ok(())
    }),
    ("enforce.canary", Kind::Text, |config, value| {
        let every = duration(value)?;
        if every < Duration::from_secs(1) {
            return Err(format!("`{value}` is less than one second"));
        }
        config.canary = every;
        Ok(())
    }),
    ("guard.relax", Kind::Texts, |config, value| {
        config.guard_relax = guards(value)?;
        Ok(())
    }),
    ("hosts.refresh", Kind::Text, |config, value| {
        let every = duration(value)?;
        if every < Duration::from_secs(1) {
            return Err(format!("`{value}` is less than one second"));
        }
        config.hosts_refresh = every;
        Ok(())
    }),
    ("hosts.servers", Kind::Texts, |config, value| {
        config.hosts_servers = servers(value)?;
        Ok(())
    }),
    ("node.name", Kind::Text, |config, value| {
        config.node_name = Some(filled(value).and_then(node)?);
        Ok(())
    }),
    ("node.environment", Kind::Text, |config, value| {
        config.environment = Some(filled(value)?);
        Ok(())
    }),
];

pub(super) fn kafka(config: &mut Config, key: &str, value: &str) -> Result<(), String> {
    let value = filled(value)?;
    config.kafka.retain(|(known, _)| known != key);
    config.kafka.push((key.to_owned(), value));
    Ok(())
}

fn one_of<T: Clone>(value: &str, choices: &[(&str, T)]) -> Result<T, String> {
    match choices.iter().find(|(name, _)| *name == value) {
        Some((_, choice)) => Ok(choice.clone()),
        None => {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            Err(format!("`{value}` is none of: {}", names.join(", ")))
        }
    }
}

/// Names of the guard's rules, with commas, as a mask.
fn listed(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|text| !text.is_empty())
}

fn guards(value: &str) -> Result<u32, String> {
    listed(value)
        .map(|name| Guard::from_name(name).map(Guard::bit).ok_or_else(|| no_guard(name)))
        .try_fold(0, |mask, bit| Ok(mask | bit?))
}

fn servers(value: &str) -> Result<Vec<IpAddr>, String> {
    let all: Vec<IpAddr> = listed(value)
        .map(|text| text.parse().map_err(|_| format!("`{text}` is no address of a name server")))
        .collect::<Result<_, _>>()?;
    match all.len() {
        ..=MAX_NAMED => Ok(all),
        many => Err(format!("{many} name servers, more than the limit of {MAX_NAMED}")),
    }
}

fn no_guard(name: &str) -> String {
    let known = Guard::ALL.iter().map(|guard| guard.name());
    match suggestion(name, known.clone()) {
        Some(meant) => format!("the guard has no rule `{name}`; {meant}"),
        None => format!("the guard has no rule `{name}`; there are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// It is the authority of a URI, in which records name their agents as a path.
fn node(name: String) -> Result<String, String> {
    if name.contains('/') {
        return Err(format!("`{name}` holds a `/`, which a node's name cannot; leave it out"));
    }
    stays_in_uri(&name)?;
    Ok(name)
}

fn filled(value: &str) -> Result<String, String> {
    if value.is_empty() { Err("is empty".to_owned()) } else { Ok(value.to_owned()) }
}

/// Relative to the directory of whoever says it: the daemon's own is `/`.
fn path(value: &str) -> Result<PathBuf, String> {
    let value = filled(value)?;
    std::path::absolute(&value).map_err(|cause| format!("`{value}`: {cause}"))
}

/// `200ms`, `5s`, `2m`; a bare number is milliseconds.
pub fn duration(value: &str) -> Result<Duration, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let scale = match &value[digits..] {
        "" | "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("`{value}` is no duration such as 200ms, 5s or 2m")),
    };
    match value[..digits].parse::<u64>().ok().and_then(|count| count.checked_mul(scale)) {
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err(format!("`{value}` is no duration such as 200ms, 5s or 2m")),
    }
}

pub(super) fn unknown<'a>(key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match suggestion(key, known.clone()) {
        Some(meant) => format!("unknown key `{key}`; {meant}"),
        None => format!("unknown key `{key}`; there are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}
