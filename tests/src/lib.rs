//! Tests that need a kernel, a VM or a real server.

pub mod kafka;
pub mod ledger;
#[path = "../../xtask/src/kafka.rs"]
mod kafka_fetch;
