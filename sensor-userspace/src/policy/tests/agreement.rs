//! The compiled table against the naive reader, on random policies of the whole language. What the table
//! cannot hold is passed over.

use std::fmt::Write;

use sensor_common::action::Action;

use super::{Random, naive};
use crate::policy::{
    Circumstances, Contents, Holds, Host, Identity, Limits, Object, Policy, Program, RULE_UNKNOWN, Variables, Written,
    exact, parse, schema,
};

const NAMES: [&str; 5] = ["a", "b", "ab", "a.key", ".env"];
const PARTS: [&str; 14] =
    ["a", "b", "ab", "a.key", ".env", "*", "**", "a*", "*.key", "?", "[ab]", "[!.]*", "{a,b}", ".*"];
const TO: [&str; 12] = [
    "api.example.com:443", "two.example.com", "nowhere.example.com", "10.0.0.0/8", "10.1.0.0/16:80",
    "tcp/10.1.2.3:80-90", "udp/*:53", "*", "2001:db8::/32", "[2001:db8::1]:443", "0.0.0.0/0", "*:443",
];
/// `nowhere` stands for nothing.
const HOSTS: &str =
    "{ api.example.com: [10.1.2.3, '2001:db8::1'], two.example.com: [10.2.0.1, 11.0.0.1], nowhere.example.com: [] }";
const SENSITIVITY: &str = "{ internal: ['/a/**', '**/*.key'], confidential: { path: [/a/b/**], to: ['10.0.0.0/8', '*:53'] }, regulated: { path: '**/.env', to: ['udp/10.1.0.0/16'] } }";
const ADDRESSES: [&str; 9] = [
    "10.1.2.3:443", "10.1.2.3:80", "10.1.2.3:81", "udp/10.1.2.3:53", "10.2.0.1:443", "[2001:db8::1]:443",
    "[2001:db8::2]:53", "11.0.0.1:1", "udp/[2001:db9::1]:53",
];
const SOCKETS: [&str; 9] = ["@a*", "@ab", "@a/b", "@[!a]*", "@*", "/a/**", "/a/b", "**/a.key", "${workspace}/**"];
const ABSTRACT: [&[u8]; 5] = [b"a", b"ab", b"a/b", b"", b"\0a"];
const PROGRAMS: [Program; 8] = [
    Program::Path(b"/a"),
    Program::Path(b"/a/b"),
    Program::Path(b"/a/b/ab"),
    Program::Path(b"/b/a.key/.env"),
    Program::Path(b"/ab/ab"),
    Program::Path(b"/.env/b/a/a"),
    Program::Nameless,
    Program::Unknown,
];
const SIGNALS: [&str; 6] = ["KILL", "SIGTERM", "[KILL, 64, HUP]", "{ not: KILL }", "{ not: [TERM, 1, 64] }", "34"];
const CAPABILITIES: [&str; 4] = ["CAP_NET_RAW", "[0, 40, 63]", "{ not: CAP_NET_RAW }", "{ not: [CHOWN, 63] }"];
const NUMBERS: [u8; 7] = [1, 9, 14, 15, 35, 41, 64];
const WHEN: [&str; 17] = [
    "label: x",
    "label: [x, y]",
    "label: { not: y }",
    "label: { any: x, not: z }",
    "risk: '>=50'",
    "risk: 20-70",
    "role: ops",
    "env: { not: prod }",
    "time: Sat UTC",
    "approval: [deploy, look]",
    "approval: { not: deploy }",
    "sensitivity: '>=internal'",
    "sensitivity: [public, regulated]",
    "sensitivity: confidential, label: x",
    "limit: { within: 3 }",
    "limit: { beyond: 2, of: objects, per: 1m }",
    "limit: { beyond: 1, per: 1h }, risk: '>=50'",
];
const ACTIONS: [&str; 11] = [
    "proc.signal", "proc.*", "sys.capability", "file.read", "file.write", "file.delete", "file.*", "proc.exec",
    "net.connect", "net.*", "'*'",
];

/// Plain ones have what every table can hold.
fn random_policy(random: &mut Random, plain: bool) -> String {
    let fallback = ["allow", "deny"];
    let mut text = format!(
        "version: 1\ndefault: {}\non_unknown: {}\nhosts: {HOSTS}\nsensitivity: {SENSITIVITY}\nrules:\n",
        random.pick(&fallback),
        random.pick(&fallback)
    );
    let effects: &[&str] = match plain {
        true => &["allow", "deny", "challenge"],
        false => &["allow", "deny", "challenge", "watch", "watch"],
    };
    for index in 0..1 + random.below(10) {
        let (effect, action) = (*random.pick(effects), *random.pick(&ACTIONS));
        writeln!(text, "  - id: R{index}\n    {effect}: {action}").unwrap();
        if effect != "watch" && random.one_in(6) {
            text.push_str("    mode: observe\n");
        }
        let addressed = action.starts_with("net.");
        let sends = action.starts_with("proc.") && action != "proc.exec";
        let mut placeless = ["proc.signal", "sys.capability"].contains(&action);
        if sends && random.one_in(2) {
            placeless = true;
            writeln!(text, "    signal: {}", random.pick(&SIGNALS)).unwrap();
        } else if action == "sys.capability" {
            if random.one_in(2) {
                writeln!(text, "    capability: {}", random.pick(&CAPABILITIES)).unwrap();
            }
        } else if action == "proc.signal" {
            // It has neither a path nor an address.
        } else if addressed && !plain && random.one_in(3) {
            let all: Vec<&str> = (0..1 + random.below(3)).map(|_| *random.pick(&SOCKETS)).collect();
            let not = if random.one_in(2) { "{ not: %s }" } else { "%s" };
            writeln!(text, "    unix: {}", not.replace("%s", &format!("{all:?}"))).unwrap();
        } else if addressed && !plain && !random.one_in(3) {
            let all: Vec<&str> = (0..1 + random.below(3)).map(|_| *random.pick(&TO)).collect();
            let not = if random.one_in(2) { "{ not: %s }" } else { "%s" };
            writeln!(text, "    to: {}", not.replace("%s", &format!("{all:?}"))).unwrap();
        } else if !addressed && random.one_in(5) {
            writeln!(text, "    path: {{ written_by_agent: {} }}", random.one_in(2)).unwrap();
        } else if !addressed && !random.one_in(4) {
            let of = if action == "proc.exec" { program } else { path };
            let all: Vec<String> = (0..1 + random.below(3)).map(|_| of(random, plain)).collect();
            let not = if random.one_in(3) { "{ not: %s }" } else { "%s" };
            writeln!(text, "    path: {}", not.replace("%s", &format!("{all:?}"))).unwrap();
        }
        if random.one_in(if plain { 12 } else { 3 }) {
            let all: Vec<String> = (0..1 + random.below(3)).map(|_| program(random, plain)).collect();
            let not = if random.one_in(2) { "{ not: %s }" } else { "%s" };
            writeln!(text, "    exe: {}", not.replace("%s", &format!("{all:?}"))).unwrap();
        }
        if plain {
            continue;
        }
        let when = *random.pick(&WHEN);
        if random.one_in(2) && !(when.starts_with("sensitivity") && placeless) {
            writeln!(text, "    when: {{ {when} }}").unwrap();
        }
        if random.one_in(3) {
            writeln!(text, "    label: {}", random.pick(&["x", "y", "[x, z]"])).unwrap();
        }
        if random.one_in(3) {
            writeln!(text, "    risk: {}", random.pick(&["+20", "-5", "+3"])).unwrap();
        }
    }
    text
}

fn path(random: &mut Random, plain: bool) -> String {
    let parts: &[&str] = if plain { &NAMES } else { &PARTS };
    let mut text: String = (0..1 + random.below(4)).map(|_| format!("/{}", random.pick(parts))).collect();
    if random.one_in(4) {
        text = format!("${{workspace}}{text}");
    }
    if random.one_in(3) { format!("{text}/**") } else { text }
}

/// One of the digests that `path` writes, another, or nobody knows.
fn holds(random: &mut Random) -> Holds {
    match random.below(6) {
        0 => Holds::Unknown,
        1 => Holds::AsRead,
        digest => Holds::This([digest as u8; 32]),
    }
}

/// Of a program, with what it is to hold or without.
fn program(random: &mut Random, plain: bool) -> String {
    if !random.one_in(3) {
        return path(random, plain);
    }
    let place = *random.pick(&["/a", "/a/b", "/a/b/ab", "/ab/ab", "/{a,b}/a.key", "/b/a"]);
    format!("{place}@sha256:{}", hex::encode([2 + random.below(3) as u8; 32]))
}

fn circumstances(random: &mut Random, policy: &Policy) -> Circumstances<'static> {
    let all = 1_u64.checked_shl(policy.labels.len() as u32).unwrap_or(0).wrapping_sub(1);
    let role = random.one_in(2).then_some("ops");
    let environment = random.one_in(2).then_some("prod");
    let approvals = *random.pick(&[&[][..], &["deploy"], &["look"], &["look", "deploy"]]);
    let who = Identity { role, environment, approvals, ..Identity::default() };
    // A Saturday and the day after.
    let time = *random.pick(&[1_795_219_200, 1_795_305_600]);
    Circumstances {
        labels: (random.next() & all) as u32,
        risk: random.below(101) as u8,
        facts: policy.facts_that_hold(&who, time),
        written: *random.pick(&[Written::No, Written::Yes, Written::Unknown]),
        holds: holds(random),
        program: *random.pick(&PROGRAMS),
        program_holds: holds(random),
        limits: Limits::Given(random.next() as u32),
        answered: &[],
    }
}

#[test]
fn the_table_agrees_with_the_naive_reader() {
    let mut random = Random::new("the_table_agrees_with_the_naive_reader");
    let variables = Variables { workspace: Some("/a/b".into()), home: None };
    let (mut ran, mut crowded) = (0, 0);
    for _ in 0..1200 {
        let plain = random.one_in(3);
        let mut text = random_policy(&mut random, plain);
        let mut policy = parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        if !policy.host_names().is_empty() && random.one_in(2) {
            writeln!(text, "unresolved: {}", random.pick(&["allow", "deny", "challenge"])).unwrap();
            policy = parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        }
        assert_eq!(schema::tests::errors(&text), [""; 0], "{text}");
        let table = policy
            .compile_with(&variables, &policy.stand_in_hosts(), &Contents::new())
            .unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        for _ in 0..40 {
            let now = circumstances(&mut random, &policy);
            let path: String = (0..random.below(5)).map(|_| format!("/{}", random.pick(&NAMES))).collect();
            let path = if path.is_empty() { "/".to_owned() } else { path };
            let (action, object) = if random.one_in(4) {
                let action = *random.pick(&[Action::ProcSignal, Action::SysCapability]);
                let other = if action == Action::ProcSignal { Object::None } else { Object::Number(2) };
                let object = Object::Number(*random.pick(&NUMBERS));
                let unknown = if action == Action::ProcSignal { Object::Unknown } else { object };
                (action, *random.pick(&[object, object, object, other, unknown]))
            } else if random.one_in(2) {
                let action = *random.pick(&[Action::NetConnect, Action::NetSend, Action::NetBind]);
                let (host, port, protocol) = exact(random.pick::<&str>(&ADDRESSES)).unwrap();
                let Host::Net { address, .. } = host else { panic!("{host:?}") };
                let other = [Object::OtherSocket, Object::Unknown, Object::UnknownSocket, Object::None];
                let known = match random.below(3) {
                    0 => Object::Path(path.as_bytes()),
                    1 => Object::Abstract(random.pick::<&[u8]>(&ABSTRACT)),
                    _ => Object::Address { address, port, protocol },
                };
                (action, if random.one_in(8) { *random.pick(&other) } else { known })
            } else {
                let actions = [Action::FileRead, Action::FileWrite, Action::ProcExec];
                let other = [Object::Nameless(b"memfd:x"), Object::Unknown];
                let known = Object::Path(path.as_bytes());
                let object = if random.one_in(8) { *random.pick(&other) } else { known };
                (*random.pick(&actions), object)
            };
            let decision = table.judge(&[(action, object)], &now);
            let found = naive::judge(&policy, &variables, &[(action, object)], &now);
            // In more globs at once than a walk holds: closed, and told as unknown.
            let walked = matches!(object, Object::Path(_)) || matches!(now.program, Program::Path(_));
            if decision.unknown && found.rule != RULE_UNKNOWN && walked {
                crowded += 1;
                continue;
            }
            let context = || format!("{action:?} {object:?} {now:?}\n{text}\n{decision:?}");
            assert_eq!(decision.verdict, found.verdict, "{}", context());
            assert_eq!(decision.rule_id, found.rule, "{}", context());
            ran += 1;
            // What else matches then, each may think of as it likes.
            if decision.unknown || object.is_unknown() {
                continue;
            }
            let consequences = table.consequences(&decision);
            let mut labels: Vec<String> =
                consequences.labels.iter().map(|(label, _)| policy.labels[*label].clone()).collect();
            labels.sort();
            labels.dedup();
            assert_eq!((labels, consequences.risk), (found.labels, found.risk), "{}", context());
            let watched: Vec<String> = decision.watched.iter().map(|rule| policy.rules[*rule].id.clone()).collect();
            assert_eq!(watched, found.watched, "{}", context());
        }
    }
    assert!(ran > 5000 && crowded < ran / 100, "{ran}, {crowded} crowded");
}
