//! rgt: kernel event → whose is it → trajectory → risk → record → seal → ledger → sinks.

pub mod attempt;
pub mod sinks;
