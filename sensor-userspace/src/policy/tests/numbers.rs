//! Signals and capabilities in rules.

use sensor_common::action::Action;

use super::commands::{file, rgt_policy};
use super::errors::{one, rule, told, with};
use crate::policy::{Circumstances, Object, Table, Variables, parse};

fn table(text: &str) -> Table {
    let policy = parse("t.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    policy.compile(&Variables::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn decides(table: &Table, action: Action, object: Object<'_>) -> String {
    table.judge(&[(action, object)], &Circumstances::default()).rule_id
}

#[test]
fn rules_speak_of_the_signals_they_name() {
    let table = table(
        "version: 1\nrules:\n  - { id: A, deny: proc.*, signal: [KILL, SIGSTOP, 64] }\n  - { id: B, watch: proc.signal, signal: HUP }\n  - { id: C, deny: proc.signal, signal: { not: [TERM, 15, HUP] } }\n",
    );
    let signal = Object::Number;
    for (action, object, rule) in [
        (Action::ProcSignal, signal(9), "A"),
        (Action::ProcSignal, signal(19), "A"),
        (Action::ProcSignal, signal(64), "A"),
        (Action::ProcSignal, signal(15), "RULE_DEFAULT"),
        (Action::ProcSignal, signal(1), "RULE_DEFAULT"),
        (Action::ProcSignal, signal(63), "C"),
        // Signal 0 is none, and one that is not known yet may be any.
        (Action::ProcSignal, Object::None, "RULE_DEFAULT"),
        (Action::ProcSignal, Object::Unknown, "RULE_UNKNOWN"),
        // A rule with `signal:` speaks of nothing but signals.
        (Action::ProcPtrace, Object::None, "RULE_DEFAULT"),
    ] {
        assert_eq!(decides(&table, action, object), rule, "{action:?} {object:?}");
    }
}

#[test]
fn only_a_rule_that_names_capabilities_speaks_of_them() {
    let use_of = |text: &str, which| decides(&table(text), Action::SysCapability, Object::Number(which));
    for rule in ["deny: '*'", "deny: sys.*", "deny: privileged_administration"] {
        assert_eq!(use_of(&format!("version: 1\nrules: [{{ id: A, {rule} }}]\n"), 22), "RULE_DEFAULT", "{rule}");
    }
    let asked = table("version: 1\ndefault: deny\nrules: [{ id: A, allow: sys.mount }]\n");
    let decision = asked.judge(&[(Action::SysCapability, Object::Number(1))], &Circumstances::default());
    assert_eq!(decision.verdict, crate::attempt::Verdict::Allow);
    assert!(decision.reason.contains("nobody asks"), "{}", decision.reason);
    let text = "version: 1\ndefault: deny\nrules:\n  - { id: A, allow: sys.capability, capability: [CAP_CHOWN, 13] }\n  - { id: B, challenge: sys.capability, capability: { not: [SYS_ADMIN, 63] } }\n";
    for (which, rule) in [(1, "A"), (14, "A"), (2, "B"), (42, "B"), (22, "RULE_DEFAULT"), (64, "RULE_DEFAULT")] {
        assert_eq!(use_of(text, which), rule, "{which}");
    }
}

#[test]
fn mistakes_are_told() {
    for (lines, wanted) in [
        ("deny: proc.signal\n    signal: SIGKIL", "8:13 [A] signal `SIGKIL`: there is none ...did you mean `SIGKILL`?"),
        (
            "deny: proc.signal\n    signal: [TERM, kill]",
            "8:20 [A] signal `kill`: there is none ...did you mean `KILL`?",
        ),
        ("deny: proc.signal\n    signal: { not: 65 }", "8:20 [A] signal `65`: there is none ...from 1 to 64"),
        ("deny: proc.signal\n    signal: 0", "8:13 [A] signal `0`: it sends nothing"),
        ("deny: proc.signal\n    signal: SIGRTMIN", "8:13 [A] signal `SIGRTMIN`: real-time signals have no names"),
        ("deny: proc.signal\n    signal: $all", "8:13 [A] signal `$all`: lists hold paths"),
        ("deny: proc.signal\n    signal: []", "8:13 [A] the list of signals is empty"),
        ("deny: proc.signal\n    signal: {}", "8:13 [A] `signal` is an empty map"),
        ("deny: proc.signal\n    signal: { nott: KILL }", "8:15 [A] unknown key `nott`"),
        ("deny: proc.signal\n    signal: [[KILL]]", "8:14 [A] a list stands where a signal was expected"),
        ("deny: proc.ptrace\n    signal: KILL", "7:11 [A] `proc.ptrace` has no signal that `signal:` could"),
        ("deny: file.*\n    signal: KILL", "7:11 [A] none of the rule's actions has a signal ...name `proc.signal`"),
        ("deny: proc.*\n    signal: KILL\n    path: /x", "9:5 [A] the rule has both `signal:` and `path:`"),
        ("deny: sys.capability\n    capability: CAP_NET_RWA", "8:17 [A] capability `CAP_NET_RWA`: ...`CAP_NET_RAW`?"),
        ("deny: sys.capability\n    capability: net_admin", "8:17 [A] capability `net_admin`: ...`NET_ADMIN`?"),
        ("deny: sys.capability\n    capability: 64", "8:17 [A] capability `64`: there is none ...from 0 to 63"),
        ("deny: sys.capability\n    capability: []", "8:17 [A] the list of capabilities is empty"),
        ("deny: sys.*\n    capability: CHOWN", "7:11 [A] none of the rule's actions has a ...name `sys.capability`"),
        ("deny: sys.mount\n    capability: CHOWN", "7:11 [A] `sys.mount` has no capability that"),
    ] {
        one(rule(&format!("  - id: A\n    {lines}\n")), wanted);
    }
    let case = |case: &str| {
        told(with(&format!("rules: [{{ id: A, deny: proc.signal }}]\ntests: [{{ {case}, verdict: deny }}]\n")))
    };
    for (lines, wanted) in [
        ("action: file.attr, path: /x, signal: KILL", "6:9 [-] the case says both `path:` and `signal:`"),
        ("action: proc.ptrace, signal: KILL", "6:9 [-] the case has `signal:`, and `proc.ptrace` has no such object"),
        ("action: sys.capability", "6:9 [-] the case has no `capability`"),
        ("action: proc.signal, signal: [KILL, TERM]", "6:38 [-] a list stands where a signal was expected"),
    ] {
        let errors = case(lines);
        assert!(errors.iter().any(|error| error.contains(&wanted[4..])), "{errors:#?} lack {wanted}");
    }
}

#[test]
fn what_never_decides_and_what_only_looks_on_is_told() {
    let warnings = |first: &str, second: &str| {
        let text = format!(
            "rules:\n  - {{ id: A, deny: proc.signal, signal: {first} }}\n  - {{ id: B, allow: proc.signal, signal: {second} }}\n"
        );
        with(&text).unwrap_or_else(|errors| panic!("{errors}")).warnings.len()
    };
    assert_eq!(warnings("[KILL, TERM]", "KILL"), 1);
    assert_eq!(warnings("{ not: HUP }", "KILL"), 1);
    assert_eq!(warnings("{ not: HUP }", "{ not: [HUP, TERM] }"), 1);
    assert_eq!(warnings("KILL", "[KILL, TERM]"), 0);
    assert_eq!(warnings("{ not: KILL }", "KILL"), 0);
    let default_deny = |effect: &str| {
        let text = format!("version: 1\ndefault: deny\nrules: [{{ id: A, {effect}: sys.capability }}]\n");
        parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}")).warnings.len()
    };
    assert_eq!(default_deny("watch"), 1);
    assert_eq!(default_deny("allow"), 0);
}

#[test]
fn commands_know_them() {
    let text = "version: 1\nrules:\n  - { id: A, deny: proc.signal, signal: [KILL, 34] }\n  - { id: B, deny: sys.capability, capability: { not: CHOWN } }\ntests:\n  - { action: proc.signal, signal: SIGKILL, verdict: deny, rule: A }\n  - { action: proc.signal, signal: 0, verdict: allow }\n  - { action: sys.capability, capability: CAP_SYS_TIME, verdict: deny, rule: B }\n  - { action: sys.capability, capability: CHOWN, verdict: allow }\n";
    let policy = file("numbers.yaml", text);
    let policy = policy.to_string_lossy();
    assert!(rgt_policy(&["test", &policy]).1.ends_with("4 passed, 0 failed\n"));
    let shown = rgt_policy(&["show", &policy]).1;
    assert!(shown.contains("deny SIGKILL, 34") && shown.contains("deny all but CAP_CHOWN"), "{shown}");
    assert!(rgt_policy(&["show", "--json", &policy]).1.contains("\"not_among\""));
    for (action, key, name, wanted) in [
        ("proc.signal", "--signal", "9", "proc.signal of SIGKILL: A denies SIGKILL, 34"),
        ("proc.signal", "--signal", "0", "proc.signal: no rule matches"),
        ("sys.capability", "--capability", "NET_RAW", "sys.capability of CAP_NET_RAW: B denies all but CAP_CHOWN"),
    ] {
        let out = rgt_policy(&["explain", "--action", action, key, name, &policy]).1;
        assert!(out.contains(wanted), "{out}");
    }
    for question in [
        &["--action", "proc.signal", "--signal", "KIL"][..],
        &["--action", "proc.ptrace", "--signal", "KILL"],
        &["--action", "sys.capability"],
    ] {
        let (status, _, err) = rgt_policy(&[&["explain"], question, &[&policy]].concat());
        assert_eq!(status, 2, "{err}");
    }
}
