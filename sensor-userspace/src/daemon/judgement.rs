//! The verdict on an attempt: the kernel's where a hook judged it, else by the argument as written.

use super::argument::{from_argument, numbered, reached};
use crate::attempt::{Approval, End, Enforcement, Judged, Judgement, Mode, Verdict};
use crate::kernel::{Seen, Standing};
use crate::policy::{
    Circumstances, Consequences, Decision, Holds, KernelHit, Numbered, Object, Program, RULE_DEFAULT, Table, Written,
    reaches_sockets,
};

/// The reason that says no more than it must.
const ALLOWED_BY_DEFAULT: &str = "no rule matches";

pub fn judge(seen: &Seen, table: &Table, standing: &Standing, how: &Circumstances) -> (Judgement, Consequences) {
    // As the process table has it: the program's name within the process's own mounts.
    let program = Program::of(seen.attempt.exe_chain.first().map(Vec::as_slice));
    // And what its file holds as of now nobody has asked: the table's word is a moment's.
    let how = &Circumstances { program, holds: Holds::Unknown, program_holds: Holds::Unknown, ..*how };
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
    let mode = standing.mode_of(table);
    let consequences = table.consequences(&decision);
    // Nearly every record is one of these: what was attempted stands in it already.
    let by_default = decision.rule_id == RULE_DEFAULT && decision.verdict == Verdict::Allow;
    let mut reason = if by_default { ALLOWED_BY_DEFAULT.to_owned() } else { decision.reason };
    if let Some((verdict, rule)) = &decision.would {
        reason.push_str(&format!("; {rule}, which only observes, would have said {}", verdict.name()));
    }
    let approval = decision.rule.and_then(|rule| table.approval_of(rule));
    let judgement = Judgement {
        verdict: decision.verdict,
        enforcement: enforcement(decision.verdict, blocked, mode == Mode::Observe, judged, seen.attempt.end),
        mode,
        degraded: standing.degraded,
        rule_id: decision.rule_id,
        reason,
        judged,
        severity: decision.severity,
        host: host(seen, table),
        policy_hash: table.hash.clone(),
        watched: decision.watched.iter().filter_map(|rule| Some(table.rules.get(*rule)?.id.clone())).collect(),
        labels: consequences.labels.iter().filter_map(|(label, _)| table.labels.get(*label).cloned()).collect(),
        risk_added: consequences.risk,
        approval: approval.map(|asked| Approval { given: !asked.not, names: asked.words.clone(), id: None }),
    };
    (judgement, consequences)
}

fn enforcement(verdict: Verdict, blocked: bool, observing: bool, judged: Judged, end: End) -> Enforcement {
    if blocked {
        return Enforcement::Blocked;
    }
    match verdict {
        Verdict::Allow => Enforcement::Passed,
        // The hook that said so was reached: what the kernel refused, it refused afterwards.
        Verdict::Deny | Verdict::Challenge if observing && judged == Judged::Kernel => Enforcement::WouldBlock,
        Verdict::Deny | Verdict::Challenge if end.is_refused() || end == End::Killed => Enforcement::NotReached,
        Verdict::Deny | Verdict::Challenge if observing => Enforcement::WouldBlock,
        // It went by the hooks and took place: the record must not look better than that.
        Verdict::Deny | Verdict::Challenge => Enforcement::Passed,
    }
}

/// The policy's names of where it went: as a hook had it, else as written.
fn host(seen: &Seen, table: &Table) -> Option<String> {
    if table.named.is_empty() && seen.answered.is_empty() {
        return None;
    }
    let resolved = table.named.get(&seen.address()?).into_iter().flat_map(|names| names.split(','));
    let mut names: Vec<&str> = resolved.chain(seen.answered.iter().map(String::as_str)).collect();
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(","))
}

/// Deny over challenge over allow among what the hooks found; none if no hook saw the attempt.
fn from_hooks(seen: &Seen, table: &Table, how: &Circumstances) -> Option<Decision> {
    let decisions = seen.hooks.iter().map(|hook| {
        let object = match hook.object.as_deref() {
            // What has a place, and is reached over the network.
            _ if hook.unknown && reaches_sockets(hook.action) => Object::UnknownSocket,
            // It is known where it lies, and not what it holds.
            Some(name) if hook.unknown && table.is_pinned(Object::of(Some(name))) => Object::of(Some(name)),
            _ if hook.unknown => Object::Unknown,
            Some(name) if Numbered::of(hook.action).is_some() => numbered(hook.action, name),
            // What a hook gave no name has none.
            None => Object::None,
            Some(name) => reached(name),
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

#[cfg(test)]
#[path = "judgement/tests.rs"]
pub(super) mod tests;
