//! Paths: lexical normalisation, values of variables, what a pattern covers.

use std::path::PathBuf;

use sensor_common::action::Action;

use crate::attempt::Verdict;
use crate::policy::place::normalise;
use crate::policy::{Circumstances, Object, Variables, parse};

/// Of an agent that nothing is known of.
const NOW: Circumstances<'static> = Circumstances::PLAIN;

#[test]
fn arguments_are_resolved_lexically() {
    let at = |base: &str, argument: &str| normalise(base.as_bytes(), argument.as_bytes());
    let path = |path: &str| Some(path.as_bytes().to_vec());
    assert_eq!(at("/w", "a"), path("/w/a"));
    assert_eq!(at("/w/", "./a//b/"), path("/w/a/b"));
    assert_eq!(at("/w/x", "../a"), path("/w/a"));
    assert_eq!(at("/w", "../../../a"), path("/a"));
    assert_eq!(at("/w/../v", "a"), path("/v/a"));
    assert_eq!(at("/w", "/a/b/../c"), path("/a/c"));
    assert_eq!(at("", "/"), path("/"));
    assert_eq!(at("/w", ".."), path("/"));
    assert_eq!(at("", "a"), None);
    assert_eq!(at("w", "a"), None);
    assert_eq!(at("/w", ""), None);
    assert_eq!(normalise(b"/w", b"a\0b"), None);
    assert_eq!(normalise(b"/w", b"\xff\n"), Some(b"/w/\xff\n".to_vec()));
}

#[test]
fn variables_without_a_value_are_refused() {
    let text = "version: 1\nrules:\n  - id: A\n    deny: file.delete\n    path: { not: [\"${workspace}/**\", \"${home}/x\"] }\n";
    let policy = parse("t.yaml", text).unwrap();
    let errors = policy.compile(&Variables::default()).unwrap_err();
    assert_eq!(errors.0.len(), 2, "{errors}");
    assert!(
        errors
            .to_string()
            .starts_with("t.yaml:5:19: error: [A] path `${workspace}/**`: `${workspace}` has no value here"),
        "{errors}"
    );
    for bad in ["relative", "/a/../b", ""] {
        let variables = Variables { workspace: Some(PathBuf::from(bad)), home: Some(PathBuf::from("/h")) };
        assert!(policy.compile(&variables).unwrap_err().to_string().contains("no absolute path"));
    }
    let variables = Variables { workspace: Some(PathBuf::from("/w*//./s/")), home: Some(PathBuf::from("/")) };
    let table = policy.compile(&variables).unwrap();
    let denied = |path: &'static [u8]| {
        table.judge(&[(Action::FileDelete, Object::of(Some(path)))], &NOW).verdict == Verdict::Deny
    };
    // A star in a value is a star's byte, no wildcard.
    assert!(denied(b"/w1/s") && !denied(b"/w*/s") && !denied(b"/x") && denied(b"/y"));
}

#[test]
fn a_directory_pattern_covers_itself_and_all_below() {
    let judged = |pattern: &str, path: &[u8]| {
        let text = format!("version: 1\nrules:\n  - id: A\n    deny: file.read\n    path: \"{pattern}\"\n");
        let table = parse("t.yaml", &text).unwrap().compile(&Variables::default()).unwrap();
        table.judge(&[(Action::FileRead, Object::of(Some(path)))], &NOW).verdict == Verdict::Deny
    };
    assert!(judged("/tmp/**", b"/tmp") && judged("/tmp/**", b"/tmp/a/b"));
    assert!(!judged("/tmp/**", b"/tmpfoo") && !judged("/tmp/**", b"/") && !judged("/tmp/**", b"/a/tmp"));
    assert!(judged("/a/b", b"/a/b") && !judged("/a/b", b"/a/b/c") && !judged("/a/b", b"/a"));
    assert!(judged("/**", b"/") && judged("/**", b"/\xff/x"));
    assert!(judged("/", b"/") && !judged("/", b"/a"));
}
