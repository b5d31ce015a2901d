//! One file per subcommand, each thin.

pub mod schema;
pub mod verify;
