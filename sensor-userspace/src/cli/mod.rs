//! One file per subcommand, each thin.

pub mod policy;
pub mod schema;
pub mod verify;
