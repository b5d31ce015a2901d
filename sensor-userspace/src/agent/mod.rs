//! Whose a process is: agents' numbers, their cgroups, and the agents that the configuration names.

pub mod cgroup;
mod glob;
mod name;
mod numbers;
mod user;
mod watch;

pub use glob::matches;
pub use name::{check_name, stays_in_uri};
pub use numbers::Numbers;
pub use user::{User, principal, we_are_root};
pub use watch::{Found, Watch};
