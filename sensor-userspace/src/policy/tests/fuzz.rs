//! The reader never panics, and never refuses without saying where and why.

use super::{Random, naive};
use crate::policy::{Identity, Policy, Variables, parse_given};

const SEEDS: [&str; 7] = [
    include_str!("../../../../policies/article.yaml"),
    include_str!("../../../../policies/database-operator.yaml"),
    include_str!("../../../../policies/kubernetes-workload.yaml"),
    include_str!("../../../../policies/parts/secrets.yaml"),
    "version: 1\nname: x\nlists:\n  a: [\"${home}/.ssh/**\", /x]\n  b: [$a, '/{a,b{c,d}}/[!x-z]?*', '**/.e\\*v']\nrules:\n  - id: A\n    challenge: [file.*, read_only]\n    path: { not: [$b, \"${workspace}/**\"] }\n    exe: { not: [$a, '/usr/bin/py*'] }\n    timeout: 60s\n    otherwise: allow\n    errno: EPERM\n",
    "version: 1\nrules: [{id: A, deny: \"*\", when: {risk: \">=85\", time: \"Mon-Fri 22:00-06:00 Europe/Berlin\", role: {not: [a, b]}}}, {id: B, watch: file.read, label: [s, {set: t, for: 30m}], risk: +20}]\n",
    "version: 1\nlists: {n: [10.0.0.0/8, 'udp/*:53']}\nrules:\n  - {id: A, deny: net.*, to: {not: [$n, '[2001:db8::/32]:80-90', 'tcp/1.2.3.4:5']}, when: {label: {any: [x], not: y}}}\n  - {id: B, allow: '*', owner: o, reason: r, expires: 2099-12-31, scope: [a]}\ntests:\n  - {action: net.connect, to: '1.2.3.4:5', protocol: udp, labels: x, risk: 3, role: r, at: '2026-11-21T10:00:00Z', verdict: deny}\n",
];
const PIECES: [&str; 40] = [
    "\n", " ", "  ", "\t", ":", ": ", "- ", "[", "]", "{", "}", "\"", "'", "*", "&a ", "!t ", "|\n", "---\n", "${",
    "$", "/**", "..", "\u{feff}", "\u{0}é", "**/", "\\", "{,}", "[!", "a-", "-", "::", "/129", "/0", "[::1]",
    "99999999999999999999", "2026-02-30", "UTC", "24:00", "include: x.yaml\n", "+128",
];

fn mutate(random: &mut Random, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..1 + random.below(6) {
        let at = random.below(chars.len() + 1);
        match random.below(4) {
            0 => {
                let end = (at + 1 + random.below(12)).min(chars.len());
                chars.drain(at.min(end)..end);
            }
            1 => {
                let piece: Vec<char> = random.pick(&PIECES).chars().collect();
                chars.splice(at..at, piece);
            }
            2 => {
                let end = (at + random.below(40)).min(chars.len());
                let copy = chars[at.min(end)..end].to_vec();
                let to = random.below(chars.len() + 1);
                chars.splice(to..to, copy);
            }
            _ => {
                if let Some(c) = chars.get_mut(at) {
                    *c = char::from_u32(random.below(0x300) as u32).unwrap_or('x');
                }
            }
        }
    }
    chars.into_iter().collect()
}

/// What a sound policy must survive.
fn use_it(policy: &Policy) {
    let _ = policy.compile(&Variables::default());
    let _ = policy.run_cases(&Variables::default());
    let _ = naive::failures(policy);
    for second in [i64::MIN, -1, 0, 1_795_000_000, i64::MAX] {
        policy.facts_that_hold(&Identity::default(), second);
    }
    assert!(policy.labels.len() <= 32 && policy.facts.len() <= 64);
    for rule in &policy.rules {
        let labels = rule.when.labels_any.iter().chain(&rule.when.labels_none);
        assert!(labels.chain(rule.labels.iter().map(|set| &set.label)).all(|id| *id < 32));
        assert!(rule.when.facts.iter().all(|fact| *fact < policy.facts.len()));
    }
}

#[test]
fn mutated_policies_never_panic() {
    let mut random = Random::new("mutated_policies_never_panic");
    let (mut sound, mut refused) = (0, 0);
    let parts = ["secrets", "system"].map(|name| format!("parts/{name}.yaml"));
    for _ in 0..2000 {
        let seed = *random.pick(&SEEDS);
        let text = mutate(&mut random, seed);
        let part = *random.pick(&SEEDS);
        let included = parts.clone().map(|name| (name, part.to_owned())).to_vec();
        let most = text.lines().count().max(part.lines().count()) + 2;
        match parse_given("fuzz.yaml", &text, &included) {
            Ok(policy) => {
                sound += 1;
                use_it(&policy);
            }
            Err(errors) => {
                refused += 1;
                assert!(!errors.0.is_empty(), "refused without a reason:\n{text}");
                for problem in errors.0 {
                    let told = problem.at.line >= 1 && problem.at.column >= 1 && !problem.hint.is_empty();
                    assert!(told && problem.at.line <= most, "{problem}\n{text:?}");
                }
            }
        }
    }
    assert!(sound > 0 && refused > 0, "one-sided: {sound} sound, {refused} refused");
}

#[test]
fn mutated_words_never_panic() {
    let mut random = Random::new("mutated_words_never_panic");
    let words: [(&str, &[&str]); 5] = [
        ("path", &["/a/{b,c{d,e}}/[!x-z]?*/**", "${home}/\\*[]a]", "**/.env"]),
        ("exe", &["/usr/{bin,lib/git-core}/**", "${home}/venv/*", "**/py[!2]*"]),
        ("to", &["udp/[2001:db8::/32]:80-90", "10.0.0.0/8:443", "*:53", "*.example.com:1"]),
        ("when", &["Mon-Fri 22:00-06:00 Europe/Berlin", "Sat,Sun UTC"]),
        ("expires", &["2026-12-31", "2026-12-31T18:00:00Z"]),
    ];
    let mut sound = 0;
    for _ in 0..8000 {
        let (key, seeds) = *random.pick(&words);
        let word = *random.pick(seeds);
        let word = mutate(&mut random, word).replace('\n', " ").replace('\'', "''");
        let value = if key == "when" { format!("{{ time: '{word}' }}") } else { format!("'{word}'") };
        let text = format!("version: 1\nrules:\n  - {{id: A, deny: '*', {key}: {value}}}\n");
        if let Ok(policy) = parse_given("fuzz.yaml", &text, &Vec::new()) {
            sound += 1;
            use_it(&policy);
        }
    }
    assert!(sound > 100, "one-sided: {sound} sound");
}
