//! From YAML to `hosts:`, what names stand for in cases and questions, and to `unresolved:`, what holds of addresses that
//! no name stands for.

use std::net::IpAddr;

use sensor_common::action::Action;

use super::RULE_UNRESOLVED;
use super::address::{self, Destination, Host};
use super::hosts::{Hosts, MAX_NAMES};
use super::language::{AddressTest, Effect, Fallback, NumberTest, PathTest, Policy, ProgramTest, Rule, When};
use super::problem::{At, Report};
use super::read::choice;
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

/// A rule of the policy like any other, the last one: whatever goes to an address that no name of the policy stands for.
pub(super) fn unresolved(entry: &Entry, policy: &Policy, report: &mut Report) -> Option<Rule> {
    let effects = [("allow", Effect::Allow), ("deny", Effect::Deny), ("challenge", Effect::Challenge)];
    let effect = choice(Some(entry), &effects, Effect::Deny, report);
    let named = policy.host_names();
    if named.is_empty() {
        let text = "no rule names a host, so that no address is one's";
        report.error(entry.at, text, "name hosts under `to:`, or say `default:` in its place");
        return None;
    }
    if effect != Effect::Allow && policy.default == Fallback::Allow {
        let text = "what goes to a host that rules name, and that none of them decides, is left to `default: allow`";
        let hint = "say `default: deny` and allow the rest, or nothing keeps other ports and unmet conditions in";
        report.warning(entry.at, text, hint);
    }
    Some(Rule {
        id: RULE_UNRESOLVED.to_owned(),
        at: entry.at,
        description: None,
        actions: Action::NetConnect.bit() | Action::NetSend.bit(),
        effect,
        path: PathTest::Any,
        to: AddressTest::NotIn(named.into_iter().map(|name| Destination::of_host(name, entry.at)).collect()),
        number: NumberTest::Any,
        exe: ProgramTest::Any,
        when: When::default(),
        labels: Vec::new(),
        risk: 0,
        errno: None,
        observe: policy.observe,
        severity: effect.usual_severity(),
        tags: Vec::new(),
        timeout: None,
        otherwise: Fallback::Deny,
        owner: None,
        reason: None,
        expires: None,
    })
}
