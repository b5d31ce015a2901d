//! One file per subcommand, each thin.

pub mod policy;
