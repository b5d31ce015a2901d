//! The sinks of one ledger, as its configuration asks for them.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::config::Config;

/// A sink gets so long to deliver what is in the ledger when that closes; the rest stays in the ledger.
pub const FINISH: Duration = Duration::from_secs(10);

#[cfg(feature = "kafka")]
mod with_kafka {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::{Config, Duration, Path, Result};
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
        let settings = config
            .kafka
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()));
        Ok(Some(KafkaConfig::from_settings(settings)?))
    }

    /// Whether the settings make sense, before anything is opened for them.
    pub fn check(config: &Config) -> Result<()> {
        wanted(config).map(|_| ())
    }

    impl Stream {
        /// Starts streaming the ledger that has been opened in `dir`; none where no sink is configured.
        pub fn start(config: &Config, dir: &Path) -> Result<Option<Stream>> {
            let Some(wanted) = wanted(config)? else {
                return Ok(None);
            };
            let kafka = KafkaSink::start(wanted, dir, Arc::new(AtomicBool::new(false)))?;
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
    use super::{Config, Duration, Path, Result};

    pub enum Stream {}

    pub fn check(config: &Config) -> Result<()> {
        if config.kafka.is_empty() {
            return Ok(());
        }
        anyhow::bail!(
            "sinks.kafka: this rgt was built without Kafka; build it with `--features kafka`"
        )
    }

    impl Stream {
        pub fn start(config: &Config, _dir: &Path) -> Result<Option<Stream>> {
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
