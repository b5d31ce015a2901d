//! What a policy may come to, and that reading it stays quick.

use sensor_common::action::Action;

use super::errors::{one, rule, told, with};
use crate::attempt::Verdict;
use crate::policy::{Circumstances, Object, RULE_DEFAULT, RULE_UNKNOWN, Variables, parse};

#[test]
fn limits_are_errors() {
    let rules = |count: usize, path: &dyn Fn(usize) -> String| {
        let text = |index| format!("  - id: R{index}\n    deny: file.read\n    path: [{}]\n", path(index));
        (0..count).map(text).collect::<String>()
    };
    let many = rules(10_000, &|index| format!("/r{index}, /s/*/{index}"));
    let began = std::time::Instant::now();
    let policy = rule(&many).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((policy.rules.len(), policy.warnings.len()), (10_000, 0));
    // Unoptimised on a busy machine; what is quadratic takes minutes.
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    one(rule(&rules(16_385, &|_| "/same".to_owned())), "...more than the limit of 16384 rules");
    let set = |count: usize| {
        let labels: Vec<String> = (0..count).map(|index| format!("l{index}")).collect();
        rule(&format!("  - id: A\n    watch: '*'\n    label: [{}]\n", labels.join(", ")))
    };
    assert!(set(32).is_ok());
    one(set(33), "8:...[A] more than 32 labels");
    let facts = |count: usize| {
        let fact = |index| format!("  - id: R{index}\n    deny: '*'\n    when: {{ role: r{index} }}\n");
        rule(&(0..count).map(fact).collect::<String>())
    };
    assert!(facts(64).is_ok());
    one(facts(66), "200:...[R64] more than 64 distinct conditions");
    let odd = told(rule(&"  - {}\n".repeat(3000)));
    assert_eq!(odd.len(), 1000);
    // A long list that many rules name is not copied for each.
    let list: Vec<String> = (0..20_000).map(|index| format!("10.{}.{}.1", index / 250, index % 250)).collect();
    let users: String =
        (0..2000).map(|index| format!("  - id: R{index}\n    deny: net.connect\n    to: $l\n")).collect();
    one(
        with(&format!("lists: {{ l: [{}] }}\nrules:\n{users}", list.join(", "))),
        "48:9 [R13] with braces and lists written out",
    );
    let alternatives = "/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}";
    let bombs: Vec<String> = (0..30_000).map(|index| format!("\"/{index}{alternatives}\"")).collect();
    one(
        rule(&format!("  - id: A\n    deny: file.read\n    path: [{}]\n", bombs.join(", "))),
        "8:...[A] with braces and lists written out the policy has more than 262144",
    );
}

/// The kernel asks the first 128 rules of an action about an object of unknown place.
#[test]
fn rules_behind_those_that_are_asked_leave_an_unknown_place_to_on_unknown() {
    let unlabelled: String = (0..128)
        .map(|n| format!("  - {{ id: R{n}, deny: file.read, path: /a/{n}, when: {{ label: never }} }}\n"))
        .collect();
    let of = |last: &str| {
        let text =
            format!("version: 1\ndefault: allow\non_unknown: deny\nrules:\n{unlabelled}  - {{ id: LAST, {last} }}\n");
        let table = parse("t.yaml", &text).unwrap().compile(&Variables::default()).unwrap();
        let decision = table.judge(&[(Action::FileRead, Object::Unknown)], &Circumstances::default());
        (decision.verdict, decision.rule_id)
    };
    assert_eq!(of("deny: file.read, path: /b"), (Verdict::Deny, RULE_UNKNOWN.to_owned()));
    assert_eq!(of("deny: file.write, path: /b"), (Verdict::Allow, RULE_DEFAULT.to_owned()));
}
