//! `exe:`: which program acts.

use sensor_common::action::Action;

use crate::attempt::Verdict;
use crate::policy::{Circumstances, KernelHit, Object, Program, StepResult, Table, Variables, parse};

const TEXT: &str = "
version: 1
on_unknown: deny
lists:
  git: [/usr/bin/git, /usr/lib/git-core/**]
rules:
  - id: ONLY_GIT
    deny: net.connect
    exe: { not: $git }
  - id: NO_PYTHON
    deny: [file.delete, proc.signal]
    exe: ['/usr/bin/python3*', '${home}/venv/**']
  - id: SEEN
    watch: file.read
    path: /etc/**
    exe: $git
tests:
  - { action: net.connect, to: '10.0.0.1:443', exe: /usr/bin/git, verdict: allow, rule: RULE_DEFAULT }
  - { action: net.connect, to: '10.0.0.1:443', exe: /usr/lib/git-core/git-remote-https, verdict: allow }
  - { action: net.connect, to: '10.0.0.1:443', exe: /tmp/usr/bin/git, verdict: deny, rule: ONLY_GIT }
  - { action: net.connect, to: '10.0.0.1:443', exe: 'memfd:x', verdict: deny, rule: ONLY_GIT }
  - { action: net.connect, to: '10.0.0.1:443', verdict: deny, rule: RULE_UNKNOWN }
  - { action: file.delete, path: /a, exe: /usr/bin/python3.11, verdict: deny, rule: NO_PYTHON }
  - { action: file.delete, unknown: true, exe: '${home}/venv/bin/python', verdict: deny, rule: NO_PYTHON }
  - { action: file.delete, path: /a, exe: /usr/bin/python3/x, verdict: allow }
  - { action: file.delete, path: /a, exe: 'memfd:x', verdict: allow }
  - { action: proc.signal, exe: /usr/bin/python3, verdict: deny, rule: NO_PYTHON }
  - { action: proc.signal, verdict: deny, rule: RULE_UNKNOWN }
  - { action: file.read, path: /etc/x, verdict: allow, rule: RULE_DEFAULT }
";

const TO: Object<'static> = Object::Address { address: [0; 16], port: 443, protocol: 6 };

fn table() -> Table {
    let policy = parse("t.yaml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
    policy.compile(&Variables::default().or_stand_ins()).unwrap()
}

fn by(program: Program<'_>) -> Circumstances<'_> {
    Circumstances { program, ..Circumstances::default() }
}

#[test]
fn cases_name_the_program_that_acts() {
    let policy = parse("t.yaml", TEXT).unwrap();
    for outcome in policy.run_cases(&Variables::default()).unwrap() {
        assert!(outcome.passed, "line {}: {:?}", outcome.at.line, outcome.decision);
    }
    assert_eq!(super::naive::failures(&policy), Vec::<String>::new());
}

#[test]
fn the_reason_names_programs() {
    let reason = |program| table().judge(&[(Action::NetConnect, TO)], &by(program)).reason;
    assert_eq!(
        reason(Program::Path(b"/bin/sh")),
        "net.connect to [::]:443: ONLY_GIT denies it wherever it is, where the program is not /usr/bin/git, /usr/lib/git-core/**"
    );
    assert_eq!(
        reason(Program::Unknown),
        "net.connect to [::]:443: ONLY_GIT asks for the program that acts, on_unknown denies"
    );
}

#[test]
fn explain_tells_another_program_from_an_unknown_one() {
    let step = |program| {
        let (_, steps) = table().explain(&[(Action::NetConnect, TO)], &by(program));
        steps[0].result
    };
    assert_eq!(step(Program::Path(b"/usr/bin/git")), StepResult::OtherProgram);
    assert_eq!(step(Program::Nameless), StepResult::Decides);
    assert_eq!(step(Program::Unknown), StepResult::UnknownProgram);
}

/// It sets nothing where nobody knows whether it matches.
#[test]
fn a_rule_that_watches_leaves_an_unknown_program_to_on_unknown() {
    let watched = |program| table().judge(&[(Action::FileRead, Object::Path(b"/etc/x"))], &by(program)).watched;
    assert_eq!(watched(Program::Path(b"/usr/bin/git")), [2]);
    assert!(watched(Program::Path(b"/usr/bin/curl")).is_empty());
    assert_eq!(watched(Program::Unknown), [2], "on_unknown: deny");
    let lenient = parse("t.yaml", &TEXT.replace("on_unknown: deny", "on_unknown: allow")).unwrap();
    let lenient = lenient.compile(&Variables::default().or_stand_ins()).unwrap();
    let decision = lenient.judge(&[(Action::FileRead, Object::Path(b"/etc/x"))], &by(Program::Unknown));
    assert!(decision.watched.is_empty());
}

#[test]
fn the_kernels_word_on_an_unknown_program_is_told_as_such() {
    let hit = KernelHit { effect: 1, program_unknown: true, by_program: true, ..KernelHit::default() };
    // The daemon's own guess of the program does not matter then.
    let decision = table().decision_from_kernel(hit, Action::NetConnect, TO, &by(Program::Path(b"/usr/bin/git")));
    assert_eq!((decision.verdict, decision.rule_id.as_str()), (Verdict::Deny, "RULE_UNKNOWN"));
    assert!(decision.reason.contains("ONLY_GIT asks for the program that acts"), "{}", decision.reason);
    let hit = KernelHit { program_unknown: true, ..KernelHit::default() };
    let decision = table().decision_from_kernel(hit, Action::FileWrite, Object::Path(b"/x"), &by(Program::Unknown));
    assert_eq!((decision.verdict, decision.rule_id.as_str()), (Verdict::Allow, "RULE_DEFAULT"));
}

#[test]
fn names_of_proc_are_understood() {
    for (name, program) in [
        (&b"/usr/bin/git"[..], Program::Path(b"/usr/bin/git")),
        (b"/usr/bin/git (deleted)", Program::Path(b"/usr/bin/git")),
        (b"/memfd:x (deleted)", Program::Nameless),
        (b"memfd:x", Program::Nameless),
        (b"", Program::Unknown),
    ] {
        assert_eq!(Program::of(Some(name)), program, "{name:?}");
    }
    assert_eq!(Program::of(None), Program::Unknown);
}

#[test]
fn a_rule_for_some_programs_shadows_none_for_all() {
    let warnings = |first: &str, second: &str| {
        let text = format!(
            "version: 1\nrules:\n  - {{ id: A, deny: net.connect{first} }}\n  - {{ id: B, deny: net.connect{second} }}\n"
        );
        parse("t.yaml", &text).unwrap().warnings.iter().any(|warning| warning.text.contains("never decides"))
    };
    assert!(!warnings(", exe: /usr/bin/git", ""));
    assert!(!warnings(", exe: /usr/bin/git", ", exe: /usr/bin/*"));
    assert!(!warnings(", exe: { not: /usr/bin/git }", ", exe: /usr/bin/ls"));
    assert!(!warnings(", exe: { not: /usr/bin/* }", ", exe: { not: /usr/bin/git }"));
    assert!(warnings("", ", exe: /usr/bin/git"));
    assert!(warnings(", exe: /usr/bin/*", ", exe: /usr/bin/git"));
    assert!(warnings(", exe: { not: /usr/bin/git }", ", exe: { not: /usr/bin/* }"));
}

#[test]
fn what_it_cannot_be_is_an_error() {
    for (exe, error) in [
        ("{}", "t.yaml:5:10: error: [A] `exe` is an empty map"),
        ("[]", "t.yaml:5:10: error: [A] the list of programs is empty"),
        ("{ not: [] }", "t.yaml:5:17: error: [A] the list of programs is empty"),
        ("{ nott: [/a] }", "t.yaml:5:12: error: [A] unknown key `nott`"),
        ("{ written_by_agent: true }", "t.yaml:5:12: error: [A] unknown key `written_by_agent`"),
        ("git", "t.yaml:5:10: error: [A] path `git`: it is relative"),
        ("$none", "t.yaml:5:10: error: [A] no list is named `none`"),
    ] {
        let text = format!("version: 1\nrules:\n  - id: A\n    deny: '*'\n    exe: {exe}\n");
        let errors = parse("t.yaml", &text).unwrap_err().to_string();
        assert!(errors.starts_with(error), "{exe}: {errors}");
    }
    let case =
        "version: 1\nrules:\n  - {id: A, deny: '*'}\ntests:\n  - { action: sys.mount, exe: /usr/**, verdict: deny }\n";
    let errors = parse("t.yaml", case).unwrap_err().to_string();
    assert!(errors.contains("5:31") && errors.contains("a case names one file"), "{errors}");
}
