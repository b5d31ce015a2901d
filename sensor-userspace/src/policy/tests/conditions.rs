//! Destinations, conditions and consequences: what is read, what holds, what is wrong with them.

use std::time::Duration;

use crate::policy::{AddressTest, Effect, Errors, Fact, Host, Hosts, Identity, Policy, SetLabel, When, exact, parse};

fn rules(text: &str) -> Result<Policy, Errors> {
    parse("t.yaml", &format!("version: 1\nrules:\n{text}"))
}

fn sound(text: &str) -> Policy {
    rules(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The errors of a rule `A` with this line in it, without their places.
fn told(line: &str) -> Vec<String> {
    let errors = rules(&format!("  - id: A\n    deny: '*'\n    {line}\n")).unwrap_err();
    errors.0.into_iter().map(|error| format!("{} | {}", error.text, error.hint)).collect()
}

fn to_holds(to: &str, address: &str) -> bool {
    let policy = sound(&format!("  - id: A\n    deny: net.connect\n    to: \"{to}\"\n"));
    let AddressTest::In(all) = &policy.rules[0].to else { panic!("{:?}", policy.rules[0].to) };
    let (Host::Net { address, .. }, port, protocol) = exact(address).unwrap() else { panic!("{address}") };
    all.iter().any(|one| one.holds(&Hosts::default(), &address, port, protocol))
}

#[test]
fn destinations_hold_what_they_say() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("10.0.0.0/8", &["10.1.2.3:1", "udp/10.255.0.0:53"], &["11.0.0.0:1", "[::a00:1]:1"]),
        ("10.1.2.3", &["10.1.2.3:0", "10.1.2.3:65535"], &["10.1.2.4:1"]),
        ("127.0.0.0/8:8080", &["127.1.0.0:8080"], &["127.0.0.1:8081"]),
        ("0.0.0.0/0", &["1.2.3.4:5"], &["[::1]:5"]),
        ("2001:db8::/32", &["[2001:db8::1]:443"], &["[2001:db9::1]:443", "1.2.3.4:443"]),
        ("[::1]:8000-8099", &["[::1]:8000", "[::1]:8099"], &["[::1]:8100", "127.0.0.1:8000"]),
        ("[2001:db8::/32]:443", &["[2001:db8::1]:443"], &["[2001:db8::1]:80"]),
        ("::1", &["[::1]:7"], &["[::2]:7"]),
        ("*:53", &["1.2.3.4:53", "udp/[::1]:53"], &["1.2.3.4:54"]),
        ("udp/*:53", &["udp/1.2.3.4:53"], &["tcp/1.2.3.4:53"]),
        ("tcp/10.0.0.0/8:443", &["10.0.0.1:443"], &["udp/10.0.0.1:443"]),
        ("*", &["1.2.3.4:5", "[::1]:5"], &[]),
        // An IPv4 address is the same one however it is written.
        ("::ffff:10.0.0.0/104", &["10.9.9.9:1"], &["11.0.0.0:1"]),
    ];
    for (to, inside, outside) in cases {
        for address in *inside {
            assert!(to_holds(to, address), "{address} is not in {to}");
        }
        for address in *outside {
            assert!(!to_holds(to, address), "{address} is in {to}");
        }
    }
}

#[test]
fn unsound_destinations_are_errors() {
    let cases = [
        ("10.0.0.0/33", "no length of a network"),
        ("10.0.0.1/8", "write `10.0.0.0/8`"),
        ("2001:db8::1/32", "write `2001:db8::/32`"),
        ("::/0", "would take in every IPv4 address"),
        ("10.0.0.300", "neither an address"),
        ("10.0.0.0/x", "no length of a network"),
        ("*:70000", "no port"),
        ("*:90-80", "write `80-90`"),
        ("*:+80", "no port"),
        ("*:", "no port"),
        ("[::1", "not closed"),
        ("[::1]80", "stands after"),
        ("icmp/*", "neither an address"),
        ("", "neither an address"),
        ("*.example.com", "stands for hosts that no resolver lists"),
        ("example.com.", "neither an address"),
        ("exam ple.com:443", "neither an address"),
        ("https://example.com", "`//example.com` is no port"),
        ("$none", "no list is named `none`"),
    ];
    for (to, wanted) in cases {
        let errors = told(&format!("to: \"{to}\""));
        assert!(errors.len() == 1 && errors[0].contains(wanted), "{to}: {errors:?}");
    }
    for (line, wanted) in [
        ("to: []", "the list of destinations is empty"),
        ("to: {}", "`to` is an empty map"),
        ("to: { nto: 1.2.3.4 }", "did you mean `not`"),
    ] {
        let errors = told(line);
        assert!(errors.len() == 1 && errors[0].contains(wanted), "{line}: {errors:?}");
    }
}

#[test]
fn rules_are_read_whole() {
    let policy = sound(
        "  - id: W\n    watch: file.read\n    path: /s/**\n    label: [secret, { set: hot, for: 30m }]\n    risk: +20\n\
         \x20 - id: C\n    challenge: net.*\n    to: { not: [10.0.0.0/8, '[::1]:80'] }\n    errno: ENETUNREACH\n    risk: -5\n    when: { label: [secret, hot], risk: '>=85', role: ops, env: { not: [prod, stage] } }\n\
         \x20 - id: D\n    deny: '*'\n    when: { label: { any: secret, not: hot }, risk: 50-80, principal: a, task: t }\n\
         \x20 - id: E\n    allow: '*'\n    owner: me\n    reason: because\n    expires: 2099-12-31\n    scope: [b, a]\n    when: { label: { not: secret } }\n",
    );
    assert_eq!(policy.labels, ["secret", "hot"]);
    assert_eq!(policy.warnings, []);
    let [watch, challenge, deny, exception] = policy.rules.as_slice() else { panic!() };
    assert_eq!((watch.effect, watch.risk), (Effect::Watch, 20));
    let half_an_hour = Some(Duration::from_secs(1800));
    assert_eq!(watch.labels, [SetLabel { label: 0, lasts: None }, SetLabel { label: 1, lasts: half_an_hour }]);
    assert_eq!((challenge.effect, challenge.errno, challenge.risk), (Effect::Challenge, Some(101), -5));
    let AddressTest::NotIn(all) = &challenge.to else { panic!() };
    assert_eq!(all.iter().map(|one| one.ports).collect::<Vec<_>>(), [(0, 65535), (80, 80)]);
    assert_eq!(
        challenge.when,
        When {
            labels_any: vec![0, 1],
            labels_none: vec![],
            risk: Some((85, 100)),
            facts: vec![0, 1],
            limit: None,
            sensitivity: 0,
        }
    );
    assert_eq!((&deny.when.labels_any, &deny.when.labels_none), (&vec![0], &vec![1]));
    assert_eq!(deny.when.risk, Some((50, 80)));
    assert_eq!(exception.owner.as_deref(), Some("me"));
    assert_eq!(exception.expires, Some(4_102_444_800));
    assert_eq!(exception.when.labels_none, [0]);
    let last: Vec<&Fact> = exception.when.facts.iter().map(|fact| &policy.facts[*fact]).collect();
    assert!(matches!(last[..], [Fact::Scope(scope), Fact::Before(4_102_444_800)] if scope.words == ["a", "b"]));
}

#[test]
fn ranges_of_risk() {
    let range = |text: &str| {
        let rule = format!("  - id: A\n    deny: '*'\n    when: {{ risk: \"{text}\" }}\n");
        rules(&rule).ok().and_then(|policy| policy.rules[0].when.risk)
    };
    assert_eq!(range(">=85"), Some((85, 100)));
    assert_eq!(range("> 85"), Some((86, 100)));
    assert_eq!(range("<50"), Some((0, 49)));
    assert_eq!(range("<=50"), Some((0, 50)));
    assert_eq!(range("50-80"), Some((50, 80)));
    for wrong in ["85", "<0", ">100", ">=101", "80-50", "-", ">=", "x", "1e1", "300-400"] {
        assert_eq!(range(wrong), None, "{wrong}");
    }
}

#[test]
fn unsound_conditions_and_consequences_are_errors() {
    let cases = [
        ("when: x", "`when` must be a map"),
        ("when: {}", "`when` asks for nothing"),
        ("when: { labl: x }", "did you mean `label`"),
        ("when: { label: [] }", "`label` is an empty list"),
        ("when: { label: {} }", "`label` asks for nothing"),
        ("when: { label: 'a b' }", "a label has up to"),
        ("when: { label: { any: x, not: x } }", "the rule never holds"),
        ("when: { role: { no: x } }", "`role` may hold `not`"),
        ("when: { role: [[x]] }", "in place of a word"),
        ("when: { approval: { no: x } }", "`approval` may hold `not`"),
        ("when: { approval: [a, 'b c'] }", "an approval's name has up to"),
        ("when: { approval: [] }", "`approval` is an empty list"),
        ("when: { aproval: x }", "did you mean `approval`"),
        ("approval: x", "`approval:` does not stand here | write `when: { approval: … }`"),
        ("when: { risk: 85 }", "`risk` cannot be `85`"),
        ("label: { name: x }", "`label` is a name"),
        ("label: { set: x, for: ever }", "`for` cannot be `ever`"),
        ("label: [x, x]", "a second time"),
        ("risk: 20", "write what is added, `+20`"),
        ("risk: +0", "`risk` cannot be `+0`"),
        ("risk: +101", "`risk` cannot be `+101`"),
        ("risk: '>=85'", "goes into `when:"),
        ("errno: EPREM", "did you mean `EPERM`"),
        ("errno: 13", "`errno` cannot be `13`"),
        ("expires: tomorrow", "`expires` cannot be `tomorrow`"),
        ("expires: 2026-13-01", "`expires` cannot be"),
        ("expires: 2026-12-31T10:00", "`expires` cannot be"),
        ("scope: []", "`scope` is an empty list"),
        ("owner: [a]", "`owner` must be a word"),
    ];
    for (line, wanted) in cases {
        let errors = told(line);
        assert!(errors.len() == 1 && errors[0].contains(wanted), "{line}: {errors:?}");
    }
}

#[test]
fn windows_of_time() {
    let holds = |window: &str, moment: &str| {
        let rule = format!("  - id: A\n    deny: '*'\n    when: {{ time: \"{window}\" }}\n");
        let second = moment.parse::<jiff::Timestamp>().unwrap().as_second();
        sound(&rule).facts_that_hold(&Identity::default(), second) == 1
    };
    // A Saturday.
    assert!(holds("Sat 09:00-17:00 UTC", "2026-11-21T09:00:00Z"));
    assert!(!holds("Sat 09:00-17:00 UTC", "2026-11-21T17:00:00Z"));
    assert!(!holds("Mon-Fri 09:00-17:00 UTC", "2026-11-21T10:00:00Z"));
    assert!(holds("Fri-Mon UTC", "2026-11-21T00:00:00Z") && !holds("Mon-Fri UTC", "2026-11-21T23:59:59Z"));
    assert!(holds("Mon,Sat UTC", "2026-11-21T12:00:00Z"));
    assert!(holds("00:00-24:00 UTC", "2026-11-21T23:59:59Z"));
    // Across midnight the window belongs to the day it begins on.
    let night = "Fri 22:00-06:00 UTC";
    assert!(holds(night, "2026-11-20T22:00:00Z") && holds(night, "2026-11-21T05:59:59Z"));
    assert!(!holds(night, "2026-11-20T05:00:00Z") && !holds(night, "2026-11-21T22:00:00Z"));
    // Berlin is an hour ahead in winter, two in summer.
    let office = "09:00-17:00 Europe/Berlin";
    assert!(holds(office, "2026-11-20T08:00:00Z") && !holds(office, "2026-11-20T16:00:00Z"));
    assert!(holds(office, "2026-07-20T07:00:00Z") && !holds(office, "2026-07-20T15:00:00Z"));
    for (wrong, wanted) in [
        ("09:00-17:00", "needs a time zone"),
        ("Mon-Fri", "needs a time zone"),
        ("UTC", "no window of time"),
        ("Mon-Fri 09:00-17:00 Europe/Berln", "did you mean `Europe/Berlin`"),
        ("Mon-Fry 09:00-17:00 UTC", "did you mean `Fri`"),
        ("09:00-09:00 UTC", "begins where it ends"),
        ("9-17 UTC", "are no hours"),
        ("09:00-25:00 UTC", "are no hours"),
        ("24:00-06:00 UTC", "are no hours"),
        ("Mon 09:00-17:00 UTC UTC x", "no window of time"),
    ] {
        let errors = told(&format!("when: {{ time: \"{wrong}\" }}"));
        assert!(errors.len() == 1 && errors[0].contains(wanted), "{wrong}: {errors:?}");
    }
}

#[test]
fn facts_hold_of_whom_they_name() {
    let policy = sound(
        "  - {id: A, deny: '*', when: {principal: [a, b]}}\n  - {id: B, deny: '*', when: {role: {not: ops}}}\n  - {id: C, deny: '*', when: {env: prod}}\n  - {id: D, deny: '*', when: {task: t}}\n  - {id: E, deny: '*', scope: one}\n  - {id: F, deny: '*', expires: '1970-01-01T00:01:40Z'}\n  - {id: G, watch: '*', when: {approval: [x, y]}}\n  - {id: H, deny: '*', when: {approval: {not: y}}}\n",
    );
    assert_eq!(policy.warnings.len(), 1, "{:?}", policy.warnings);
    assert!(policy.warnings[0].text.contains("has expired"));
    let who = Identity {
        agent_id: "one",
        principal: "b",
        role: Some("ops"),
        environment: Some("prod"),
        task: Some("t"),
        approvals: &["z", "y"],
    };
    assert_eq!(policy.approvals(), ["x", "y"]);
    assert_eq!(policy.facts_that_hold(&who, 99), 0b0111_1101);
    assert_eq!(policy.facts_that_hold(&who, 100), 0b0101_1101);
    assert_eq!(policy.facts_that_hold(&Identity { approvals: &["x"], ..who }, 100), 0b1101_1101);
    // Who has no role has not the role `ops`, and what nobody approved is not approved.
    assert_eq!(policy.facts_that_hold(&Identity::default(), 100), 0b1000_0010);
}

#[test]
fn labels_that_only_one_side_knows_are_warnings() {
    let warnings = |text: &str| {
        let told = sound(text).warnings.into_iter();
        told.map(|one| format!("{}:{} {} | {}", one.at.line, one.rule.unwrap(), one.text, one.hint)).collect::<Vec<_>>()
    };
    let both = warnings(
        "  - {id: A, watch: file.read, label: secret}\n  - {id: B, deny: net.connect, when: {label: secrte}}\n",
    );
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(both[0].starts_with("3:A the label `secret` is set, and no rule asks for it"));
    assert!(both[1].starts_with("4:B no rule sets the label `secrte`") && both[1].contains("did you mean `secret`"));
    let fine = warnings("  - {id: A, watch: file.read, label: s}\n  - {id: B, deny: '*', when: {label: s}}\n");
    assert!(fine.is_empty(), "{fine:?}");
    let refused = warnings("  - {id: A, deny: file.read, label: s}\n  - {id: B, allow: '*', when: {label: s}}\n");
    assert!(refused.len() == 1 && refused[0].starts_with("3:A a label is set when"), "{refused:?}");
}

#[test]
fn what_holds_less_often_shadows_nothing() {
    let shadowed = |first: &str, second: &str| {
        let text = format!("  - {{id: A, deny: net.connect, {first}}}\n  - {{id: B, allow: net.connect, {second}}}\n");
        sound(&text).warnings.iter().any(|warning| warning.text.contains("never decides"))
    };
    assert!(shadowed("to: 10.0.0.0/8", "to: ['10.1.0.0/16:443', 'tcp/10.0.0.1']"));
    assert!(!shadowed("to: 'tcp/10.0.0.0/8'", "to: 10.1.0.0/16"));
    assert!(!shadowed("to: '10.0.0.0/8:443'", "to: 10.1.0.0/16"));
    assert!(shadowed("to: {not: 10.0.0.0/8}", "to: {not: [10.0.0.0/8, 1.2.3.4]}"));
    assert!(!shadowed("when: {label: x}", "risk: +1"));
    assert!(shadowed("when: {label: [x, y]}", "when: {label: x, risk: '>5'}"));
    assert!(!shadowed("when: {risk: '>5'}", "when: {risk: '>4'}"));
    assert!(shadowed("when: {risk: '>5'}", "when: {risk: '>6', role: x}"));
    assert!(!shadowed("when: {role: x}", "when: {role: y}"));
    let watched = "  - {id: A, watch: net.connect}\n  - {id: B, deny: net.connect}\n  - {id: C, watch: net.connect}\n";
    assert_eq!(sound(watched).warnings, []);
}

#[test]
fn approvals_the_wrong_way_round_are_warnings() {
    let warned = |effect: &str, approval: &str| {
        let told = sound(&format!(
            "  - {{id: A, {effect}: net.connect, when: {{approval: {approval}}}}}\n  - {{id: B, deny: '*'}}\n"
        ));
        told.warnings.into_iter().map(|one| format!("{} | {}", one.text, one.hint)).collect::<Vec<_>>()
    };
    for (effect, approval, wanted) in [
        ("deny", "x", "`A` refuses while this is approved"),
        ("challenge", "[x, y]", "write `approval: { not: [x, y] }`"),
        ("allow", "{not: x}", "`A` allows until this is approved"),
    ] {
        let warnings = warned(effect, approval);
        assert!(warnings.len() == 1 && warnings[0].contains(wanted), "{warnings:?}");
    }
    for (effect, approval) in [("deny", "{not: x}"), ("challenge", "{not: x}"), ("allow", "x"), ("watch", "x")] {
        assert_eq!(warned(effect, approval), [""; 0]);
    }
}
