//! The reader never panics, and never refuses without saying where and why.

use super::Random;
use crate::policy::{Variables, parse};

const SEEDS: [&str; 3] = [
    include_str!("../../../../policies/article.yaml"),
    "version: 1\nname: x\nlists:\n  a: [\"${home}/.ssh/**\", /x]\nrules:\n  - id: A\n    challenge: [file.*, read_only]\n    path: { not: [$a, \"${workspace}/**\"] }\n    timeout: 60s\n    otherwise: allow\n",
    "version: 1\nrules: [{id: A, deny: \"*\", when: {risk: \">=85\"}}, {id: B, watch: file.read, label: s}]\n",
];
const PIECES: [&str; 24] = [
    "\n", " ", "  ", "\t", ":", ": ", "- ", "[", "]", "{", "}", "\"", "'", "*", "&a ", "!t ",
    "|\n", "---\n", "${", "$", "/**", "..", "\u{feff}", "\u{0}é",
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

#[test]
fn mutated_policies_never_panic() {
    let mut random = Random::new("mutated_policies_never_panic");
    let (mut sound, mut refused) = (0, 0);
    for _ in 0..6000 {
        let seed = *random.pick(&SEEDS);
        let text = mutate(&mut random, seed);
        let lines = text.lines().count() + 2;
        match parse("fuzz.yaml", &text) {
            Ok(policy) => {
                sound += 1;
                let _ = policy.compile(&Variables::default());
                let _ = policy.run_cases(&Variables::default());
            }
            Err(errors) => {
                refused += 1;
                assert!(!errors.0.is_empty(), "refused without a reason:\n{text}");
                for problem in errors.0 {
                    let told =
                        problem.at.line >= 1 && problem.at.column >= 1 && !problem.hint.is_empty();
                    assert!(told && problem.at.line <= lines, "{problem}\n{text:?}");
                }
            }
        }
    }
    assert!(sound > 0 && refused > 0, "one-sided: {sound} sound, {refused} refused");
}
