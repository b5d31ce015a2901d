//! Tells systemd how the service stands.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

pub fn ready() {
    tell(b"READY=1");
}

pub fn stopping() {
    tell(b"STOPPING=1");
}

fn tell(state: &[u8]) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let told = address(&name).and_then(|address| UnixDatagram::unbound()?.send_to_addr(state, &address));
    if let Err(error) = told {
        tracing::warn!("systemd could not be told: {}: {error}", name.display());
    }
}

/// `@name` is in the abstract namespace.
fn address(name: &OsStr) -> std::io::Result<SocketAddr> {
    match name.as_bytes().strip_prefix(b"@") {
        Some(abstracted) => SocketAddr::from_abstract_name(abstracted),
        None => SocketAddr::from_pathname(name),
    }
}
