//! Streams the ledger's lines, as they stand, to a Kafka topic.
//!
//! The ledger is the queue: the producer holds a few megabytes, waits without end for a broker that is away, and
//! the cursor moves only over records that the broker has acknowledged. So every record arrives at least once
//! across a restart of either side; a consumer recognises a duplicate by `(chain.id, chain.seq)`.

mod config;
mod key;
mod producer;
mod session;

pub use config::{ConfigError, KafkaConfig};
pub use producer::{Error, KafkaSink, State, Status};
