//! Sinks. Each is a named cursor over the ledger: one that is down for an hour loses nothing and slows nobody.

mod bell;
#[cfg(feature = "kafka")]
pub mod kafka;
mod spool;

pub use bell::Bell;
pub use spool::Spool;
