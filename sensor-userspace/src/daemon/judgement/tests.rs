use sensor_common::{action::Action, guard::Guard, table::effect};

use super::*;
use crate::attempt::{ArgumentRead, Attempt, Credentials};
use crate::kernel::{AttemptKey, HookVerdict, Operand};
use crate::policy::{Variables, parse};

const ARTICLE: &str = "version: 1\nname: article\nmode: enforce\ndefault: allow\non_unknown: deny\nrules:\n  \
    - id: RULE_FILE_DELETE_BLOCK\n    deny: file.delete\n    path: { not: [\"/tmp/**\"] }\n    severity: high\n";

fn table(observe: bool) -> Table {
    let mut table = parse("t.yaml", ARTICLE).unwrap().compile(&Variables::default()).unwrap();
    table.kernel.observe = u8::from(observe);
    table
}

pub fn unlink(argument: &[u8], base: Option<&[u8]>, result: i64) -> Seen {
    Seen {
        agent: 1,
        key: AttemptKey { task: 1, seq: 1, tid: 1 },
        attempt: Attempt {
            at: 1,
            syscall: "unlinkat",
            compat: false,
            action: Action::FileDelete,
            actions: vec![Action::FileDelete],
            argument: Some(argument.to_vec()),
            argument2: None,
            argument_read: ArgumentRead::Entry,
            directory: None,
            directory2: None,
            object: None,
            object2: None,
            capability: None,
            end: End::Returned(result),
            pid: 1,
            tid: 1,
            exe_chain: Vec::new(),
            argv: None,
            parameters: Vec::new(),
            credentials: Credentials { uid: 0, gid: 0, euid: 0, egid: 0, caps: 0 },
            late: false,
            incomplete: Vec::new(),
        },
        means: vec![(Action::FileDelete, Operand::First)],
        base: base.map(<[u8]>::to_vec),
        base2: None,
        hooks: Vec::new(),
        generation: 0,
        execed: None,
        answered: Vec::new(),
    }
}

pub fn compiled(text: &str) -> Table {
    parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap()
}

fn standing(mode: Mode) -> Standing {
    Standing { mode, degraded: false, notes: Vec::new(), hooks: Vec::new() }
}

fn told(seen: &Seen, observe: bool, mode: Mode) -> (Verdict, Enforcement, Judged, String) {
    let (judgement, _) = judge(seen, &table(observe), &standing(mode), &NOW);
    (judgement.verdict, judgement.enforcement, judgement.judged, judgement.rule_id)
}

const NOW: Circumstances<'static> = Circumstances::PLAIN;
const RULE: &str = "RULE_FILE_DELETE_BLOCK";

#[test]
fn what_no_hook_saw_is_judged_on_the_argument() {
    use Enforcement::{NotReached, Passed, WouldBlock};
    use Verdict::{Allow, Deny};
    for (argument, base, result, mode, verdict, enforcement, rule) in [
        (&b"/etc/x"[..], None, -2, Mode::Lsm, Deny, NotReached, RULE),
        (b"/etc/x", None, -2, Mode::Observe, Deny, NotReached, RULE),
        (b"/etc/x", None, 0, Mode::Observe, Deny, WouldBlock, RULE),
        // It happened although it should not have: not told as blocked.
        (b"/etc/x", None, 0, Mode::Lsm, Deny, Passed, RULE),
        (b"/tmp/x", None, -2, Mode::Lsm, Allow, Passed, "RULE_DEFAULT"),
        (b"/tmpfoo", None, -2, Mode::Lsm, Deny, NotReached, RULE),
        // In a chroot.
        (b"/tmp/x", Some(&b"/jail"[..]), -2, Mode::Observe, Deny, NotReached, RULE),
        (b"/../x", Some(&b"/tmp/jail"[..]), -2, Mode::Observe, Allow, Passed, "RULE_DEFAULT"),
        (b"x", Some(&b"/tmp/d"[..]), -2, Mode::Lsm, Allow, Passed, "RULE_DEFAULT"),
        (b"../../etc/x", Some(b"/tmp/d"), -2, Mode::Lsm, Deny, NotReached, RULE),
        // Relative to nobody knows what: on_unknown.
        (b"x", None, -2, Mode::Lsm, Deny, NotReached, "RULE_UNKNOWN"),
    ] {
        let seen = unlink(argument, base, result);
        let expected = (verdict, enforcement, Judged::Argument, rule.to_owned());
        assert_eq!(told(&seen, false, mode), expected, "{seen:?}");
    }
}

#[test]
fn a_denial_is_explained_and_the_default_is_not() {
    let reason = |argument| judge(&unlink(argument, None, -2), &table(false), &standing(Mode::Lsm), &NOW).0.reason;
    assert_eq!(reason(b"/tmp/a/long/name"), ALLOWED_BY_DEFAULT);
    let denied = reason(b"/etc/a/long/name");
    assert!(denied.contains("/etc/a/long/name") && denied.contains(RULE), "{denied}");
}

#[test]
fn the_argument_is_judged_by_the_program_that_the_process_table_knows() {
    let text = "version: 1\nrules:\n  - {id: A, deny: file.delete, exe: { not: /bin/rm }}\n";
    let table = compiled(text);
    let rule = |chain: &[&[u8]]| {
        let mut seen = unlink(b"/x", None, -2);
        seen.attempt.exe_chain = chain.iter().map(|exe| exe.to_vec()).collect();
        judge(&seen, &table, &standing(Mode::Lsm), &NOW).0.rule_id
    };
    assert_eq!(rule(&[b"/bin/rm", b"/bin/sh"]), "RULE_DEFAULT");
    assert_eq!(rule(&[b"/bin/sh", b"/bin/rm"]), "A");
    assert_eq!(rule(&[b"memfd:x"]), "A");
    assert_eq!(rule(&[]), "RULE_UNKNOWN");
}

fn hook(effect: u8, rule: Option<u16>, blocked: bool) -> HookVerdict {
    HookVerdict {
        action: Action::FileDelete,
        effect,
        rule,
        would: None,
        unknown: false,
        blocked,
        written: false,
        program_unknown: false,
        by_program: false,
        watched: Vec::new(),
        object: None,
    }
}

#[test]
fn the_kernels_verdict_stands() {
    let mut seen = unlink(b"/tmp/link", None, -13);
    seen.attempt.object = Some(b"/etc/x".to_vec());
    seen.hooks = vec![hook(effect::ALLOW, None, false), hook(effect::DENY, Some(0), true)];
    let expected = (Verdict::Deny, Enforcement::Blocked, Judged::Kernel, RULE.to_owned());
    assert_eq!(told(&seen, false, Mode::Lsm), expected);

    seen.hooks = vec![hook(effect::DENY, Some(0), false)];
    seen.attempt.end = End::Returned(0);
    let expected = (Verdict::Deny, Enforcement::WouldBlock, Judged::Kernel, RULE.to_owned());
    assert_eq!(told(&seen, true, Mode::Lsm), expected);

    // The guard's rules are no policy's.
    seen.hooks = vec![hook(effect::ALLOW, None, false), hook(effect::DENY, Some(Guard::Own.rule()), true)];
    let expected = (Verdict::Deny, Enforcement::Blocked, Judged::Kernel, "GUARD_SELF".to_owned());
    assert_eq!(told(&seen, false, Mode::Lsm), expected);
    seen.hooks = vec![hook(effect::DENY, Some(0), false)];

    // Refused by the file's own permissions behind a hook that only observed, and would have been the first.
    seen.attempt.end = End::Returned(-1);
    assert_eq!(told(&seen, true, Mode::Lsm).1, Enforcement::WouldBlock);
}

/// What was written may have changed since.
#[test]
fn where_a_connection_goes_is_told_as_the_hook_had_it() {
    let text = "version: 1\nrules:\n  - {id: A, deny: net.connect, to: '10.0.0.0/8'}\n";
    let table = compiled(text);
    let mut seen = unlink(b"1.2.3.4:80", None, -13);
    seen.attempt.action = Action::NetConnect;
    seen.hooks = vec![HookVerdict {
        action: Action::NetConnect,
        object: Some(b"10.0.0.1:443".to_vec()),
        ..hook(effect::DENY, Some(0), true)
    }];
    seen.means = vec![(Action::NetConnect, Operand::First)];
    let reason = judge(&seen, &table, &standing(Mode::Lsm), &NOW).0.reason;
    assert!(reason.contains("net.connect to 10.0.0.1:443"), "{reason}");
}

#[test]
fn a_call_that_goes_on_is_not_refused() {
    for (result, enforcement) in [
        (-libc::EINPROGRESS, Enforcement::WouldBlock),
        (-libc::EALREADY, Enforcement::WouldBlock),
        (-libc::ECONNREFUSED, Enforcement::NotReached),
    ] {
        let seen = unlink(b"/etc/x", None, i64::from(result));
        assert_eq!(told(&seen, true, Mode::Observe).1, enforcement, "{result}");
    }
}

#[test]
fn nobody_has_written_what_is_not_there() {
    let text = "version: 1\nrules:\n  - id: OWN\n    deny: file.delete\n    path: { written_by_agent: true }\n";
    let table = compiled(text);
    let rule = |seen: &Seen| judge(seen, &table, &standing(Mode::Lsm), &NOW).0.rule_id;
    assert_eq!(rule(&unlink(b"/tmp/x", None, -2)), "RULE_DEFAULT");
    // Refused by its permissions: no hook saw it.
    assert_eq!(rule(&unlink(b"/tmp/x", None, -13)), "RULE_UNKNOWN");
    let mut seen = unlink(b"/tmp/x", None, -13);
    seen.hooks = vec![HookVerdict { written: true, ..hook(effect::DENY, Some(0), true) }];
    assert_eq!(rule(&seen), "OWN");
}

#[test]
fn a_pending_denial_is_no_refusal_yet() {
    let mut seen = unlink(b"/etc/x", None, 0);
    seen.attempt.end = End::Pending;
    assert_eq!(told(&seen, true, Mode::Lsm).1, Enforcement::WouldBlock);
    seen.attempt.end = End::Killed;
    assert_eq!(told(&seen, true, Mode::Lsm).1, Enforcement::NotReached);
}

/// Nobody listened there, so no hook came to see a socket.
#[test]
fn a_socket_that_was_not_found_is_judged_by_its_name_as_written() {
    let text = "version: 1\nrules:\n  - { id: A, deny: net.connect, unix: ['/run/**', '@x/*'] }\n  - { id: B, deny: net.connect, to: { not: 1.2.3.4 } }\n";
    let table = compiled(text);
    for (argument, rule) in [
        (&b"/run/a/../x"[..], "A"),
        (b"/tmp/x", "RULE_DEFAULT"),
        (b"@x/y", "A"),
        (b"@/run/x", "RULE_DEFAULT"),
        (b"x", "RULE_UNKNOWN"),
        (b"unix:", "RULE_DEFAULT"),
        (b"netlink:0", "RULE_DEFAULT"),
        (b"4.3.2.1:80", "B"),
    ] {
        let mut seen = unlink(argument, None, -2);
        seen.attempt.action = Action::NetConnect;
        seen.means = vec![(Action::NetConnect, Operand::First)];
        let (judgement, _) = judge(&seen, &table, &standing(Mode::Lsm), &NOW);
        let argument = String::from_utf8_lossy(argument);
        assert_eq!((judgement.rule_id.as_str(), judgement.judged), (rule, Judged::Argument), "{argument}");
    }
}

/// What a hook could not place is no address that a rule could ask for.
#[test]
fn a_socket_of_unknown_place_is_told_as_one() {
    let text = "version: 1\nrules:\n  - { id: B, deny: net.connect, to: { not: 1.2.3.4 } }\n  - { id: A, deny: net.connect, unix: /run/** }\n";
    let table = compiled(text);
    let mut seen = unlink(b"/run/x", None, -13);
    seen.attempt.action = Action::NetConnect;
    seen.means = vec![(Action::NetConnect, Operand::First)];
    let object = Some(b"foreign:/x".to_vec());
    seen.hooks =
        vec![HookVerdict { action: Action::NetConnect, unknown: true, object, ..hook(effect::DENY, None, true) }];
    let (judgement, _) = judge(&seen, &table, &standing(Mode::Lsm), &NOW);
    assert_eq!((judgement.rule_id.as_str(), judgement.judged), ("RULE_UNKNOWN", Judged::Kernel));
    assert_eq!(
        judgement.reason,
        "net.connect to a unix socket whose place is unknown: A asks for its place, on_unknown denies"
    );
}
