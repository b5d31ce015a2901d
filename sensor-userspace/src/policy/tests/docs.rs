//! What `docs/policy.md` shows is so: its policies are sound and pass their cases, its mistakes are told.

use super::naive;
use crate::policy::{Variables, parse, schema};

const PAGE: &str = include_str!("../../../../docs/policy.md");

/// The blocks fenced as `kind`.
fn blocks(kind: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in PAGE.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some(block), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, Some(fence)) if fence == kind => open = Some(String::new()),
            _ => {}
        }
    }
    found
}

#[test]
fn its_policies_are_sound_and_pass_their_cases() {
    let policies = blocks("yaml");
    assert!(policies.len() >= 2);
    for text in policies {
        let policy = parse("docs/policy.md", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(schema::tests::errors(&text), [""; 0], "{text}");
        let failures = naive::failures(&policy);
        assert!(failures.is_empty(), "{failures:#?}\n{text}");
        let outcomes = policy.run_cases(&Variables::default()).unwrap_or_else(|errors| panic!("{errors}"));
        for outcome in outcomes {
            assert!(outcome.passed, "line {}: {:?}\n{text}", outcome.at.line, outcome.decision);
        }
    }
}

#[test]
fn its_mistakes_are_told_as_it_says() {
    let (wrong, told) = (blocks("yaml wrong"), blocks("text told"));
    assert!(!wrong.is_empty() && wrong.len() == told.len());
    for (text, told) in wrong.iter().zip(told) {
        let errors = parse("wrong.yaml", text).unwrap_err();
        assert_eq!(format!("{errors}\n"), told);
    }
}
