//! Unix sockets, by their files' places or their abstract names.

use sensor_common::action::Action;

use super::commands::{file, rgt_policy};
use super::errors::{one, rule, with};
use crate::policy::{Circumstances, Object, Table, Variables, parse};

fn table(rules: &str) -> Table {
    let text = format!("version: 1\nrules:\n{rules}");
    let policy = parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    policy.compile(&Variables::default().or_stand_ins()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn decides(table: &Table, action: Action, object: Object<'_>) -> String {
    table.judge(&[(action, object)], &Circumstances::default()).rule_id
}

#[test]
fn names_are_what_the_globs_say() {
    for (glob, inside, outside) in [
        ("@/tmp/dbus-*", &["@/tmp/dbus-", "@/tmp/dbus-x/y", "@/tmp/dbus-\0"][..], &["@/tmp/dbus", "/tmp/dbus-x"][..]),
        ("@*", &["@", "@x", "@/a/b"], &["/x", "/@x"]),
        ("@a?c", &["@abc", "@a/c"], &["@ac", "@abbc"]),
        ("@{a,b/}[!x]", &["@ay", "@b//"], &["@ax", "@b"]),
        ("@", &["@"], &["@x", "/"]),
        ("@x.y", &["@x.y"], &["@x.y\0", "@xzy"]),
        ("@a\\*\\/b", &["@a*/b"], &["@ax/b"]),
        ("/**", &["/", "/a/b"], &["@", "@a", "@a/b"]),
        ("**/a*", &["/x/a", "/ab"], &["@a", "@x/a"]),
        ("/*", &["/a"], &["@a"]),
        ("${workspace}/*.sock", &["/workspace/x.sock"], &["@workspace/x.sock"]),
    ] {
        let (within, without) = (
            table(&format!("  - {{ id: A, deny: net.connect, unix: '{glob}' }}\n")),
            table(&format!("  - {{ id: A, deny: net.connect, unix: {{ not: '{glob}' }} }}\n")),
        );
        for (names, lies) in [(inside, true), (outside, false)] {
            for name in names {
                let object = Object::of(Some(name.as_bytes()));
                let rule = |yes| if yes { "A" } else { "RULE_DEFAULT" };
                assert_eq!(decides(&within, Action::NetConnect, object), rule(lies), "{name} in {glob}");
                assert_eq!(decides(&without, Action::NetConnect, object), rule(!lies), "{name} not in {glob}");
            }
        }
    }
}

#[test]
fn only_sockets_with_a_name_are_spoken_of() {
    let table = table(
        "  - { id: IN, deny: net.*, unix: '@*' }\n  - { id: OUT, deny: net.*, unix: { not: /a/** } }\n  - { id: TO, deny: net.*, to: { not: 1.2.3.4 } }\n",
    );
    let address = Object::Address { address: [1; 16], port: 1, protocol: 0 };
    for (action, object, rule) in [
        (Action::NetConnect, Object::Abstract(b"x"), "IN"),
        (Action::NetSend, Object::Path(b"/b"), "OUT"),
        (Action::NetSend, Object::Path(b"/a/b"), "RULE_DEFAULT"),
        (Action::NetBind, Object::Path(b"/b"), "RULE_DEFAULT"),
        (Action::NetSend, Object::OtherSocket, "RULE_DEFAULT"),
        (Action::NetSend, Object::None, "RULE_DEFAULT"),
        (Action::NetSend, address, "TO"),
        (Action::NetSend, Object::UnknownSocket, "RULE_UNKNOWN"),
    ] {
        assert_eq!(decides(&table, action, object), rule, "{action:?} {object:?}");
    }
}

#[test]
fn no_rule_of_addresses_asks_where_a_socket_lies() {
    let table = table("  - { id: TO, deny: net.connect, to: { not: 1.2.3.4 } }\n");
    assert_eq!(decides(&table, Action::NetConnect, Object::UnknownSocket), "RULE_DEFAULT");
    assert_eq!(decides(&table, Action::NetConnect, Object::Unknown), "RULE_UNKNOWN");
}

#[test]
fn mistakes_are_told() {
    for (lines, wanted) in [
        ("deny: file.read\n    unix: /x", "7:11 [A] `file.read` has no unix socket that `unix:` could be tested on"),
        ("deny: net.bind\n    unix: /x", "7:11 [A] `net.bind` has no unix socket ...write `file.create` and `path:`"),
        ("deny: file.*\n    unix: /x", "7:11 [A] none of the rule's actions has a unix socket"),
        ("deny: net.*\n    unix: x", "8:11 [A] path `x`: it is relative"),
        ("deny: net.*\n    unix: '@a**'", "8:11 [A] path `@a**`: `**` stands for directories"),
        ("deny: net.*\n    unix: '@a[x'", "8:11 [A] path `@a[x`: a `[` is not closed"),
        ("deny: net.*\n    unix: []", "8:11 [A] the list of sockets is empty"),
        ("deny: net.*\n    unix: {}", "8:11 [A] `unix` is an empty map"),
        ("deny: net.*\n    unix: { written_by_agent: true }", "8:13 [A] unknown key `written_by_agent`"),
        ("deny: net.*\n    unix: /x\n    to: 1.2.3.4", "9:5 [A] the rule has both `unix:` and `to:`"),
        ("deny: '*'\n    unix: /x\n    path: /x", "9:5 [A] the rule has both `unix:` and `path:`"),
        ("deny: file.read\n    path: '@x'", "8:11 [A] `@x` names an abstract unix socket, ...`unix:`"),
    ] {
        one(rule(&format!("  - id: A\n    {lines}\n")), wanted);
    }
    let long = format!("  - id: A\n    deny: net.*\n    unix: '@{}'\n", "x".repeat(108));
    one(rule(&long), "8:11 [A] ...at most 107 bytes");
    one(
        with(
            "lists: { a: [/x, '@y'] }\nrules:\n  - { id: A, deny: net.*, unix: $a }\n  - { id: B, deny: file.read, path: $a }\n",
        ),
        "5:18 [B] `@y` names an abstract unix socket",
    );
    one(
        with("lists: { a: ['@y', 1.2.3.4] }\nrules: [{ id: A, deny: net.*, unix: $a }]\n"),
        "5:20 [A] `1.2.3.4`: the list `a` holds both",
    );
    one(
        with("rules: [{ id: A, deny: net.*, unix: /x }]\ntests: [{ action: file.read, unix: /x, verdict: deny }]\n"),
        "6:9 [-] the case has `unix:`, and `file.read` has no such object",
    );
}

#[test]
fn a_rule_that_covers_another_is_told() {
    let warnings = |first: &str, second: &str| {
        let text = format!(
            "  - {{ id: A, deny: net.connect, unix: '{first}' }}\n  - {{ id: B, allow: net.connect, unix: '{second}' }}\n"
        );
        rule(&text).unwrap_or_else(|errors| panic!("{errors}")).warnings.len()
    };
    assert_eq!(warnings("@a*", "@ab"), 1);
    assert_eq!(warnings("/run/**", "/run/x"), 1);
    assert_eq!(warnings("/**", "@x"), 0);
    assert_eq!(warnings("@*", "/x"), 0);
}

#[test]
fn commands_know_them() {
    let text = "version: 1\nrules:\n  - { id: A, deny: net.connect, unix: ['/run/x.sock', '@x*'] }\ntests:\n  - { action: net.connect, unix: /run/x.sock, verdict: deny, rule: A }\n  - { action: net.connect, unix: '@xy', verdict: deny, rule: A }\n  - { action: net.send, unix: '@xy', verdict: allow }\n";
    let policy = file("sockets.yaml", text);
    let policy = policy.to_string_lossy();
    assert!(rgt_policy(&["test", &policy]).1.ends_with("3 passed, 0 failed\n"));
    assert!(rgt_policy(&["show", &policy]).1.contains("deny inside /run/x.sock, @x*"));
    for (name, wanted) in [
        ("/run/x.sock", "net.connect to /run/x.sock: A denies inside"),
        ("/run/docker.sock", "DENY by GUARD_BROKERS"),
        ("@xy", "net.connect to @xy: A denies inside"),
        ("/run//x", "net.connect to /run/x: no rule matches"),
    ] {
        let out = rgt_policy(&["explain", "--action", "net.connect", "--unix", name, &policy]).1;
        assert!(out.contains(wanted), "{out}");
    }
    for (action, name) in [("file.read", "/x"), ("net.connect", "x")] {
        let (status, _, err) = rgt_policy(&["explain", "--action", action, "--unix", name, &policy]);
        assert_eq!(status, 2, "{err}");
    }
}
