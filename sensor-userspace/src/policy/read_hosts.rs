//! From YAML to `hosts:`, what names stand for in cases and questions.

use std::net::IpAddr;

use super::address::{self, Host};
use super::hosts::{Hosts, MAX_NAMES};
use super::language::Policy;
use super::problem::{At, Report};
use super::yaml::{Entry, Kind};

pub(super) fn hosts(entry: &Entry, report: &mut Report) -> Hosts {
    let mut hosts = Hosts::default();
    let Kind::Map(entries) = &entry.value.kind else {
        let text = format!("`hosts` must be a map of names to addresses, this is {}", entry.value.describe());
        report.error(entry.value.at, text, "write `hosts:` and below it `  api.example.com: [192.0.2.7]`");
        return hosts;
    };
    for Entry { at, key, value } in entries {
        let Ok(Host::Name(name)) = address::read(key, *at).map(|destination| destination.host) else {
            report.error(*at, format!("`{key}` is no host's name"), "write a name such as `api.example.com`");
            continue;
        };
        let mut addresses = Vec::new();
        for node in value.items() {
            match node.text().and_then(|text| text.parse::<IpAddr>().ok()) {
                Some(address) => addresses.push(address),
                None => {
                    let text = format!("`{key}` stands for addresses, and {} is none", node.describe());
                    report.error(node.at, text, "write `[192.0.2.7, \"2001:db8::7\"]`, or `[]` for none");
                }
            }
        }
        hosts.set(&name, addresses);
    }
    hosts
}

/// Each name is asked for again and again: their number is bounded.
pub(super) fn too_many(policy: &Policy, report: &mut Report) {
    let names = policy.host_names().len();
    if names > MAX_NAMES {
        let text = format!("{names} host names, more than the limit of {MAX_NAMES}");
        report.error(At::TOP, text, "write the networks that they are in");
    }
}
