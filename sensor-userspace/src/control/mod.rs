//! The control socket: one JSON object a line, a request and its answers.

pub mod client;
mod peer;
pub mod protocol;
mod receive;
pub mod server;

use std::path::PathBuf;

use crate::config::RUNTIME_DIR;

pub use peer::{Identity, Peer, started};

pub fn socket_path() -> PathBuf {
    PathBuf::from(RUNTIME_DIR).join("control.sock")
}
