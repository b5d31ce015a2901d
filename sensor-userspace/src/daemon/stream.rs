//! The sinks of one ledger, as its configuration asks for them.

use std::time::Duration;

use anyhow::Result;

use crate::config::Config;
use crate::ledger::Ledger;

/// A sink gets so long to deliver what is in the ledger when that closes; the rest stays in the ledger.
pub const FINISH: Duration = Duration::from_secs(10);

#[cfg(feature = "kafka")]
mod with_kafka {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::{Config, Duration, Ledger, Result};
    use crate::sinks::Bell;
    use crate::sinks::kafka::{KafkaConfig, KafkaSink};

    pub struct Stream {
        kafka: KafkaSink,
        bell: Bell,
    }

    fn wanted(config: &Config) -> Result<Option<KafkaConfig>> {
        if config.kafka.is_empty() {
            return Ok(None);
        }
        let settings = config.kafka.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        Ok(Some(KafkaConfig::from_settings(settings)?))
    }

    /// Whether the settings make sense, before anything is opened for them.
    pub fn check(config: &Config) -> Result<()> {
        wanted(config).map(|_| ())
    }

    impl Stream {
        /// Starts streaming the ledger; none where no sink is configured. What may not be on the disk yet is not sent.
        pub fn start(config: &Config, ledger: &Ledger) -> Result<Option<Stream>> {
            let Some(wanted) = wanted(config)? else {
                return Ok(None);
            };
            let stop = Arc::new(AtomicBool::new(false));
            let dir = ledger.place().path();
            let kafka = KafkaSink::start_behind(wanted, dir, stop, ledger.safe())?;
            let bell = kafka.bell();
            Ok(Some(Stream { kafka, bell }))
        }

        /// There are new lines.
        pub fn ring(&self) {
            self.bell.ring();
        }

        pub fn finish(self, within: Duration) -> Result<()> {
            self.kafka.finish(within)?;
            Ok(())
        }
    }
}

#[cfg(not(feature = "kafka"))]
mod without_kafka {
    use super::{Config, Duration, Ledger, Result};

    pub enum Stream {}

    pub fn check(config: &Config) -> Result<()> {
        if config.kafka.is_empty() {
            return Ok(());
        }
        anyhow::bail!("sinks.kafka: this rgt was built without Kafka; build it with `--features kafka`")
    }

    impl Stream {
        pub fn start(config: &Config, _ledger: &Ledger) -> Result<Option<Stream>> {
            check(config).map(|()| None)
        }

        pub fn ring(&self) {
            match *self {}
        }

        pub fn finish(self, _within: Duration) -> Result<()> {
            match self {}
        }
    }
}

#[cfg(feature = "kafka")]
pub use with_kafka::{Stream, check};
#[cfg(not(feature = "kafka"))]
pub use without_kafka::{Stream, check};
