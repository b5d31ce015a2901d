//! The binary on this machine's own kernel, as root: `rgt exec`, real programs, real ledgers.

#[path = "native/attribution.rs"]
mod attribution;
#[path = "native/bad_input.rs"]
mod bad_input;
#[path = "native/bytes.rs"]
mod bytes;
#[path = "native/commands.rs"]
mod commands;
#[path = "native/contract.rs"]
mod contract;
#[path = "native/flood.rs"]
mod flood;
#[path = "native/hard.rs"]
mod hard;
#[path = "native/idle.rs"]
mod idle;
#[path = "native/oracle.rs"]
mod oracle;
#[path = "native/service.rs"]
mod service;
#[path = "native/suggest.rs"]
mod suggest;
#[path = "native/terminal.rs"]
mod terminal;
#[path = "native/users.rs"]
mod users;
