//! `sinks.kafka.*`: what a user may set, and what would break the guarantee if they did.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("sinks.kafka.{0} is missing: give `sinks.kafka.brokers=host:port[,…]` and `sinks.kafka.topic=NAME`")]
    Missing(&'static str),
    #[error(
        "sinks.kafka.{0}: no such key; there are brokers, topic, exactly_once and properties.<librdkafka property>"
    )]
    Unknown(String),
    #[error(
        "sinks.kafka.exactly_once=true: exactly-once delivery does not exist yet; leave it out: records arrive at least once and a consumer drops duplicates by (chain.id, chain.seq)"
    )]
    ExactlyOnce,
    #[error("sinks.kafka.exactly_once={0}: neither true nor false")]
    NotBool(String),
    #[error("sinks.kafka.topic={0:?} is no topic name: 1 to 249 of A-Z a-z 0-9 . _ -, and neither `.` nor `..`")]
    Topic(String),
    #[error("sinks.kafka.brokers={0:?} is no list of host:port, separated by commas")]
    Brokers(String),
    #[error("sinks.kafka.properties.{name} cannot be set: {why}")]
    Reserved { name: String, why: &'static str },
    #[error(
        "sinks.kafka: librdkafka refuses the configuration: {0}; its properties are listed in librdkafka's CONFIGURATION.md"
    )]
    Refused(String),
}

/// Properties of ours: without them records could be lost, doubled by the client itself, or never acknowledged.
const RESERVED: &[(&str, &str)] = &[
    ("bootstrap.servers", "give sinks.kafka.brokers"),
    ("metadata.broker.list", "give sinks.kafka.brokers"),
    ("enable.idempotence", "it is always on; without it a broker that stalls causes duplicates out of order"),
    ("acks", "it is always `all`; anything less loses records with a broker"),
    ("request.required.acks", "acks is always `all`; anything less loses records with a broker"),
    ("delivery.report.only.error", "the cursor moves by delivery reports"),
    ("transactional.id", "exactly-once delivery does not exist yet"),
];

/// Defaults a user may override. Time-outs: none, because the ledger keeps what waits; a finite one only makes the
/// sink start over from its cursor. The queue is small for the same reason: it is there to fill batches, and the
/// daemon's memory is bounded.
const DEFAULTS: &[(&str, &str)] = &[
    ("client.id", "rgt"),
    ("compression.type", "zstd"),
    ("linger.ms", "5"),
    ("message.timeout.ms", "0"),
    ("partitioner", "murmur2_random"), // as Java clients do it: the same agent, the same partition
    ("queue.buffering.max.kbytes", "16384"),
    ("queue.buffering.max.messages", "20000"),
    ("reconnect.backoff.max.ms", "2000"),
    ("socket.keepalive.enable", "true"),
    // Until then a missing topic is silent; too early is harmless, the sink starts over.
    ("topic.metadata.propagation.max.ms", "5000"),
];

#[derive(Clone, PartialEq, Eq)]
pub struct KafkaConfig {
    pub brokers: String,
    pub topic: String,
    /// Passed through to librdkafka.
    pub properties: BTreeMap<String, String>,
}

/// Passwords and keys stay out of logs.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaConfig")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("properties", &names)
            .finish()
    }
}

impl KafkaConfig {
    pub fn new(brokers: &str, topic: &str) -> Result<Self, ConfigError> {
        Self::from_settings([("brokers", brokers), ("topic", topic)])
    }

    /// From `(key, value)` as a configuration file or `--set sinks.kafka.KEY=VALUE` gives them; a later one overrides an earlier one.
    pub fn from_settings<'a>(settings: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, ConfigError> {
        let (mut brokers, mut topic) = (None, None);
        let mut properties = BTreeMap::new();
        for (key, value) in settings {
            match key {
                "brokers" => brokers = Some(value.to_owned()),
                "topic" => topic = Some(value.to_owned()),
                "exactly_once" => match value {
                    "false" => {}
                    "true" => return Err(ConfigError::ExactlyOnce),
                    other => return Err(ConfigError::NotBool(other.to_owned())),
                },
                _ => match key.strip_prefix("properties.") {
                    Some(name) if !name.is_empty() => {
                        properties.insert(name.to_owned(), value.to_owned());
                    }
                    _ => return Err(ConfigError::Unknown(key.to_owned())),
                },
            }
        }
        let config = Self {
            brokers: brokers.ok_or(ConfigError::Missing("brokers"))?,
            topic: topic.ok_or(ConfigError::Missing("topic"))?,
            properties,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let topic = self.topic.as_str();
        if topic.is_empty() || topic.len() > 249 || topic == "." || topic == ".." || !topic.bytes().all(letter) {
            return Err(ConfigError::Topic(topic.to_owned()));
        }
        let host_port = |b: &str| {
            b.trim()
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
        };
        if !self.brokers.split(',').all(host_port) {
            return Err(ConfigError::Brokers(self.brokers.clone()));
        }
        for (name, why) in RESERVED {
            if self.properties.contains_key(*name) {
                return Err(ConfigError::Reserved { name: (*name).to_owned(), why });
            }
        }
        Ok(())
    }

    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        for (name, value) in DEFAULTS {
            client.set(*name, *value);
        }
        for (name, value) in &self.properties {
            // A synonym set beside our default would be decided by the order of a hash map.
            for (ours, synonym) in SYNONYMS {
                if name == synonym {
                    client.remove(ours);
                }
            }
            client.set(name, value);
        }
        client.set("bootstrap.servers", &self.brokers);
        client.set("enable.idempotence", "true");
        client.set("acks", "all");
        client.set_log_level(RDKafkaLogLevel::Notice);
        client
    }
}

const SYNONYMS: &[(&str, &str)] = &[
    ("compression.type", "compression.codec"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> Result<KafkaConfig, ConfigError> {
        let base = [("brokers", "127.0.0.1:9092"), ("topic", "rgt")];
        KafkaConfig::from_settings(base.into_iter().chain(pairs.iter().copied()))
    }

    #[test]
    fn refused_settings_say_why() {
        for (pair, part) in [
            (("exactly_once", "true"), "does not exist yet"),
            (("exactly_once", "yes"), "neither true nor false"),
            (("topics", "x"), "no such key"),
            (("topic", "a b"), "no topic name"),
            (("topic", ".."), "no topic name"),
            (("brokers", "localhost"), "host:port"),
            (("brokers", "a:1,,b:2"), "host:port"),
            (("properties.acks", "1"), "always `all`"),
            (("properties.enable.idempotence", "false"), "always on"),
            (("properties.delivery.report.only.error", "true"), "delivery reports"),
        ] {
            let error = set(&[pair]).unwrap_err().to_string();
            assert!(error.contains(part) && error.starts_with("sinks.kafka."), "{pair:?}: {error}");
        }
        assert_eq!(KafkaConfig::from_settings([("topic", "t")]), Err(ConfigError::Missing("brokers")));
    }

    #[test]
    fn what_makes_delivery_sure_is_set_last() {
        let config = set(&[("properties.linger.ms", "20"), ("exactly_once", "false")]).unwrap();
        let client = config.client();
        for (name, value) in
            [("linger.ms", "20"), ("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "0")]
        {
            assert_eq!(client.get(name), Some(value), "{name}");
        }
    }

    #[test]
    fn a_synonym_replaces_the_default() {
        let config = set(&[("properties.compression.codec", "lz4")]).unwrap();
        assert_eq!(config.client().get("compression.type"), None);
        assert_eq!(config.client().get("compression.codec"), Some("lz4"));
    }

    #[test]
    fn debug_shows_no_secret() {
        let config = set(&[("properties.sasl.password", "hunter2")]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
