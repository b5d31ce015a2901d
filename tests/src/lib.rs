//! Tests that need a kernel, a VM or a real server.

pub mod machine;
pub mod native;
pub mod vm;

#[cfg(feature = "kafka")]
pub mod kafka;
#[cfg(feature = "kafka")]
#[path = "../../xtask/src/kafka.rs"]
mod kafka_fetch;
#[cfg(feature = "kafka")]
pub mod ledger;
