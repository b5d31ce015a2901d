//! The verdict on an attempt: the kernel's where a hook judged it, else by the argument as written.

use std::net::{IpAddr, SocketAddr};

use sensor_common::action::Action;

use crate::attempt::{Approval, Attempt, End, Enforcement, Judged, Judgement, Mode, Verdict};
use crate::kernel::{Operand, Seen, Standing};
use crate::policy::{
    Circumstances, Consequences, Decision, KernelHit, Numbered, Object, Program, RULE_DEFAULT, Table, Written, place,
    reaches_sockets,
};

/// The reason that says no more than it must.
const ALLOWED_BY_DEFAULT: &str = "no rule matches";

pub fn judge(seen: &Seen, table: &Table, standing: &Standing, how: &Circumstances) -> (Judgement, Consequences) {
    // As the process table has it: the program's name within the process's own mounts.
    let program = Program::of(seen.attempt.exe_chain.first().map(Vec::as_slice));
    let how = &Circumstances { program, ..*how };
    // What hooks did not come to see of it is judged like what they never see.
    let (decision, judged) = match (from_hooks(seen, table, how), from_argument(seen, table, how)) {
        (Some(hooks), Some(rest)) => {
            let kernel = hooks.verdict;
            let strictest = Decision::strictest([hooks.clone(), rest]).unwrap_or(hooks);
            let judged = if strictest.verdict == kernel { Judged::Kernel } else { Judged::Argument };
            (strictest, judged)
        }
        (Some(hooks), None) => (hooks, Judged::Kernel),
        (None, rest) => (rest.unwrap_or_else(|| table.judge(&[], how)), Judged::Argument),
    };
    let blocked = seen.hooks.iter().any(|hook| hook.blocked);
    let observing = decision.observe || standing.mode == Mode::Observe;
    let consequences = table.consequences(&decision);
    // Nearly every record is one of these: what was attempted stands in it already.
    let by_default = decision.rule_id == RULE_DEFAULT && decision.verdict == Verdict::Allow;
    let mut reason = if by_default {
        ALLOWED_BY_DEFAULT.to_owned()
    } else {
        decision.reason
    };
    if let Some((verdict, rule)) = &decision.would {
        reason.push_str(&format!(
            "; {rule}, which only observes, would have said {}",
            verdict.name()
        ));
    }
    let approval = decision.rule.and_then(|rule| table.approval_of(rule));
    let judgement = Judgement {
        verdict: decision.verdict,
        enforcement: enforcement(decision.verdict, blocked, observing, seen.attempt.end),
        mode: standing.mode,
        degraded: standing.degraded,
        rule_id: decision.rule_id,
        reason,
        judged,
        severity: decision.severity,
        host: match destination(&seen.attempt, b"") {
            Object::Address { address, .. } => table.named.get(&address).cloned(),
            _ => None,
        },
        policy_hash: table.hash.clone(),
        watched: decision.watched.iter().filter_map(|rule| Some(table.rules.get(*rule)?.id.clone())).collect(),
        labels: consequences.labels.iter().filter_map(|(label, _)| table.labels.get(*label).cloned()).collect(),
        risk_added: consequences.risk,
        approval: approval.map(|asked| Approval { given: !asked.not, names: asked.words.clone(), id: None }),
    };
    (judgement, consequences)
}

fn enforcement(verdict: Verdict, blocked: bool, observing: bool, end: End) -> Enforcement {
    if blocked {
        return Enforcement::Blocked;
    }
    let refused = match end {
        End::Returned(result) => result < 0,
        End::Killed => true,
        End::Unknown | End::Pending => false,
    };
    match verdict {
        Verdict::Allow => Enforcement::Passed,
        Verdict::Deny | Verdict::Challenge if refused => Enforcement::NotReached,
        Verdict::Deny | Verdict::Challenge if observing => Enforcement::WouldBlock,
        // It went by the hooks and took place: the record must not look better than that.
        Verdict::Deny | Verdict::Challenge => Enforcement::Passed,
    }
}

/// Deny over challenge over allow among what the hooks found; none if no hook saw the attempt.
fn from_hooks(seen: &Seen, table: &Table, how: &Circumstances) -> Option<Decision> {
    let decisions = seen.hooks.iter().map(|hook| {
        let object = match hook.object.as_deref() {
            // What has a place, and is reached over the network.
            _ if hook.unknown && reaches_sockets(hook.action) => Object::UnknownSocket,
            _ if hook.unknown => Object::Unknown,
            Some(name) if Numbered::of(hook.action).is_some() => numbered(hook.action, name),
            // What a hook gave no name has none: an address, a signal.
            None => Object::None,
            named => Object::of(named),
        };
        let hit = KernelHit {
            rule: hook.rule,
            effect: hook.effect,
            unknown: hook.unknown,
            would: hook.would,
            watched: hook.watched.clone(),
            program_unknown: hook.program_unknown,
            by_program: hook.by_program,
        };
        let written = if hook.written { Written::Yes } else { Written::No };
        table.decision_from_kernel(hit, hook.action, object, &Circumstances { written, ..*how })
    });
    Decision::strictest(decisions)
}

/// What is left to the argument; none if hooks judged every action.
fn from_argument(seen: &Seen, table: &Table, how: &Circumstances) -> Option<Decision> {
    let attempt = &seen.attempt;
    let resolve = |argument: Option<&Vec<u8>>, base: Option<&Vec<u8>>| {
        let base = base.map_or(&b""[..], Vec::as_slice);
        argument.and_then(|argument| place::resolve(base, argument))
    };
    let first = resolve(attempt.argument.as_ref(), seen.base.as_ref());
    let second = resolve(attempt.argument2.as_ref(), seen.base2.as_ref());
    let has_second = attempt.argument2.is_some() || seen.base2.is_some();
    let named = |resolved: Option<&Vec<u8>>, object: Option<&Vec<u8>>| match resolved.or(object) {
        Some(path) => path.clone(),
        None => Vec::new(),
    };
    let (first, second) = (
        named(first.as_ref(), attempt.object.as_ref()),
        named(second.as_ref(), attempt.object2.as_ref()),
    );
    let first = if has_place(attempt) {
        place(&first)
    } else if let (Some(_), Some(argument)) = (Numbered::of(attempt.action), &attempt.argument) {
        numbered(attempt.action, argument)
    } else {
        destination(attempt, &first)
    };
    let second = has_second
        .then(|| place(&second))
        .filter(|_| has_place(attempt));
    let left = seen.means.iter().filter(|(action, _)| !seen.hooks.iter().any(|hook| hook.action == *action));
    let meant = left.map(|(action, operand)| {
        let object = match operand {
            Operand::First => first,
            Operand::Second => second.unwrap_or(first),
        };
        (*action, object)
    });
    let meant: Vec<_> = meant.collect();
    let how = Circumstances { written: written(seen), ..*how };
    (!meant.is_empty()).then(|| table.judge(&meant, &how))
}

/// No hook saw the object, so nobody looked it up among what the run has written. Nobody has written what is not there.
fn written(seen: &Seen) -> Written {
    const NOT_THERE: [i32; 4] = [libc::ENOENT, libc::ENOTDIR, libc::ELOOP, libc::ENAMETOOLONG];
    match seen.attempt.end {
        End::Returned(result) if seen.hooks.is_empty() && NOT_THERE.iter().any(|errno| result == -i64::from(*errno)) => {
            Written::No
        }
        _ => Written::Unknown,
    }
}

/// How an address is written that is neither of IP nor a unix socket's name.
const OTHERS: [&[u8]; 5] = [b"unix:", b"unspec:", b"netlink:", b"vsock:", b"family:"];

/// Where a network action goes, by the address as written; `path` is what that is as a path.
fn destination<'a>(attempt: &'a Attempt, path: &'a [u8]) -> Object<'a> {
    if !attempt.action.verb().starts_with("net.") {
        return Object::None;
    }
    let Some(argument) = &attempt.argument else {
        // A send without an address goes to the socket's peer, which the argument does not tell.
        return match attempt.action {
            Action::NetConnect | Action::NetBind => Object::Unknown,
            _ => Object::OtherSocket,
        };
    };
    match std::str::from_utf8(argument).ok().and_then(|text| text.parse::<SocketAddr>().ok()) {
        Some(to) => {
            let address = match to.ip() {
                IpAddr::V4(address) => address.to_ipv6_mapped(),
                IpAddr::V6(address) => address,
            };
            Object::Address { address: address.octets(), port: to.port(), protocol: 0 }
        }
        None => match argument.as_slice() {
            [b'@', name @ ..] => Object::Abstract(name),
            [b'/', ..] => place(path),
            argument if OTHERS.iter().any(|other| argument.starts_with(other)) => Object::OtherSocket,
            // Relative, to a directory that is not told.
            _ => Object::UnknownSocket,
        },
    }
}

/// A signal or a capability by its name; what is none matches no rule that asks for one.
fn numbered(action: Action, name: &[u8]) -> Object<'static> {
    let text = std::str::from_utf8(name).ok();
    let which = Numbered::of(action).zip(text).and_then(|(kind, text)| kind.parse(text));
    which.map_or(Object::None, Object::Number)
}

/// Empty: it could not be resolved.
fn place(path: &[u8]) -> Object<'_> {
    if path.is_empty() {
        Object::Unknown
    } else {
        Object::of(Some(path))
    }
}

/// Whether the attempt is about a place in the filesystem at all.
fn has_place(attempt: &Attempt) -> bool {
    match attempt.action {
        Action::FileRead
        | Action::FileWrite
        | Action::FileCreate
        | Action::FileDelete
        | Action::FileRename
        | Action::FileLink
        | Action::FileAttr
        | Action::FileMapExec
        | Action::DirList
        | Action::ProcExec => true,
        Action::SysMount | Action::SysNamespace => attempt.argument.is_some(),
        Action::NetConnect
        | Action::NetSend
        | Action::NetBind
        | Action::NetListen
        | Action::ProcSignal
        | Action::ProcPtrace
        | Action::SysBpf
        | Action::SysModule
        | Action::SysCgroup
        | Action::SysIoUring
        | Action::SysSetuid
        | Action::ProcControl
        | Action::SysPerf
        | Action::SysMachine
        | Action::SysCapability => false,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use sensor_common::{guard::Guard, table::effect};

    use super::*;
    use crate::attempt::{ArgumentRead, Credentials};
    use crate::kernel::{AttemptKey, HookVerdict};
    use crate::policy::{Variables, parse};

    const ARTICLE: &str = "version: 1\nname: article\nmode: enforce\ndefault: allow\non_unknown: deny\nrules:\n  \
        - id: RULE_FILE_DELETE_BLOCK\n    deny: file.delete\n    path: { not: [\"/tmp/**\"] }\n    severity: high\n";

    fn table(observe: bool) -> Table {
        let mut table = parse("t.yaml", ARTICLE)
            .unwrap()
            .compile(&Variables::default())
            .unwrap();
        table.kernel.observe = u8::from(observe);
        table
    }

    pub fn unlink(argument: &[u8], base: Option<&[u8]>, result: i64) -> Seen {
        Seen {
            agent: 1,
            key: AttemptKey {
                task: 1,
                seq: 1,
                tid: 1,
            },
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
                credentials: Credentials {
                    uid: 0,
                    gid: 0,
                    euid: 0,
                    egid: 0,
                    caps: 0,
                },
                late: false,
                incomplete: Vec::new(),
            },
            means: vec![(Action::FileDelete, Operand::First)],
            base: base.map(<[u8]>::to_vec),
            base2: None,
            hooks: Vec::new(),
            generation: 0,
            execed: None,
        }
    }

    fn standing(mode: Mode) -> Standing {
        Standing {
            mode,
            degraded: false,
            notes: Vec::new(),
            hooks: Vec::new(),
        }
    }

    fn told(seen: &Seen, observe: bool, mode: Mode) -> (Verdict, Enforcement, Judged, String) {
        let (judgement, _) = judge(seen, &table(observe), &standing(mode), &NOW);
        (
            judgement.verdict,
            judgement.enforcement,
            judgement.judged,
            judgement.rule_id,
        )
    }

    const NOW: Circumstances<'static> =
        Circumstances { labels: 0, risk: 0, facts: 0, written: Written::No, program: Program::Unknown };
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
            (
                b"/tmp/x",
                None,
                -2,
                Mode::Lsm,
                Allow,
                Passed,
                "RULE_DEFAULT",
            ),
            (b"/tmpfoo", None, -2, Mode::Lsm, Deny, NotReached, RULE),
            // In a chroot.
            (b"/tmp/x", Some(&b"/jail"[..]), -2, Mode::Observe, Deny, NotReached, RULE),
            (b"/../x", Some(&b"/tmp/jail"[..]), -2, Mode::Observe, Allow, Passed, "RULE_DEFAULT"),
            (
                b"x",
                Some(&b"/tmp/d"[..]),
                -2,
                Mode::Lsm,
                Allow,
                Passed,
                "RULE_DEFAULT",
            ),
            (
                b"../../etc/x",
                Some(b"/tmp/d"),
                -2,
                Mode::Lsm,
                Deny,
                NotReached,
                RULE,
            ),
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
        let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
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
        seen.hooks = vec![
            hook(effect::ALLOW, None, false),
            hook(effect::DENY, Some(0), true),
        ];
        let expected = (
            Verdict::Deny,
            Enforcement::Blocked,
            Judged::Kernel,
            RULE.to_owned(),
        );
        assert_eq!(told(&seen, false, Mode::Lsm), expected);

        seen.hooks = vec![hook(effect::DENY, Some(0), false)];
        seen.attempt.end = End::Returned(0);
        let expected = (
            Verdict::Deny,
            Enforcement::WouldBlock,
            Judged::Kernel,
            RULE.to_owned(),
        );
        assert_eq!(told(&seen, true, Mode::Lsm), expected);

        // The guard's rules are no policy's.
        seen.hooks = vec![hook(effect::ALLOW, None, false), hook(effect::DENY, Some(Guard::Own.rule()), true)];
        let expected = (Verdict::Deny, Enforcement::Blocked, Judged::Kernel, "GUARD_SELF".to_owned());
        assert_eq!(told(&seen, false, Mode::Lsm), expected);
        seen.hooks = vec![hook(effect::DENY, Some(0), false)];

        // Refused by the file's own permissions behind a hook that only observed.
        seen.attempt.end = End::Returned(-1);
        assert_eq!(told(&seen, true, Mode::Lsm).1, Enforcement::NotReached);
    }

    #[test]
    fn nobody_has_written_what_is_not_there() {
        let text = "version: 1\nrules:\n  - id: OWN\n    deny: file.delete\n    path: { written_by_agent: true }\n";
        let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
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
        let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
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
        let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
        let mut seen = unlink(b"/run/x", None, -13);
        seen.attempt.action = Action::NetConnect;
        seen.means = vec![(Action::NetConnect, Operand::First)];
        let object = Some(b"foreign:/x".to_vec());
        seen.hooks = vec![HookVerdict { action: Action::NetConnect, unknown: true, object, ..hook(effect::DENY, None, true) }];
        let (judgement, _) = judge(&seen, &table, &standing(Mode::Lsm), &NOW);
        assert_eq!((judgement.rule_id.as_str(), judgement.judged), ("RULE_UNKNOWN", Judged::Kernel));
        assert_eq!(judgement.reason, "net.connect to a unix socket whose place is unknown: A asks for its place, on_unknown denies");
    }
}
