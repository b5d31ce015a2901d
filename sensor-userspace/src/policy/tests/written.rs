//! What an agent has written itself: what rules say of it, and what is said where nobody knows.

use sensor_common::action::Action;

use crate::attempt::Verdict;
use crate::policy::{Circumstances, Object, PathTest, Table, Variables, Written, parse};

const POLICY: &str = "version: 1
on_unknown: deny
rules:
  - id: SEEN
    watch: proc.exec
    path: { written_by_agent: true }
    risk: +20
  - id: NO_OWN
    deny: [proc.exec, file.map_exec]
    path: { written_by_agent: true }
  - id: OLD_ALONE
    allow: file.write
    path: { written_by_agent: false }
  - id: NO_REST
    deny: file.write
tests:
  - { action: proc.exec, path: /w/a, written: true, verdict: deny, rule: NO_OWN }
  - { action: proc.exec, path: /w/a, verdict: allow, rule: RULE_DEFAULT }
  - { action: proc.exec, nameless: true, verdict: deny, rule: NO_OWN }
  - { action: proc.exec, unknown: true, written: true, verdict: deny, rule: NO_OWN }
  - { action: proc.exec, unknown: true, verdict: deny, rule: RULE_UNKNOWN }
  - { action: file.write, path: /w/a, verdict: allow, rule: OLD_ALONE }
  - { action: file.write, path: /w/a, written: true, verdict: deny, rule: NO_REST }
";

fn table() -> Table {
    parse("t.yaml", POLICY).unwrap_or_else(|errors| panic!("{errors}")).compile(&Variables::default()).unwrap()
}

#[test]
fn rules_speak_of_what_was_written() {
    let policy = parse("t.yaml", POLICY).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(policy.rules[1].path, PathTest::Written(true));
    assert_eq!(policy.rules[2].path, PathTest::Written(false));
    for outcome in policy.run_cases(&Variables::default()).unwrap() {
        assert!(outcome.passed, "line {}: {:?}", outcome.at.line, outcome.decision);
    }
}

#[test]
fn what_nobody_knows_is_left_to_on_unknown() {
    let table = table();
    let said = |written| {
        let how = Circumstances { written, ..Circumstances::default() };
        let decision = table.judge(&[(Action::ProcExec, Object::Path(b"/w/a"))], &how);
        (decision.verdict, decision.rule_id, decision.watched.len())
    };
    assert_eq!(said(Written::Unknown), (Verdict::Deny, "RULE_UNKNOWN".to_owned(), 1));
    assert_eq!(said(Written::Yes), (Verdict::Deny, "NO_OWN".to_owned(), 1));
    assert_eq!(said(Written::No), (Verdict::Allow, "RULE_DEFAULT".to_owned(), 0));
}

#[test]
fn the_reason_says_so() {
    let how = Circumstances { written: Written::Yes, ..Circumstances::default() };
    let decision = table().judge(&[(Action::ProcExec, Object::Path(b"/w/a"))], &how);
    assert_eq!(decision.reason, "proc.exec of /w/a: NO_OWN denies what the agent has written");
}

#[test]
fn it_stands_alone_and_is_true_or_false() {
    for (path, wanted) in [
        ("{ written_by_agent: true, not: [/a] }", "8:"),
        ("{ written_by_agent: often }", "8:"),
        ("{ written: true }", "8:"),
    ] {
        let text = format!("version: 1\nrules:\n  - id: A\n    deny: proc.exec\n\n\n\n    path: {path}\n");
        let errors = parse("t.yaml", &text).unwrap_err();
        assert_eq!(errors.0.len(), 1, "{errors}");
        assert!(format!("{}:", errors.0[0].at.line) == wanted, "{path}: {errors}");
    }
    let net = "version: 1\nrules:\n  - id: A\n    deny: net.connect\n    path: { written_by_agent: true }\n";
    assert!(parse("t.yaml", net).is_err(), "a connection is no file");
}
