//! The policies that users get pass their own cases, without a warning.

use std::fs;
use std::path::Path;

use crate::policy::{Variables, parse};

#[test]
fn every_shipped_policy_passes_its_own_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let mut ran = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let policy = parse(&path.to_string_lossy(), &fs::read_to_string(&path).unwrap())
            .unwrap_or_else(|errors| panic!("{errors}"));
        assert!(policy.warnings.is_empty(), "{:?}", policy.warnings);
        assert!(!policy.cases.is_empty(), "{} has no tests", path.display());
        for outcome in policy.run_cases(&Variables::default()).unwrap() {
            assert!(
                outcome.passed,
                "{}:{}: {:?}",
                path.display(),
                outcome.at.line,
                outcome.decision
            );
        }
        ran += 1;
    }
    assert!(ran >= 1);
}
