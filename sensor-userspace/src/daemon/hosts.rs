//! What host names stand for, by the machine's resolver.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::asked::{Asked, Kind, Lack};
use super::resolve;
use crate::policy::{Hosts, MAX_ADDRESSES};

const KIND: Kind = Kind {
    name: "host",
    names: "host names",
    most: 1_024,
    at_once: 8,
    instead: "write networks",
    unknown: "until it is known no rule that names it matches by it",
    stale: "its last addresses stand",
};

pub type Names = Asked<Vec<IpAddr>>;

pub fn names(refresh: Duration) -> Names {
    Asked::new(KIND, Arc::new(|name, _| of(name)), refresh)
}

/// In order, each once.
fn of(name: &str) -> Result<Vec<IpAddr>, Lack> {
    let mut addresses = resolve::addresses(name).map_err(Lack::Failed)?;
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Lack::Failed("it has no address".to_owned()));
    }
    if addresses.len() > MAX_ADDRESSES {
        tracing::warn!("host {name}: {} addresses, of which {MAX_ADDRESSES} count", addresses.len());
        addresses.truncate(MAX_ADDRESSES);
    }
    Ok(addresses)
}

/// What these names stand for now.
pub fn addresses<'a>(names: &Names, of: impl IntoIterator<Item = &'a str>) -> Hosts {
    let mut hosts = Hosts::default();
    for name in of {
        hosts.set(name, names.answer(name).into_iter().flatten().copied());
    }
    hosts
}
