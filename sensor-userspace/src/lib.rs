//! rgt: kernel event → whose is it → trajectory → risk → record → seal → ledger → sinks.

pub mod attempt;
pub mod cli;
pub mod kernel;
pub mod policy;
pub mod ledger;
pub mod record;
pub mod risk;
pub mod seal;
pub mod sinks;
pub mod trajectory;
