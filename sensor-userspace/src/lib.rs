//! rgt: kernel event → whose is it → trajectory → risk → record → seal → ledger → sinks.

pub mod agent;
pub mod attempt;
pub mod cli;
pub mod config;
pub mod control;
pub mod daemon;
pub mod kernel;
pub mod ledger;
mod near;
pub mod policy;
pub mod record;
pub mod risk;
pub mod seal;
pub mod sinks;
pub mod trajectory;
