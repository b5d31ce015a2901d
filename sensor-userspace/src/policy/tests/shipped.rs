//! The policies that users get pass their own cases, without a warning.

use std::fs;
use std::path::{Path, PathBuf};

use super::naive;
use crate::attempt::Verdict;
use crate::policy::{Policy, Variables, parse_file};

/// Each policy, not the parts that they include.
fn shipped() -> Vec<(PathBuf, Policy)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let policies = files.filter(|path| path.extension().is_some_and(|end| end == "yaml"));
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let (policy, _) = parse_file(&path.to_string_lossy(), &text).unwrap_or_else(|errors| panic!("{errors}"));
        (path, policy)
    };
    policies.map(read).collect()
}

#[test]
fn every_shipped_policy_means_what_its_cases_say() {
    let policies = shipped();
    assert!(policies.len() >= 8, "{} policies", policies.len());
    for (path, policy) in policies {
        let path = path.display();
        assert!(policy.warnings.is_empty(), "{path}: {:#?}", policy.warnings);
        assert!(policy.cases.len() >= 12, "{path} has {} cases", policy.cases.len());
        let failures = naive::failures(&policy);
        assert!(failures.is_empty(), "{path}: {failures:#?}");
        // Both sides are shown.
        let allowed = policy.cases.iter().filter(|case| case.verdict == Verdict::Allow).count();
        assert!((4..=policy.cases.len() - 4).contains(&allowed), "{path}: {allowed} allowed");
    }
}

#[test]
fn what_the_table_holds_it_judges_alike() {
    let mut ran = 0;
    for (path, policy) in shipped() {
        let outcomes = policy.run_cases(&Variables::default()).unwrap_or_else(|errors| panic!("{errors}"));
        ran += 1;
        for outcome in outcomes {
            let line = outcome.at.line;
            assert!(outcome.passed, "{}:{line}: {:?}", path.display(), outcome.decision);
        }
    }
    assert!(ran >= 1);
}
