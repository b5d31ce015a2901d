//! Suggestions allow what was attempted, stay short, and do not reach for secrets.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::attempts::{Chosen, Observed, Stat, Thing};
use super::names::{Dialect, volatile};
use super::{Failed, Options, Suggestion, replay, suggest};
use crate::policy::tests::Random;
use crate::policy::{AddressTest, Effect, Fallback, Object, PathTest, Policy, Variables, parse};
use crate::record::canonical;

const PLAIN: Dialect = Dialect { wildcards: false, braces: false, destinations: false };

/// Every dialect that this version's compiler takes.
fn dialects() -> Vec<Dialect> {
    let own = Dialect::of_this_version();
    let braces = Dialect { braces: own.braces, ..PLAIN };
    let mut all = vec![PLAIN, braces, own];
    all.dedup();
    all
}

fn text(bytes: &[u8]) -> Value {
    let mut out = Vec::new();
    canonical::encode(bytes, &mut out);
    Value::String(String::from_utf8(out).unwrap())
}

/// All that the language can say, whether or not the compiler takes it.
const FULL: Dialect = Dialect { wildcards: true, braces: true, destinations: true };

/// One record: `more` goes into its action.
fn record(syscall: &str, verbs: &[&str], argument: &[u8], result: i64, more: Value) -> Value {
    let mut action = json!({ "syscall": syscall, "verb": verbs[0], "actions": verbs,
        "argument": text(argument), "result": result, "credentials": { "uid": 1000 } });
    for (key, value) in more.as_object().into_iter().flatten() {
        action[key] = value.clone();
    }
    json!({ "id": "c-1", "data": { "agent_id": "exec/0/coder", "run_id": "r", "judged": "argument",
        "timestamp": "2026-11-03T10:00:00.123456789Z", "policy_verdict": "ALLOW", "action_attempted": action } })
}

fn read(path: &str) -> Value {
    record("openat", &["file.read"], path.as_bytes(), 3, json!({}))
}

fn observed(records: &[Value]) -> Observed {
    let mut observed = Observed::default();
    for record in records {
        observed.line(&serde_json::to_vec(record).unwrap(), &Chosen::default());
    }
    assert_eq!(observed.strange, 0);
    observed
}

fn options() -> Options {
    Options {
        name: "coder".to_owned(),
        variables: Variables {
            workspace: Some(PathBuf::from("/home/agent/work")),
            home: Some(PathBuf::from("/home/agent")),
        },
        on_unknown: Fallback::Deny,
    }
}

fn suggested(records: &[Value], dialect: Dialect) -> Suggestion {
    match suggest(&observed(records), &options(), dialect) {
        Ok(suggestion) => suggestion,
        Err(Failed::Nothing) => panic!("nothing was attempted"),
        Err(Failed::Unsound(errors)) => panic!("{errors}"),
        Err(Failed::Denied(denied)) => {
            let told: Vec<_> = denied.iter().map(|each| (&each.thing, &each.reason)).collect();
            panic!("{told:?}")
        }
    }
}

/// Whether the policy allows what this record says.
fn allows(suggestion: &Suggestion, record: Value) -> bool {
    let none = Default::default();
    replay(&observed(&[record]), &suggestion.text, &options().variables, &none).unwrap().is_empty()
}

fn lines(suggestion: &Suggestion) -> Vec<&str> {
    let paths = suggestion.rules.iter().filter(|rule| !rule.deny).flat_map(|rule| &rule.paths);
    paths.map(|path| path.line.text.as_str()).collect()
}

#[test]
fn places_become_a_few_patterns() {
    for dialect in dialects() {
        let mut records: Vec<Value> =
            ["/home/agent/work/a", "/usr/lib/x/y", "/etc/hosts", "/home/agent/.gitconfig"].map(read).to_vec();
        records.extend((0..20).map(|n| read(&format!("/srv/data/{}", char::from(b'a' + n)))));
        let suggestion = suggested(&records, dialect);
        assert_eq!(
            lines(&suggestion),
            ["/etc/hosts", "/srv/data/**", "/usr/**", "${workspace}/**", "${home}/.gitconfig"]
        );
        assert!(allows(&suggestion, read("/home/agent/work/new")));
        assert!(!allows(&suggestion, read("/home/agent/other")));
        assert!(!allows(&suggestion, read("/etc/passwd")));
        assert!(!allows(&suggestion, record("unlink", &["file.delete"], b"/usr/lib/x/y", 0, json!({}))));
    }
}

#[test]
fn four_thousand_files_are_a_few_lines() {
    for dialect in dialects() {
        for (depth, width) in [(1, 4000), (2, 64), (3, 16), (6, 4)] {
            let mut records = Vec::new();
            for number in 0..4000_usize {
                let mut rest = number;
                let names = (0..depth).map(|_| {
                    let name = format!("/d{}", rest % width);
                    rest /= width;
                    name
                });
                let path = format!("/srv/build{}/f{number}.o", names.collect::<String>());
                records.push(read(&path));
                let verbs = ["file.create", "file.write"];
                records.push(record("openat", &verbs, path.as_bytes(), 3, json!({})));
            }
            let suggestion = suggested(&records, dialect);
            let lines = suggestion.text.lines().filter(|line| line.trim_start().starts_with("- \"/srv"));
            let count = lines.count();
            assert!((1..=20).contains(&count), "{count} lines for depth {depth}:\n{}", suggestion.text);
            assert!(!allows(&suggestion, read("/srv/other")), "{}", suggestion.text);
        }
    }
}

#[test]
fn secrets_are_named_one_by_one() {
    for dialect in dialects() {
        let mut records: Vec<Value> =
            (0..60).map(|n| read(&format!("/home/agent/.cache-{}/x", char::from_u32(0x61 + n).unwrap()))).collect();
        records.extend((0..60).map(|n| read(&format!("/etc/some-{}", char::from_u32(0x4e00 + n).unwrap()))));
        records.extend(["/home/agent/.ssh/known_hosts", "/home/agent/work/sub/.env", "/etc/shadow"].map(read));
        records.push(read("/home/agent/work/main.rs"));
        let suggestion = suggested(&records, dialect);
        let marked: Vec<&str> = suggestion
            .rules
            .iter()
            .filter(|rule| rule.marked)
            .flat_map(|rule| &rule.paths)
            .map(|path| path.line.text.as_str())
            .collect();
        assert_eq!(marked, ["/etc/shadow", "${workspace}/sub/.env", "${home}/.ssh/known_hosts"], "{}", suggestion.text);
        assert!(suggestion.text.contains("!!"));
        assert!(suggestion.rules.iter().all(|rule| rule.paths.len() <= 40), "{}", suggestion.text);
        for secret in [
            "/home/agent/.ssh/id_ed25519", "/home/agent/.ssh", "/home/agent/.aws/credentials", "/home/agent/work/.env",
            "/etc/gshadow", "/root/.profile", "/home/other/.ssh/id_rsa",
        ] {
            assert!(!allows(&suggestion, read(secret)), "{secret}:\n{}", suggestion.text);
        }
    }
}

#[test]
fn what_came_to_nothing_is_told_apart() {
    let mut denied = record("openat", &["file.read"], b"/srv/secret", -13, json!({}));
    denied["data"]["policy_verdict"] = json!("DENY");
    let records = [
        read("/srv/there"),
        record("openat", &["file.read"], b"/srv/absent", -2, json!({})),
        denied,
        // At first it failed, then it was there: it was there.
        record("openat", &["file.read"], b"/srv/late", -2, json!({})),
        read("/srv/late"),
    ];
    let suggestion = suggested(&records, PLAIN);
    let (done, tried) = suggestion.text.split_once("# Attempted, and never there or never allowed:").unwrap();
    assert!(done.contains("/srv/there") && done.contains("/srv/late\""), "{}", suggestion.text);
    assert!(done.contains("2 times, 10:00:00, 1 failed"), "{}", suggestion.text);
    assert!(tried.contains("/srv/absent") && tried.contains("/srv/secret"), "{}", suggestion.text);
    assert!(tried.contains("once, 10:00:00, failed, was denied"), "{}", suggestion.text);
}

#[test]
fn both_ends_of_a_call_count_as_the_daemon_judges_them() {
    let renamed = record(
        "renameat2",
        &["file.rename", "file.delete", "file.create"],
        b"old",
        0,
        json!({ "directory": "/srv/a", "argument2": "../b/new", "directory2": "/srv/a" }),
    );
    let linked = record("symlink", &["file.link", "file.create"], b"../text", 0, json!({ "argument2": "/srv/link" }));
    // In a chroot an absolute name begins at the root that the kernel tells.
    let jailed = record("openat", &["file.read"], b"/etc/x", 3, json!({ "directory": "/jail" }));
    let mut hooked =
        record("execve", &["proc.exec"], b"./run", 0, json!({ "object": "/srv/run", "object2": "/usr/bin/dash" }));
    hooked["data"]["judged"] = json!("kernel");
    let seen = observed(&[renamed, linked, jailed, hooked]);
    let told: Vec<String> = seen
        .things
        .keys()
        .map(|(action, thing)| format!("{} {}", action.verb(), String::from_utf8_lossy(thing.bytes())))
        .collect();
    assert_eq!(
        told,
        [
            "file.read /jail/etc/x", "file.create /srv/b/new", "file.create /srv/link", "file.delete /srv/a/old",
            "file.delete /srv/b/new", "file.rename /srv/a/old", "file.link /srv/link", "proc.exec /srv/run",
            "proc.exec /usr/bin/dash",
        ]
    );
}

#[test]
fn an_outcome_is_the_same_attempt() {
    let mut first = record("openat", &["file.read"], b"/srv/fifo", 0, json!({}));
    first["data"]["action_attempted"].as_object_mut().unwrap().remove("result");
    let mut outcome = record("openat", &["file.read"], b"/srv/fifo", -4, json!({}));
    outcome["data"]["outcome_of"] = json!("c-1");
    let seen = observed(&[first, outcome]);
    let stat = seen.things.values().next().unwrap();
    assert_eq!((seen.attempts, seen.things.len(), stat.count, stat.failed), (1, 1, 1, 1));
}

#[test]
fn what_no_rule_can_name_is_not_passed_over() {
    // It failed: the policy may leave it out, and says so.
    let nothing = record("openat", &["file.read"], b"", -2, json!({}));
    let suggestion = suggested(&[read("/srv/a"), nothing.clone()], PLAIN);
    assert_eq!(suggestion.left_out.len(), 1);
    assert!(suggestion.text.contains("Left out"), "{}", suggestion.text);
    // It went through: there is no policy, unless who asks says how to take it.
    let through = record("openat", &["file.read"], b"name", 3, json!({}));
    let seen = observed(&[read("/srv/a"), through]);
    let Err(Failed::Denied(denied)) = suggest(&seen, &options(), PLAIN) else {
        panic!("a policy that denies what went through");
    };
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].thing, Thing::Unknown(b"name".to_vec()));
    // Also where there is nothing else.
    let alone = observed(&[record("openat", &["file.read"], b"name", 3, json!({}))]);
    assert!(matches!(suggest(&alone, &options(), PLAIN), Err(Failed::Denied(denied)) if denied.len() == 1));
    let allowing = Options { on_unknown: Fallback::Allow, ..options() };
    assert!(suggest(&seen, &allowing, PLAIN).is_ok());
}

#[test]
fn sockets_and_single_verbs_are_allowed() {
    for dialect in dialects() {
        let connect = |to: &str| record("connect", &["net.connect"], to.as_bytes(), 0, json!({}));
        let records = [
            connect("127.0.0.1:8080"),
            connect("[::1]:80"),
            connect("1.2.3.4:443"),
            connect("[::ffff:1.2.3.5]:443"),
            connect("0.0.0.0:9"),
            connect("/run/s"),
            record("sendto", &["net.send"], b"", 1, json!({})),
            record("bind", &["net.bind"], b"0.0.0.0:8000", 0, json!({})),
            record("listen", &["net.listen"], b"", 0, json!({})),
            record("kill", &["proc.signal"], b"", 0, json!({})),
            record("unshare", &["sys.namespace"], b"", 0, json!({})),
        ];
        let suggestion = suggested(&records, dialect);
        for told in ["127.0.0.0/8:8080", "[::1]:80", "1.2.3.4/32:443", "/run/s", "id: PRIVILEGED"] {
            assert!(suggestion.text.contains(told), "{told}:\n{}", suggestion.text);
        }
        assert!(!allows(&suggestion, record("ptrace", &["proc.ptrace"], b"", 0, json!({}))));
        assert_eq!(allows(&suggestion, connect("9.9.9.9:443")), !dialect.destinations, "{}", suggestion.text);
        assert!(allows(&suggestion, connect("/run/other")));
    }
}

#[test]
fn names_that_pass_are_known() {
    for (parent, name, glob) in [
        ("/proc", "1234", Some("*")),
        ("/proc/77/task", "78", Some("*")),
        ("/srv", "1234", None),
        ("/tmp", "pip-a1b2c3d4", Some("pip-*")),
        ("/tmp", "ccC2FS5i.o", Some("cc*.o")),
        ("/tmp", "tmp3e0_m4k0", Some("tmp*")),
        ("/tmp", "7o501km0", Some("*")),
        ("/tmp", "tmp.Ab3dEf12Gh", Some("tmp.*")),
        ("/tmp", "kqzvbnmw", Some("????????")),
        ("/tmp", "build", None),
        ("/srv", "Makefile", None),
        ("/srv", "x86_64", None),
        ("/srv", "python3.11", None),
        ("/srv", "libfoo.so.20230101", Some("libfoo.so.*")),
        ("/srv/objects", "0123456789abcdef0123", Some("*")),
        ("/srv", "123e4567-e89b-12d3-a456-426614174000.json", Some("*.json")),
        ("/srv", "releases", None),
    ] {
        assert_eq!(volatile(parent.as_bytes(), name.as_bytes()).as_deref(), glob, "{parent} {name}");
    }
}

const NAMES: [&[u8]; 24] = [
    b"a",
    b"b",
    b"etc",
    b"usr",
    b"bin",
    b"lib",
    b"proc",
    b"self",
    b"1234",
    b"tmp",
    b"home",
    b"agent",
    b"work",
    b".ssh",
    b".env",
    b"root",
    b"shadow",
    b"pip-a1b2c3d4",
    b"odd *?[]{}\\,name",
    b"${home}",
    "ünï\u{2028}".as_bytes(),
    b"raw\xff\xfe",
    b"new\nline\t\"",
    b"0123456789abcdef01",
];

fn path(random: &mut Random) -> Vec<u8> {
    let mut path: Vec<u8> = match random.below(8) {
        0 => b"/home/agent".to_vec(),
        1 => b"/home/agent/work".to_vec(),
        2 => b"/usr/lib".to_vec(),
        3 => b"/srv/build".to_vec(),
        _ => Vec::new(),
    };
    for _ in 0..random.below(5) {
        path.extend(b"/");
        match random.below(4) {
            0 => path.extend(format!("f{}", random.below(300)).bytes()),
            1 if random.one_in(12) => path.extend([b'x'; 300]),
            _ => path.extend_from_slice(NAMES[random.below(NAMES.len())]),
        }
    }
    if path.is_empty() { b"/".to_vec() } else { path }
}

fn random_records(random: &mut Random, count: usize) -> Vec<Value> {
    let verbs: [&[&str]; 9] = [
        &["file.read"],
        &["file.read"],
        &["dir.list"],
        &["proc.exec"],
        &["file.attr"],
        &["file.map_exec"],
        &["file.create", "file.write"],
        &["file.rename", "file.delete", "file.create"],
        &["net.connect"],
    ];
    let one = |_| {
        let verbs = *random.pick(&verbs);
        let result = if random.one_in(3) { -2 } else { 0 };
        match verbs[0] {
            "net.connect" => {
                let net = format!("{}.{}.1.{}", random.below(3), random.below(2), random.below(256));
                let ip = format!("{net}:{}", 80 + random.below(9));
                let to = [ip.as_bytes(), b"/run/s", b"@x", b"[2001:db8::1]:443", b"unspec:"];
                record("connect", verbs, to[random.below(to.len())], result, json!({}))
            }
            "file.rename" => {
                let second = path(random);
                record("rename", verbs, &path(random), result, json!({ "argument2": text(&second) }))
            }
            _ => record("openat", verbs, &path(random), result, json!({})),
        }
    };
    (0..count).map(one).collect()
}

/// The verdict as a patient reader of the rules finds it.
fn allowed_by_reading(policy: &Policy, action: sensor_common::action::Action, thing: &Thing) -> bool {
    let variables = options().variables;
    let lies_in = |path: &[u8], sets: &[usize]| {
        sets.iter().flat_map(|set| &policy.sets[*set]).any(|pattern| pattern.matches_path(&variables, path))
    };
    let speaks = |rule: &&crate::policy::Rule| {
        let object = thing.object(action);
        rule.actions & action.bit() != 0
            && match (&rule.path, object) {
                (PathTest::Any, _) => true,
                (PathTest::In(sets), Object::Path(path)) => lies_in(path, sets),
                (PathTest::NotIn(sets), Object::Path(path)) => !lies_in(path, sets),
                _ => false,
            }
            && match (&rule.to, object) {
                (AddressTest::Any, _) => true,
                (AddressTest::In(to), Object::Address { address, port, protocol }) => {
                    to.iter().any(|to| to.holds(&policy.hosts, &address, port, protocol))
                }
                _ => false,
            }
    };
    policy.rules.iter().find(speaks).is_some_and(|rule| rule.effect == Effect::Allow)
}

#[test]
fn the_whole_language_says_what_was_attempted() {
    let mut random = Random::new("the_whole_language_says_what_was_attempted");
    let (options, mut judged) = (options(), 0);
    for round in 0..60 {
        let count = 1 + random.below(if round % 10 == 0 { 1000 } else { 60 });
        let seen = observed(&random_records(&mut random, count));
        let maker = super::rules::Maker { observed: &seen, variables: &options.variables, dialect: FULL };
        let (rules, left_out) = maker.rules();
        let page = super::write::Page {
            name: "x",
            on_unknown: "deny",
            observed: &seen,
            variables: &options.variables,
            rules: &rules,
            left_out: &left_out,
        };
        let text = page.text();
        let policy = parse("x.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        for (action, thing) in seen.things.keys() {
            judged += 1;
            assert!(allowed_by_reading(&policy, *action, thing), "{action:?} of {thing:?}:\n{text}");
        }
        // Wildcards leave nothing unsaid, and every name can be escaped.
        assert!(left_out.is_empty(), "{left_out:?}");
        let secret = Thing::Place(b"/srv/build/zzz/.ssh/other".to_vec());
        assert!(!allowed_by_reading(&policy, sensor_common::action::Action::FileRead, &secret), "{text}");
    }
    assert!(judged > 1000, "{judged}");
}

#[test]
fn random_ledgers_replay_without_a_denial() {
    let mut random = Random::new("random_ledgers_replay_without_a_denial");
    let dialects = dialects();
    let (mut made, mut refused) = (0, 0);
    for round in 0..120 {
        let dialect = *random.pick(&dialects);
        let count = 1 + random.below(if round % 10 == 0 { 2000 } else { 60 });
        let records = random_records(&mut random, count);
        let seen = observed(&records);
        match suggest(&seen, &options(), dialect) {
            Ok(suggestion) => {
                made += 1;
                let again = replay(&seen, &suggestion.text, &options().variables, &suggestion.left_out).unwrap();
                assert!(again.is_empty(), "{}", suggestion.text);
                // Left out is only what came to nothing.
                assert!(suggestion.left_out.iter().all(|key| seen.things[key].in_vain()));
                let long = suggestion.rules.iter().find(|rule| !rule.marked && !rule.deny && rule.paths.len() > 40);
                assert!(long.is_none(), "{}", suggestion.text);
            }
            // All that there was came to nothing.
            Err(Failed::Nothing) => {
                assert!(seen.things.values().all(Stat::in_vain), "{count} attempts are not nothing")
            }
            Err(Failed::Unsound(errors)) => panic!("{errors}"),
            // A place that this dialect cannot say: told, not widened to everything.
            Err(Failed::Denied(denied)) => {
                refused += 1;
                for each in denied {
                    let odd = each.thing.bytes().iter().any(|byte| b"*?[{\\\xff\n".contains(byte))
                        || each.thing.bytes().windows(2).any(|pair| pair == b"${")
                        || each.thing.bytes().split(|byte| *byte == b'/').any(|name| name.len() > 255);
                    assert!(odd && !dialect.wildcards, "{:?}: {}", each.thing, each.reason);
                }
            }
        }
    }
    println!("{made} suggested, {refused} told why not");
    assert!(made > 40, "{made} suggested");
}
