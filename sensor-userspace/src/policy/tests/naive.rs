//! A reader of policies that goes rule by rule over what was written, without any table: what the
//! table is held against, and what runs the cases of policies.

use sensor_common::action::Action;

use crate::attempt::Verdict;
use crate::policy::language::SetId;
use crate::policy::sensitivity::Level;
use crate::policy::{
    AddressTest, Circumstances, Counted, Digest, Effect, Fallback, Holds, Limits, NumberTest, Object, PathTest, Policy,
    Program, ProgramTest, RULE_DEFAULT, RULE_UNKNOWN, Rule, Variables, When, Written,
};

/// What comes of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub verdict: Verdict,
    pub rule: String,
    /// The names of the labels that are set if the action goes ahead, sorted.
    pub labels: Vec<String>,
    pub risk: i32,
    pub watched: Vec<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Fits {
    Yes,
    No,
    Unknown,
}

/// Deny over challenge over allow; consequences once an attempt.
pub fn judge(policy: &Policy, variables: &Variables, attempt: &[(Action, Object<'_>)], now: &Circumstances) -> Found {
    let strictness = |verdict: Verdict| match verdict {
        Verdict::Allow => 0,
        Verdict::Challenge => 1,
        Verdict::Deny => 2,
    };
    let mut found: Option<(Verdict, String)> = None;
    let mut consequences: Vec<&Rule> = Vec::new();
    let mut watched = Vec::new();
    for (action, object) in attempt {
        let (object, now) =
            (&as_known(policy, variables, *action, *object, now), &with_program_as_known(policy, variables, now));
        let (verdict, rule, name) = decide(policy, variables, *action, object, now);
        if found.as_ref().is_none_or(|(known, _)| strictness(verdict) > strictness(*known)) {
            found = Some((verdict, name));
        }
        let watching = policy.rules.iter().filter(|rule| rule.effect == Effect::Watch);
        let watching = watching.filter(|rule| match fits(policy, variables, rule, *action, object, now) {
            Fits::Yes => true,
            Fits::No => false,
            Fits::Unknown => policy.on_unknown == Fallback::Deny && is_on_its_side(policy, rule, now),
        });
        for rule in watching.chain(rule) {
            if !consequences.iter().any(|known| known.id == rule.id) {
                consequences.push(rule);
                watched.extend((rule.effect == Effect::Watch).then(|| rule.id.clone()));
            }
        }
    }
    let (verdict, rule) = found.unwrap_or_else(|| (policy.default.verdict(), RULE_DEFAULT.to_owned()));
    let set = consequences.iter().flat_map(|rule| &rule.labels);
    let mut labels: Vec<String> = set.map(|set| policy.labels[set.label].clone()).collect();
    labels.sort();
    labels.dedup();
    // A refusal that risk has caused does not raise it.
    let refusal = |rule: &Rule| matches!(rule.effect, Effect::Deny | Effect::Challenge);
    let raising = consequences.iter().filter(|rule| !(refusal(rule) && rule.when.risk.is_some()));
    let risk = raising.map(|rule| i32::from(rule.risk)).sum();
    Found { verdict, rule, labels, risk, watched }
}

/// A file whose contents some rule asks for, and nobody knows, may be any.
fn as_known<'a>(
    policy: &Policy,
    variables: &Variables,
    action: Action,
    object: Object<'a>,
    now: &Circumstances,
) -> Object<'a> {
    let Object::Path(path) = object else { return object };
    let runs = matches!(action, Action::ProcExec | Action::FileMapExec);
    let asks = |rule: &&Rule| {
        let counts = rule.when.limit.is_some_and(|limit| limit.of == Counted::Objects);
        rule.actions & action.bit() != 0 && (!rule.path.sets().is_empty() || rule.when.sensitivity != 0 || counts)
    };
    let unknown = runs && !matches!(now.holds, Holds::This(_)) && policy.rules.iter().any(|rule| asks(&rule));
    let places = policy.rules.iter().map(|rule| rule.path.sets());
    if unknown && is_pinned(policy, variables, places, path) { Object::Unknown } else { object }
}

fn with_program_as_known<'a>(policy: &Policy, variables: &Variables, now: &Circumstances<'a>) -> Circumstances<'a> {
    let Program::Path(path) = now.program else { return *now };
    let places = policy.rules.iter().map(|rule| rule.exe.sets());
    let unknown = !matches!(now.program_holds, Holds::This(_)) && is_pinned(policy, variables, places, path);
    Circumstances { program: if unknown { Program::Unknown } else { now.program }, ..*now }
}

fn is_pinned<'a>(
    policy: &Policy,
    variables: &Variables,
    places: impl Iterator<Item = &'a [SetId]>,
    path: &[u8],
) -> bool {
    let mut patterns = places.flatten().flat_map(|set| &policy.sets[*set]);
    patterns.any(|pattern| pattern.digest.is_some() && pattern.matches_path(variables, path))
}

fn decide<'a>(
    policy: &'a Policy,
    variables: &Variables,
    action: Action,
    object: &Object<'_>,
    now: &Circumstances,
) -> (Verdict, Option<&'a Rule>, String) {
    for rule in policy.rules.iter().filter(|rule| !rule.observe) {
        let verdict = match rule.effect {
            Effect::Watch => continue,
            Effect::Allow => Verdict::Allow,
            Effect::Deny => Verdict::Deny,
            Effect::Challenge => Verdict::Challenge,
        };
        match fits(policy, variables, rule, action, object, now) {
            Fits::Yes => return (verdict, Some(rule), rule.id.clone()),
            Fits::Unknown => return (policy.on_unknown.verdict(), None, RULE_UNKNOWN.to_owned()),
            Fits::No => {}
        }
    }
    let named = policy.rules.iter().any(|rule| rule.actions & action.bit() != 0);
    let asked = action != Action::SysCapability || named;
    (if asked { policy.default.verdict() } else { Verdict::Allow }, None, RULE_DEFAULT.to_owned())
}

fn fits(
    policy: &Policy,
    variables: &Variables,
    rule: &Rule,
    action: Action,
    object: &Object<'_>,
    now: &Circumstances,
) -> Fits {
    if rule.actions & action.bit() == 0 || !holds(&rule.when, now) {
        return Fits::No;
    }
    let held = |sets: &[SetId], path: &[u8], holds: Holds| {
        let mut patterns = sets.iter().flat_map(|set| &policy.sets[*set]);
        let holds = |digest: Digest| matches!(holds, Holds::This(held) if held == digest);
        patterns.any(|pattern| pattern.matches_path(variables, path) && pattern.digest.is_none_or(holds))
    };
    let within = |sets: &[SetId], path: &[u8]| held(sets, path, now.holds);
    let is_program = |sets: &[SetId], path: &[u8]| held(sets, path, now.program_holds);
    let among = |sets: &[SetId], name: &[u8]| {
        let mut patterns = sets.iter().flat_map(|set| &policy.sets[*set]);
        patterns.any(|pattern| pattern.matches_abstract(name))
    };
    let path = match (&rule.path, object) {
        (PathTest::Any, _) => Fits::Yes,
        (PathTest::In(_) | PathTest::NotIn(_), Object::UnknownSocket) => Fits::Unknown,
        (PathTest::In(sets), Object::Abstract(name)) => yes(among(sets, name)),
        (PathTest::NotIn(sets), Object::Abstract(name)) => yes(!among(sets, name)),
        (PathTest::Written(wanted), object) => match (now.written, object) {
            (_, Object::Nameless(_)) | (Written::Yes, _) => yes(*wanted),
            (Written::Unknown, _) | (Written::No, Object::Unknown) => Fits::Unknown,
            (Written::No, _) => yes(!*wanted),
        },
        (_, Object::Unknown) => Fits::Unknown,
        (PathTest::In(sets), Object::Path(path)) => yes(within(sets, path)),
        (PathTest::NotIn(sets), Object::Path(path)) => yes(!within(sets, path)),
        (PathTest::NotIn(_), Object::Nameless(_)) => yes(matches!(action, Action::ProcExec | Action::FileMapExec)),
        _ => Fits::No,
    };
    let hosts = policy.stand_in_hosts();
    let to = match (&rule.to, object) {
        (AddressTest::Any, _) => Fits::Yes,
        (_, Object::Unknown) => Fits::Unknown,
        (AddressTest::In(all), Object::Address { address, port, protocol }) => {
            yes(all.iter().any(|one| one.holds(&hosts, address, *port, *protocol)))
        }
        (AddressTest::NotIn(all), Object::Address { address, port, protocol }) => {
            yes(!all.iter().any(|one| one.holds(&hosts, address, *port, *protocol)))
        }
        _ => Fits::No,
    };
    let exe = match (&rule.exe, now.program) {
        (ProgramTest::Any, _) => Fits::Yes,
        (_, Program::Unknown) => Fits::Unknown,
        (ProgramTest::In(sets), Program::Path(path)) => yes(is_program(sets, path)),
        (ProgramTest::NotIn(sets), Program::Path(path)) => yes(!is_program(sets, path)),
        (test, Program::Nameless) => yes(matches!(test, ProgramTest::NotIn(_))),
    };
    let number = match (rule.number, object) {
        (NumberTest::Any, _) => Fits::Yes,
        (_, Object::Unknown) => Fits::Unknown,
        (NumberTest::In(bits), Object::Number(which)) => yes(bits >> (which - 1) & 1 == 1),
        (NumberTest::NotIn(bits), Object::Number(which)) => yes(bits >> (which - 1) & 1 == 0),
        _ => Fits::No,
    };
    let level = match (rule.when.sensitivity, object) {
        (0, _) => Fits::Yes,
        (_, Object::Unknown | Object::UnknownSocket) => Fits::Unknown,
        (asked, object) => {
            let is_of = |level: &&Level| match object {
                Object::Path(path) => within(&level.paths, path),
                Object::Address { address, port, protocol } => {
                    level.to.iter().any(|to| to.holds(&hosts, address, *port, *protocol))
                }
                _ => false,
            };
            let placed = matches!(object, Object::Path(_) | Object::Abstract(_)) && action != Action::NetBind;
            let has_one = placed || matches!(object, Object::Address { .. });
            let level = policy.levels.iter().rposition(|level| is_of(&level)).unwrap_or(0);
            yes(has_one && asked >> level & 1 == 1)
        }
    };
    let all = [path, to, number, exe, level];
    let worst = [Fits::No, Fits::Unknown].into_iter().find(|worst| all.contains(worst));
    worst.unwrap_or_else(|| yes(is_on_its_side(policy, rule, now)))
}

fn is_on_its_side(policy: &Policy, rule: &Rule, now: &Circumstances) -> bool {
    let (Some(limit), Limits::Given(bits)) = (rule.when.limit, now.limits) else { return true };
    let limited = policy.rules.iter().filter(|rule| rule.when.limit.is_some());
    let index = limited.take_while(|other| other.id != rule.id).count();
    (bits >> index & 1 == 1) == limit.beyond
}

fn yes(fits: bool) -> Fits {
    if fits { Fits::Yes } else { Fits::No }
}

fn holds(when: &When, now: &Circumstances) -> bool {
    let has = |label: &usize| now.labels >> label & 1 == 1;
    (when.labels_any.is_empty() || when.labels_any.iter().any(has))
        && !when.labels_none.iter().any(has)
        && when.risk.is_none_or(|(low, high)| (low..=high).contains(&now.risk))
        && when.facts.iter().all(|fact| now.facts >> fact & 1 == 1)
}

/// Runs a policy's own cases; those that fail, told.
pub fn failures(policy: &Policy) -> Vec<String> {
    let variables = Variables::default().or_stand_ins();
    let run = |case: &crate::policy::Case| {
        let (path, path2) = case.paths(&variables);
        let exe = case.program(&variables);
        let attempts = case.attempts(path.as_deref(), path2.as_deref(), &policy.stand_in_hosts());
        attempts.into_iter().find_map(|attempt| {
            let now = Circumstances { program: Program::of(exe.as_deref()), ..policy.circumstances(case) };
            let found = judge(policy, &variables, &attempt, &now);
            let passed = found.verdict == case.verdict && case.rule.as_ref().is_none_or(|rule| *rule == found.rule);
            (!passed).then(|| format!("line {}: {:?} gives {found:?}", case.at.line, case.name))
        })
    };
    policy.cases.iter().filter_map(run).collect()
}

#[test]
fn consequences_are_those_of_the_deciding_rule_and_of_all_that_watch() {
    let text = "version: 1\nrules:\n  - {id: A, watch: file.*, path: '**/.env', label: secret, risk: +20}\n  - {id: B, deny: file.delete, path: /a/**, risk: +5, label: gone}\n  - {id: C, watch: [file.read, file.write], risk: -3}\n  - {id: D, deny: net.connect, when: {label: [secret, gone]}}\n";
    let policy = crate::policy::parse("t.yaml", text).unwrap();
    let path = Object::Path(b"/a/.env");
    let variables = Variables::default();
    let attempt = [(Action::FileRead, path), (Action::FileWrite, path), (Action::FileDelete, path)];
    let found = judge(&policy, &variables, &attempt, &Circumstances::default());
    let wanted = Found {
        verdict: Verdict::Deny,
        rule: "B".to_owned(),
        labels: vec!["gone".to_owned(), "secret".to_owned()],
        risk: 22,
        watched: vec!["A".to_owned(), "C".to_owned()],
    };
    assert_eq!(found, wanted);
    let connect = [(Action::NetConnect, Object::None)];
    let marked = Circumstances { labels: 0b10, ..Circumstances::default() };
    assert_eq!(judge(&policy, &variables, &connect, &marked).rule, "D");
    assert_eq!(judge(&policy, &variables, &connect, &Circumstances::default()).rule, RULE_DEFAULT);
}
