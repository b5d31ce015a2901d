//! `/place@sha256:…`: files by what they hold.

use sensor_common::action::Action;
use sensor_common::contents::Identity;

use crate::policy::{
    Circumstances, Content, Contents, Holds, Hosts, KernelHit, Object, Program, RULE_DEFAULT, RULE_UNKNOWN, Table,
    Variables, parse,
};

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";

fn text() -> String {
    format!(
        "
version: 1
on_unknown: deny
rules:
  - id: ONLY_GIT
    deny: net.connect
    exe: {{ not: '/usr/bin/git@sha256:{ONE}' }}
  - id: RUN
    allow: proc.exec
    path: ['/usr/bin/git@sha256:{TWO}', '/usr/bin/{{sh,ls}}@sha256:{ONE}', /opt/**]
  - id: NOTHING_ELSE
    deny: proc.exec
tests:
  - {{ action: net.connect, to: '10.0.0.1:1', exe: '/usr/bin/git@sha256:{ONE}', verdict: allow }}
  - {{ action: net.connect, to: '10.0.0.1:1', exe: '/usr/bin/git@sha256:{TWO}', verdict: deny, rule: ONLY_GIT }}
  - {{ action: net.connect, to: '10.0.0.1:1', exe: /usr/bin/git, verdict: deny, rule: RULE_UNKNOWN }}
  - {{ action: net.connect, to: '10.0.0.1:1', exe: /tmp/git, verdict: deny, rule: ONLY_GIT }}
  - {{ action: net.connect, to: '10.0.0.1:1', exe: '/tmp/git@sha256:{ONE}', verdict: deny, rule: ONLY_GIT }}
  - {{ action: proc.exec, path: '/usr/bin/git@sha256:{TWO}', verdict: allow, rule: RUN }}
  - {{ action: proc.exec, path: '/usr/bin/git@sha256:{ONE}', verdict: deny, rule: NOTHING_ELSE }}
  - {{ action: proc.exec, path: '/usr/bin/ls@sha256:{ONE}', verdict: allow, rule: RUN }}
  - {{ action: proc.exec, path: /usr/bin/ls, verdict: deny, rule: RULE_UNKNOWN }}
  - {{ action: proc.exec, path: /opt/x, verdict: allow, rule: RUN }}
  - {{ action: file.read, path: /usr/bin/ls, verdict: allow, rule: RULE_DEFAULT }}
"
    )
}

fn digest(text: &str) -> [u8; 32] {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).unwrap();
    digest
}

fn with(contents: &Contents) -> Table {
    let policy = parse("t.yaml", &text()).unwrap_or_else(|errors| panic!("{errors}"));
    policy.compile_with(&Variables::default(), &Hosts::default(), contents).unwrap()
}

fn read(place: &str, of: &str) -> Contents {
    Contents::from([(place.to_owned(), Some(Content { identity: Identity::default(), digest: digest(of) }))])
}

#[test]
fn cases_say_what_files_hold() {
    let policy = parse("t.yaml", &text()).unwrap_or_else(|errors| panic!("{errors}"));
    for outcome in policy.run_cases(&Variables::default()).unwrap() {
        assert!(outcome.passed, "line {}: {:?}", outcome.at.line, outcome.decision);
    }
    assert_eq!(super::naive::failures(&policy), Vec::<String>::new());
    assert_eq!(Vec::from_iter(policy.pinned()), ["/usr/bin/git", "/usr/bin/ls", "/usr/bin/sh"]);
}

#[test]
fn a_table_knows_what_was_read_of_its_own_files() {
    let connects = |table: &Table, program_holds| {
        let how = Circumstances { program: Program::Path(b"/usr/bin/git"), program_holds, ..Circumstances::default() };
        let to = Object::Address { address: [0; 16], port: 1, protocol: 6 };
        table.judge(&[(Action::NetConnect, to)], &how).rule_id
    };
    let nobody = with(&Contents::new());
    assert_eq!(connects(&nobody, Holds::AsRead), RULE_UNKNOWN);
    assert_eq!(nobody.contents.len(), 3, "what is not read yet is asked about as well: {:?}", nobody.contents);
    let table = with(&read("/usr/bin/git", ONE));
    assert_eq!(connects(&table, Holds::AsRead), RULE_DEFAULT);
    assert_eq!(connects(&table, Holds::Unknown), RULE_UNKNOWN);
    assert_eq!(connects(&with(&read("/usr/bin/git", TWO)), Holds::AsRead), "ONLY_GIT");
    // Of other files it does not matter what was read; of its own it makes another table.
    let others = with(&read("/usr/bin/other", ONE));
    assert_eq!((others.identity, others.contents.len()), (nobody.identity, 3));
    assert_ne!(table.identity, nobody.identity);
}

#[test]
fn the_reason_says_what_is_not_known() {
    let table = with(&Contents::new());
    let run = Object::Path(b"/usr/bin/ls");
    let reason = table.judge(&[(Action::ProcExec, run)], &Circumstances::default()).reason;
    assert_eq!(reason, "proc.exec of /usr/bin/ls: RUN asks for what it holds, on_unknown denies");
    let hit = KernelHit { effect: 1, unknown: true, ..KernelHit::default() };
    let told = table.decision_from_kernel(hit, Action::ProcExec, run, &Circumstances::default());
    assert_eq!((told.rule_id.as_str(), told.reason), (RULE_UNKNOWN, reason));
    let how = Circumstances { program: Program::Path(b"/usr/bin/git"), ..Circumstances::default() };
    let to = Object::Address { address: [0; 16], port: 1, protocol: 6 };
    let reason = table.judge(&[(Action::NetConnect, to)], &how).reason;
    assert!(reason.contains("ONLY_GIT asks for the program that acts and what it holds"), "{reason}");
}

#[test]
fn a_digest_is_part_of_what_a_rule_covers() {
    let warned = |first: &str, second: &str| {
        let text = format!(
            "version: 1\nrules:\n  - {{id: A, deny: proc.exec, path: '{first}'}}\n  - {{id: B, deny: proc.exec, path: '{second}'}}\n"
        );
        parse("t.yaml", &text).unwrap().warnings.iter().any(|warning| warning.text.contains("never decides"))
    };
    let (one, two) = (format!("/a@sha256:{ONE}"), format!("/a@sha256:{TWO}"));
    assert!(warned("/a", &one) && warned(&one, &one) && warned("/**", &one));
    assert!(!warned(&one, "/a") && !warned(&one, &two));
}

#[test]
fn what_it_cannot_be_is_an_error() {
    for (rule, error) in [
        ("deny: proc.exec, path: '/a@sha256:12'", "path `/a@sha256:12`: behind `@sha256:` stand 64 hexadecimal digits"),
        (&format!("deny: proc.exec, path: '/a/*@sha256:{ONE}'"), "a digest is one file's"),
        (&format!("deny: proc.exec, path: '${{home}}/a@sha256:{ONE}'"), "a digest stands behind a whole path"),
        (&format!("deny: proc.exec, path: '/@sha256:{ONE}'"), "a digest is one file's"),
        (&format!("deny: [proc.exec, file.read], path: '/a@sha256:{ONE}'"), "only what runs goes by what it holds"),
        (&format!("deny: net.connect, unix: '/a@sha256:{ONE}'"), "only what runs goes by what it holds"),
        (
            &format!("deny: file.write, path: {{ not: ['/b', '/a@sha256:{ONE}'] }}"),
            "only what runs goes by what it holds",
        ),
    ] {
        let text = format!("version: 1\nrules:\n  - {{ id: A, {rule} }}\n");
        let errors = parse("t.yaml", &text).expect_err(rule).to_string();
        assert!(errors.contains("t.yaml:3") && errors.contains(error), "{rule}: {errors}");
    }
    let levels = format!(
        "version: 1\nsensitivity: {{ internal: '/a@sha256:{ONE}' }}\nrules:\n  - {{ id: A, deny: file.read, when: {{ sensitivity: internal }} }}\n"
    );
    assert!(parse("t.yaml", &levels).unwrap_err().to_string().contains("only what runs"));
    // The characters themselves.
    let plain = "version: 1\nrules:\n  - { id: A, deny: file.read, path: '/a\\@sha256:12' }\n";
    assert!(parse("t.yaml", plain).unwrap().pinned().is_empty());
    let many: Vec<String> = (0..257).map(|n| format!("/a{n}@sha256:{ONE}")).collect();
    let text = format!("version: 1\nrules:\n  - {{ id: A, deny: proc.exec, path: {many:?} }}\n");
    assert!(
        parse("t.yaml", &text).unwrap_err().to_string().contains("257 files with a digest, more than the limit of 256")
    );
}
