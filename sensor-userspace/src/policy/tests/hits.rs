//! The kernel's verdicts in words, and the words themselves.

use sensor_common::action::Action;
use sensor_common::table::effect;

use crate::attempt::{Severity, Verdict};
use crate::policy::{
    Circumstances, Decision, KernelHit, Object, RULE_DEFAULT, RULE_UNKNOWN, Table, Variables, pair, parse,
};

/// Of an agent that nothing is known of.
const NOW: Circumstances<'static> = Circumstances::PLAIN;

fn article() -> Table {
    let policy = parse("article.yaml", include_str!("../../../../policies/article.yaml")).unwrap();
    policy.compile(&Variables::default()).unwrap()
}

#[test]
fn reasons_are_short_sentences() {
    let table = article();
    let reason = |action, object| table.judge(&[(action, object)], &NOW).reason;
    assert_eq!(
        reason(Action::FileDelete, Object::Path(b"/home/x")),
        "file.delete of /home/x: RULE_FILE_DELETE_BLOCK denies outside /tmp/**"
    );
    assert_eq!(
        reason(Action::FileDelete, Object::Path(b"/tmp/x")),
        "file.delete of /tmp/x: no rule matches, the default allows"
    );
    assert_eq!(
        reason(Action::FileDelete, Object::Unknown),
        "file.delete of an object whose place is unknown: RULE_FILE_DELETE_BLOCK asks for its place, on_unknown denies"
    );
    assert_eq!(reason(Action::NetConnect, Object::None), "net.connect: no rule matches, the default allows");
    assert_eq!(
        reason(Action::FileRead, Object::Path(b"/a\n\xff\x1b")),
        "file.read of /a\\n\\xff\\u{1b}: no rule matches, the default allows"
    );
    assert!(reason(Action::FileRead, Object::Path(&[b'/'; 4095])).len() < 300);
}

#[test]
fn the_kernels_decision_reads_like_the_judges() {
    let table = article();
    for (object, hit) in [
        (
            Object::Path(b"/home/x".as_slice()),
            KernelHit { rule: Some(0), effect: effect::DENY, unknown: false, would: None, ..KernelHit::default() },
        ),
        (
            Object::Path(b"/tmp/x"),
            KernelHit { rule: None, effect: effect::ALLOW, unknown: false, would: None, ..KernelHit::default() },
        ),
    ] {
        let judged = table.judge(&[(Action::FileDelete, object)], &NOW);
        assert_eq!(table.decision_from_kernel(hit, Action::FileDelete, object, &NOW), judged);
    }
    let unknown = KernelHit { rule: None, effect: effect::DENY, unknown: true, would: None, ..KernelHit::default() };
    let decision = table.decision_from_kernel(unknown, Action::FileDelete, Object::Unknown, &NOW);
    assert_eq!((decision.verdict, decision.rule_id.as_str(), decision.unknown), (Verdict::Deny, RULE_UNKNOWN, true));
    assert_eq!(decision, table.judge(&[(Action::FileDelete, Object::Unknown)], &NOW));
}

#[test]
fn a_corrupt_hit_fails_closed_and_does_not_panic() {
    let table = article();
    for rule in [None, Some(0), Some(1), Some(63), Some(u16::MAX)] {
        for effect in [0, 1, 2, 3, 255] {
            let hit = KernelHit { rule, effect, unknown: false, would: rule, ..KernelHit::default() };
            let decision = table.decision_from_kernel(hit, Action::FileDelete, Object::Path(b"/x"), &NOW);
            assert!(effect <= 2 || decision.verdict == Verdict::Deny);
        }
    }
}

#[test]
fn observing_rules_record_and_the_search_goes_on() {
    let text = "version: 1\nrules:\n  - { id: O, deny: file.read, path: /a/**, mode: observe }\n  - { id: C, challenge: file.read, path: /a/b, timeout: 5s, otherwise: allow, severity: critical }\n";
    let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
    let read = |path: &'static [u8]| table.judge(&[(Action::FileRead, Object::Path(path))], &NOW);
    let both = read(b"/a/b");
    assert_eq!((both.verdict, both.otherwise, both.rule_id.as_str()), (Verdict::Challenge, Verdict::Allow, "C"));
    assert_eq!((both.severity, both.would), (Severity::Critical, Some((Verdict::Deny, "O".to_owned()))));
    let one = read(b"/a/c");
    assert_eq!((one.verdict, one.rule_id.as_str()), (Verdict::Allow, RULE_DEFAULT));
    assert_eq!(one.would, Some((Verdict::Deny, "O".to_owned())));
    assert_eq!(read(b"/c").would, None);
    let hit =
        KernelHit { rule: Some(1), effect: effect::CHALLENGE, unknown: false, would: Some(0), ..KernelHit::default() };
    assert_eq!(table.decision_from_kernel(hit, Action::FileRead, Object::Path(b"/a/b"), &NOW), read(b"/a/b"));
}

#[test]
fn the_strictest_of_an_attempt_decides() {
    let text = "version: 1\nrules:\n  - { id: C, challenge: file.create, path: /c/** }\n  - { id: D, deny: file.delete, path: /d/** }\n";
    let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
    let moved = |from: &'static [u8], to: &'static [u8], actions: &[Action]| -> Decision {
        table.judge(&pair(actions, Object::Path(from), Some(Object::Path(to))), &NOW)
    };
    let rename = [Action::FileRename, Action::FileDelete, Action::FileCreate];
    assert_eq!(moved(b"/x", b"/c/x", &rename).rule_id, "C");
    assert_eq!(moved(b"/d/x", b"/c/x", &rename).rule_id, "D");
    assert_eq!(moved(b"/x", b"/d/x", &rename).rule_id, RULE_DEFAULT);
    let over = [Action::FileRename, Action::FileDelete, Action::FileCreate, Action::FileDelete];
    assert_eq!(moved(b"/x", b"/d/x", &over).rule_id, "D");
    assert_eq!(table.judge(&[], &NOW).verdict, Verdict::Allow);
}
