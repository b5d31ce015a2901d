//! Whose a process is: agents' numbers, their cgroups, and the agents that the configuration names.

pub mod cgroup;
mod glob;
mod numbers;
mod user;
mod watch;

pub use glob::matches;
pub use numbers::Numbers;
pub use user::{User, principal};
pub use watch::{Found, Watch};
