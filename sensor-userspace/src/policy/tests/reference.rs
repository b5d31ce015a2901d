//! The judge against a naive reading of the same rules, on random policies and paths.

use std::fmt::Write;
use std::path::PathBuf;

use sensor_common::action::Action;

use super::Random;
use crate::attempt::Verdict;
use crate::policy::{Circumstances, Object, Policy, RULE_DEFAULT, RULE_UNKNOWN, Table, Variables, has_place, parse};

/// Of an agent that nothing is known of.
const NOW: Circumstances<'static> = Circumstances::PLAIN;

const NAMES: [&str; 6] = ["a", "b", "ab", "tmp", "a-name-of-more-than-sixteen-bytes", "ü x"];

/// A rule as the naive reader keeps it.
struct Naive {
    id: String,
    verdict: Verdict,
    actions: Vec<Action>,
    observe: bool,
    /// `not`, and the patterns.
    places: Option<(bool, Vec<String>)>,
}

struct Model {
    text: String,
    rules: Vec<Naive>,
    default: Verdict,
    on_unknown: Verdict,
}

fn path(random: &mut Random) -> String {
    let depth = random.below(5);
    let names: String = (0..depth).map(|_| format!("/{}", random.pick(&NAMES))).collect();
    if names.is_empty() { "/".to_owned() } else { names }
}

fn pattern(random: &mut Random) -> String {
    let mut text = path(random);
    if text == "/" {
        text.clear();
    }
    if random.one_in(4) {
        text = format!("${{workspace}}{text}");
    }
    match (text.is_empty(), random.one_in(2)) {
        (_, true) => format!("{text}/**"),
        (true, false) => "/".to_owned(),
        (false, false) => text,
    }
}

fn model(random: &mut Random) -> Model {
    let word = |verdict: Verdict| verdict.name().to_lowercase();
    let default = *random.pick(&[Verdict::Allow, Verdict::Deny]);
    let on_unknown = *random.pick(&[Verdict::Allow, Verdict::Deny]);
    let mut text = format!("version: 1\ndefault: {}\non_unknown: {}\nrules:\n", word(default), word(on_unknown));
    let mut rules = Vec::new();
    for index in 0..1 + random.below(12) {
        let rule = Naive {
            id: format!("R{index}"),
            verdict: *random.pick(&[Verdict::Allow, Verdict::Deny, Verdict::Challenge]),
            actions: (0..1 + random.below(3)).map(|_| *random.pick(&Action::ALL[..9])).collect(),
            observe: random.one_in(5),
            places: (!random.one_in(4))
                .then(|| (random.one_in(2), (0..1 + random.below(4)).map(|_| pattern(random)).collect())),
        };
        let verbs: Vec<&str> = rule.actions.iter().map(|action| action.verb()).collect();
        write!(text, "  - id: {}\n    {}: [{}]\n", rule.id, word(rule.verdict), verbs.join(", ")).unwrap();
        if rule.observe {
            text.push_str("    mode: observe\n");
        }
        if let Some((not, patterns)) = &rule.places {
            let list = format!("{patterns:?}");
            let list = if *not { format!("{{ not: {list} }}") } else { list };
            writeln!(text, "    path: {list}").unwrap();
        }
        rules.push(rule);
    }
    Model { text, rules, default, on_unknown }
}

fn covers(pattern: &str, workspace: &str, path: &str) -> bool {
    let pattern = pattern.replace("${workspace}", workspace);
    match pattern.strip_suffix("/**") {
        Some(directory) => path == directory || path.starts_with(&format!("{directory}/")),
        None => path == pattern,
    }
}

/// Verdict, rule and what the first observing rule would have done, for one action.
fn naive(
    model: &Model,
    workspace: &str,
    action: Action,
    path: Option<&str>,
) -> (Verdict, String, Option<(Verdict, String)>) {
    let mut would = None;
    for rule in model.rules.iter().filter(|rule| rule.actions.contains(&action)) {
        let (verdict, id) = match (&rule.places, path) {
            (None, _) => (rule.verdict, rule.id.clone()),
            (Some(_), None) => (model.on_unknown, RULE_UNKNOWN.to_owned()),
            (Some((not, patterns)), Some(path)) => {
                let within = patterns.iter().any(|pattern| covers(pattern, workspace, path));
                if within == *not {
                    continue;
                }
                (rule.verdict, rule.id.clone())
            }
        };
        if rule.observe {
            would = would.or(Some((verdict, rule.id.clone())));
            continue;
        }
        return (verdict, id, would);
    }
    (model.default, RULE_DEFAULT.to_owned(), would)
}

fn rank(verdict: Verdict) -> u8 {
    [Verdict::Allow, Verdict::Challenge, Verdict::Deny].iter().position(|one| *one == verdict).unwrap() as u8
}

#[test]
fn the_judge_agrees_with_a_naive_reader() {
    let mut random = Random::new("the_judge_agrees_with_a_naive_reader");
    let (mut verdicts, mut shadowed) = ([0; 3], 0);
    for _ in 0..600 {
        let model = model(&mut random);
        let workspace = loop {
            let workspace = path(&mut random);
            // Below the root `${workspace}/x` would be `//x` to the naive reader.
            if workspace != "/" {
                break workspace;
            }
        };
        let variables = Variables { workspace: Some(PathBuf::from(&workspace)), home: None };
        let policy = parse("random.yaml", &model.text).unwrap_or_else(|errors| panic!("{errors}\n{}", model.text));
        let table = policy.compile(&variables).unwrap();
        let never = policy.warnings.iter().filter(|warning| warning.text.contains("never decides"));
        let never: Vec<&String> = never.filter_map(|warning| warning.rule.as_ref()).collect();
        shadowed += never.len();
        for _ in 0..60 {
            let attempt: Vec<(Action, Option<String>)> = (0..1 + random.below(3))
                .map(|_| (*random.pick(&Action::ALL[..9]), (!random.one_in(8)).then(|| path(&mut random))))
                .collect();
            let object =
                |path: &'_ Option<String>| Object::of(path.as_ref().map(|path| path.as_bytes())) == Object::Unknown;
            assert!(attempt.iter().all(|(_, path)| object(path) == path.is_none()));
            let pairs: Vec<(Action, Object<'_>)> = attempt
                .iter()
                .map(|(action, path)| (*action, Object::of(path.as_ref().map(|path| path.as_bytes()))))
                .collect();
            let decision = table.judge(&pairs, &NOW);
            let all: Vec<_> =
                attempt.iter().map(|(action, path)| naive(&model, &workspace, *action, path.as_deref())).collect();
            let strictest = all.iter().map(|(verdict, ..)| rank(*verdict)).max().unwrap();
            let (verdict, id, _) = all.iter().find(|(verdict, ..)| rank(*verdict) == strictest).unwrap();
            let context = || format!("{attempt:?} in {workspace}\n{}\n{decision:?}", model.text);
            assert_eq!((decision.verdict, &decision.rule_id), (*verdict, id), "{}", context());
            assert_eq!(decision.unknown, id == RULE_UNKNOWN, "{}", context());
            let would = all.iter().filter_map(|(_, _, would)| would.clone());
            let would = would.reduce(|first, next| if rank(next.0) > rank(first.0) { next } else { first });
            // Among equally strict ones any is right.
            assert_eq!(decision.would.as_ref().map(|would| would.0), would.map(|would| would.0), "{}", context());
            // A warning that a rule never decides is true.
            assert!(!never.contains(&&decision.rule_id), "{}", context());
            verdicts[usize::from(rank(decision.verdict))] += 1;
        }
    }
    assert!(shadowed > 100, "too few shadowed rules: {shadowed}");
    assert!(verdicts.iter().all(|count| *count > 100), "one-sided: {verdicts:?}");
}

#[test]
fn no_policy_allows_everything() {
    let same = Policy::allow_all().compile(&Variables::default()).unwrap();
    for table in [Table::allow_all(), same] {
        for action in Action::ALL {
            for object in [Object::None, Object::Unknown, Object::Path(b"/x"), Object::Nameless(b"memfd:x")] {
                let decision = table.judge(&[(*action, object)], &NOW);
                assert_eq!((decision.verdict, decision.rule_id.as_str()), (Verdict::Allow, RULE_DEFAULT));
                assert!(!decision.reason.is_empty() && decision.would.is_none() && !decision.unknown);
            }
        }
        assert_eq!((table.name.as_str(), table.hash.len()), ("none", 64));
    }
}

#[test]
fn rules_about_places_do_not_speak_of_what_has_none() {
    let text = "version: 1\ndefault: allow\nrules:\n  - { id: A, deny: \"*\", path: { not: [/usr/**] } }\n";
    let table = parse("t.yaml", text).unwrap().compile(&Variables::default()).unwrap();
    let verdict = |action, object| table.judge(&[(action, object)], &NOW).verdict;
    for action in Action::ALL.iter().filter(|action| !has_place(**action)) {
        assert_eq!(verdict(*action, Object::None), Verdict::Allow);
        assert_eq!(verdict(*action, Object::Unknown), Verdict::Allow);
    }
    // What has no file name is outside of every place for what could run it, and no file for the rest.
    assert_eq!(verdict(Action::ProcExec, Object::of(Some(b"memfd:x"))), Verdict::Deny);
    assert_eq!(verdict(Action::FileMapExec, Object::of(Some(b"memfd:x"))), Verdict::Deny);
    assert_eq!(verdict(Action::FileWrite, Object::of(Some(b"pipe:"))), Verdict::Allow);
    assert_eq!(verdict(Action::FileWrite, Object::of(Some(b"/usr/../etc"))), Verdict::Deny);
}
