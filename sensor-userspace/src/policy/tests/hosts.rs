//! Host names: what they stand for, in tables, cases and questions; what is wrong with them.

use std::net::IpAddr;

use sensor_common::action::Action;

use super::errors::{one, rule, with};
use crate::policy::{Circumstances, Contents, Decision, Hosts, Object, Policy, Table, Variables, parse};

const TEXT: &str = "version: 1\nname: t\ndefault: deny\nlists: { api: [api.example.com:443, tcp/DB.example.com:5432-5433] }\nrules:\n  - { id: API, allow: net.connect, to: $api }\n  - { id: NOT, allow: net.send, to: { not: [api.example.com, 10.0.0.0/8] } }\n";

fn policy(text: &str) -> Policy {
    parse("t.yaml", text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn hosts(all: &[(&str, &[&str])]) -> Hosts {
    let mut hosts = Hosts::default();
    for (name, addresses) in all {
        hosts.set(name, addresses.iter().map(|address| address.parse::<IpAddr>().unwrap()));
    }
    hosts
}

fn table(hosts: &Hosts) -> Table {
    policy(TEXT).compile_with(&Variables::default(), hosts, &Contents::new()).unwrap()
}

fn judged(table: &Table, action: Action, address: &str, port: u16) -> Decision {
    let mut at = Hosts::default();
    at.set("it", [address.parse().unwrap()]);
    let object: Vec<Object<'_>> = at.objects("it", port, 6);
    table.judge(&[(action, object[0])], &Circumstances::default())
}

#[test]
fn a_name_is_its_addresses() {
    let table = table(&hosts(&[
        ("api.example.com", &["192.0.2.7", "2001:db8::7"]),
        ("db.example.com", &["192.0.2.8"]),
        ("other.example.com", &["192.0.2.9"]),
    ]));
    for (address, port, rule) in [
        ("192.0.2.7", 443, "API"),
        ("2001:db8::7", 443, "API"),
        ("192.0.2.7", 80, "RULE_DEFAULT"),
        ("192.0.2.8", 5433, "API"),
        ("192.0.2.8", 443, "RULE_DEFAULT"),
        ("192.0.2.9", 443, "RULE_DEFAULT"),
    ] {
        assert_eq!(judged(&table, Action::NetConnect, address, port).rule_id, rule, "{address}:{port}");
    }
    assert_eq!(judged(&table, Action::NetSend, "192.0.2.7", 1).rule_id, "RULE_DEFAULT");
    assert_eq!(judged(&table, Action::NetSend, "192.0.2.8", 1).rule_id, "NOT");
    let names: Vec<&str> = table.hosts.names().collect();
    assert_eq!(names, ["api.example.com", "db.example.com"], "only those that rules speak of");
}

#[test]
fn a_name_that_is_not_known_matches_nothing_and_says_so() {
    let table = table(&Hosts::default());
    assert_eq!(judged(&table, Action::NetConnect, "192.0.2.7", 443).rule_id, "RULE_DEFAULT");
    let decision = judged(&table, Action::NetSend, "192.0.2.7", 443);
    assert_eq!(decision.rule_id, "NOT");
    assert!(
        decision.reason.contains("to all but api.example.com (no address known), 10.0.0.0/8"),
        "{}",
        decision.reason
    );
}

#[test]
fn other_addresses_are_another_table_of_the_same_policy() {
    let one = table(&hosts(&[("api.example.com", &["192.0.2.7", "192.0.2.6"])]));
    let same = table(&hosts(&[("api.example.com", &["192.0.2.6", "192.0.2.7", "192.0.2.6"])]));
    let other = table(&hosts(&[("api.example.com", &["192.0.2.7"])]));
    assert_eq!(one.identity, same.identity);
    assert_ne!(one.identity, other.identity);
    assert_eq!(one.hash, other.hash);
}

#[test]
fn an_address_is_called_by_all_its_names() {
    let table = table(&hosts(&[("api.example.com", &["192.0.2.7"]), ("db.example.com", &["192.0.2.7"])]));
    let names: Vec<&str> = table.named.values().map(String::as_str).collect();
    assert_eq!(names, ["api.example.com,db.example.com"]);
}

#[test]
fn cases_give_names_addresses() {
    let cases = "hosts: { api.example.com: [192.0.2.7, '2001:db8::7'], void.example.com: [] }\ntests:\n  - { action: net.connect, to: 'api.example.com:443', verdict: allow, rule: API }\n  - { action: net.connect, to: 192.0.2.7:443, verdict: allow, rule: API }\n  - { action: net.connect, to: 'api.example.com:80', verdict: deny }\n  - { action: net.connect, to: 'db.example.com:5432', verdict: allow, rule: API }\n  - { action: net.connect, to: 'db.example.com:5432', protocol: udp, verdict: deny }\n  - { action: net.connect, to: 'else.example.com:443', verdict: deny, rule: RULE_DEFAULT }\n";
    let policy = policy(&format!("{TEXT}{cases}"));
    let outcomes = policy.run_cases(&Variables::default()).unwrap();
    assert_eq!(outcomes.len(), 6);
    for outcome in outcomes {
        assert!(outcome.passed, "line {}: {}", outcome.at.line, outcome.decision.reason);
    }
}

/// All addresses of a name must come out as the case says: the one that does not is what is told.
#[test]
fn a_case_fails_by_one_address_of_many() {
    let text = "version: 1\ndefault: deny\nrules:\n  - { id: NET, deny: net.connect, to: 192.0.2.0/29 }\n  - { id: API, allow: net.connect, to: api.example.com }\nhosts: { api.example.com: [192.0.2.77, 192.0.2.3, 192.0.2.99] }\ntests:\n  - { action: net.connect, to: 'api.example.com:443', verdict: allow, rule: API }\n";
    let policy = policy(text);
    let outcomes = policy.run_cases(&Variables::default()).unwrap();
    assert!(!outcomes[0].passed && outcomes[0].decision.rule_id == "NET", "{:?}", outcomes[0].decision);
}

#[test]
fn unsound_names_are_errors() {
    let cases = |rest: &str| with(&format!("rules: [{{id: A, deny: net.connect, to: a.example}}]\n{rest}\n"));
    one(cases("hosts: [a]"), "6:8 [-] `hosts` must be a map");
    one(cases("hosts: { 10.0.0.1: [10.0.0.1] }"), "6:10 [-] `10.0.0.1` is no host's name");
    one(
        cases("hosts: { a.example: [b.example] }"),
        "6:22 [-] `a.example` stands for addresses, and `b.example` is none",
    );
    one(
        cases("hosts: { a.example: [] }\ntests: [{ action: net.connect, to: 'a.example:1', verdict: deny }]"),
        "7:36 [-] `a.example:1`: ...`hosts:` gives the name none",
    );
    one(
        rule("  - id: A\n    deny: net.connect\n    to: '*.example.com:443'\n"),
        "8:9 [A] `*.example.com:443`: a name with `*`",
    );
    let many: Vec<String> = (0..257).map(|number| format!("h{number}.example")).collect();
    one(rule(&format!("  - id: A\n    deny: net.connect\n    to: [{}]\n", many.join(", "))), "...[-] 257 host names");
}

#[test]
fn what_no_name_stands_for_is_decided_last() {
    const TEXT: &str = "version: 1\nname: t\nhosts: { api.example.com: [192.0.2.7], never.example.com: [] }\nunresolved: deny\nrules:\n  - { id: API, allow: net.connect, to: [api.example.com:443, never.example.com] }\n  - { id: LOCAL, allow: net.*, to: 127.0.0.0/8 }\n";
    let policy = policy(TEXT);
    let table = policy.compile_with(&Variables::default(), &policy.stand_in_hosts(), &Contents::new()).unwrap();
    for (action, address, port, rule) in [
        (Action::NetConnect, "192.0.2.7", 443, "API"),
        (Action::NetConnect, "192.0.2.7", 80, "RULE_DEFAULT"),
        (Action::NetSend, "192.0.2.7", 443, "RULE_DEFAULT"),
        (Action::NetConnect, "127.0.0.1", 53, "LOCAL"),
        (Action::NetConnect, "192.0.2.8", 443, "RULE_UNRESOLVED"),
        (Action::NetSend, "2001:db8::7", 443, "RULE_UNRESOLVED"),
        (Action::NetBind, "192.0.2.8", 443, "RULE_DEFAULT"),
    ] {
        assert_eq!(judged(&table, action, address, port).rule_id, rule, "{} {address}:{port}", action.verb());
    }
    let socket = table.judge(&[(Action::NetConnect, Object::Path(b"/run/s"))], &Circumstances::default());
    assert_eq!(socket.rule_id, "RULE_DEFAULT");
    let unknown = table.judge(&[(Action::NetConnect, Object::Unknown)], &Circumstances::default());
    assert_eq!(unknown.rule_id, "RULE_UNKNOWN");
}

/// What rules name and do not decide is not theirs.
#[test]
fn what_is_left_to_the_default_is_said() {
    let warned = |default: &str, unresolved: &str| {
        let text = format!(
            "version: 1\nname: t\ndefault: {default}\nunresolved: {unresolved}\nrules:\n  - {{ id: A, allow: net.connect, to: \"api.example.com:443\" }}\n  - {{ id: B, deny: net.send }}\n"
        );
        let warnings = policy(&text).warnings;
        warnings.iter().any(|warning| warning.to_string().contains("is left to `default: allow`"))
    };
    assert!(warned("allow", "deny") && warned("allow", "challenge"));
    assert!(!warned("deny", "deny") && !warned("allow", "allow"));
    let shadowed = policy(
        "version: 1\nname: t\nunresolved: deny\nrules:\n  - { id: A, allow: net.connect, to: api.example.com }\n  - { id: ALL, deny: net.*, to: \"*\" }\n",
    );
    let told = shadowed.warnings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    assert!(told.contains("`RULE_UNRESOLVED` never decides"), "{told}");
}

#[test]
fn unresolved_needs_names_and_a_verdict() {
    let text = |unresolved: &str, to: &str| {
        with(&format!("unresolved: {unresolved}\nrules: [{{ id: A, allow: net.connect, to: {to} }}]\n"))
    };
    one(text("deny", "10.0.0.0/8"), "5:1 [-] no rule names a host, so that no address is one's");
    one(text("dney", "api.example.com"), "5:13 [-] `unresolved` cannot be `dney` ...did you mean `deny`?");
    one(
        with(
            "rules: [{ id: A, allow: net.connect }]\ntests: [{ action: net.connect, verdict: deny, rule: RULE_UNRESOLVED }]\n",
        ),
        "6:53 [-] the case names `RULE_UNRESOLVED`, and the policy has no `unresolved:`",
    );
    one(
        with("rules: [{ id: RULE_UNRESOLVED, allow: net.connect }]\n"),
        "5:15 [RULE_UNRESOLVED] the id `RULE_UNRESOLVED` belongs to rgt itself",
    );
}
