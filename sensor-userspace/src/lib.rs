//! rgt: kernel event → whose is it → trajectory → risk → record → seal → ledger → sinks.

pub mod attempt;
pub mod cli;
pub mod kernel;
pub mod policy;
