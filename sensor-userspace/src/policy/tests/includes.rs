//! Policies of several files.

use std::fs;
use std::path::PathBuf;

use crate::policy::{parse, parse_file, parse_given};

/// A folder of its own for each test.
fn folder(name: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rgt-include-{}-{name}", std::process::id()));
    fs::create_dir_all(folder.join("sub")).unwrap();
    for (name, text) in files {
        fs::write(folder.join(name), text).unwrap();
    }
    folder
}

const RULES: &str = "rules: [{id: MAIN, deny: file.read, path: $shared}]\n";

#[test]
fn what_is_included_stands_before_the_rest() {
    let main = format!("version: 1\nname: m\ninclude: [sub/one.yaml, two.yaml]\n{RULES}");
    let one = "version: 1\ninclude: ../two.yaml\nrules: [{id: ONE, deny: file.write}]\n";
    let two = "version: 1\nlists: { shared: [/a] }\nrules: [{id: TWO, allow: dir.list}]\n";
    let folder = folder("order", &[("sub/one.yaml", one), ("two.yaml", two)]);
    let file = folder.join("main.yaml");
    let name = file.to_string_lossy();
    let (policy, included) = parse_file(&name, &main).unwrap_or_else(|errors| panic!("{errors}"));
    let ids: Vec<&str> = policy.rules.iter().map(|rule| rule.id.as_str()).collect();
    // `two.yaml` counts once, where it came first.
    assert_eq!(ids, ["TWO", "ONE", "MAIN"]);
    assert_eq!((policy.name.as_str(), policy.warnings.len()), ("m", 0));

    let given = parse_given(&name, &main, &included).unwrap();
    assert_eq!(given.hash(), policy.hash());
    let mut other = included.clone();
    other[0].1.push('\n');
    assert_ne!(parse_given(&name, &main, &other).unwrap().hash(), policy.hash());
    let missing = parse_given(&name, &main, &Vec::new()).unwrap_err().to_string();
    assert!(missing.contains("one.yaml`: its text did not come along"), "{missing}");
    let alone = parse(&name, &main).unwrap_err().to_string();
    assert!(alone.contains("only a policy read from a file may include"), "{alone}");
}

#[test]
fn errors_name_the_file_they_stand_in() {
    let main = format!("version: 1\ninclude: [inner.yaml, nowhere.yaml]\n{RULES}");
    let inner = "version: 1\ndefault: deny\nlists: { shared: [/a], idle: [b/c] }\nrules:\n  - {id: MAIN, deny: file.raed}\n  - {id: MAIN, deny: file.read}\n";
    let folder = folder("errors", &[("inner.yaml", inner)]);
    let file = folder.join("main.yaml");
    let errors = parse_file(&file.to_string_lossy(), &main).unwrap_err();
    let told: Vec<String> = errors
        .0
        .iter()
        .map(|error| {
            let name = PathBuf::from(&error.file).file_name().unwrap().to_owned();
            format!("{}:{}:{} {}", name.display(), error.at.line, error.at.column, error.text)
        })
        .collect();
    let wanted = [
        "main.yaml:2:23 cannot include",
        "main.yaml:3:9 the id `MAIN` is taken by the rule in ",
        "inner.yaml:2:1 `default` belongs to the including file",
        "inner.yaml:3:31 path `b/c`: it is relative",
        "inner.yaml:5:22 unknown action `file.raed`",
    ];
    assert_eq!(told.len(), wanted.len(), "{told:#?}");
    for (told, wanted) in told.iter().zip(wanted) {
        assert!(told.starts_with(wanted), "{told} for {wanted}");
    }
    assert!(told[1].ends_with("inner.yaml:6"), "{}", told[1]);
}

#[test]
fn circles_and_twins_are_errors() {
    let one = "version: 1\ninclude: two.yaml\nlists: { l: [/a] }\n";
    let two = "version: 1\ninclude: one.yaml\nlists: { l: [/a] }\n";
    let folder = folder("circles", &[("one.yaml", one), ("two.yaml", two)]);
    let told = |text: &str| {
        let file = folder.join("main.yaml");
        parse_file(&file.to_string_lossy(), text).unwrap_err().to_string()
    };
    let rules = "rules: [{id: A, deny: file.read, path: $l}]\n";
    let circle = told(&format!("version: 1\ninclude: one.yaml\n{rules}"));
    assert!(circle.contains("two.yaml:2:10: error: `one.yaml` includes this file in turn"), "{circle}");
    assert!(circle.contains("one.yaml:3:10: error: a list is named `l` already ("), "{circle}");
    let itself = told(&format!("version: 1\ninclude: sub/../main.yaml\n{rules}"));
    assert!(itself.contains("includes this file in turn"), "{itself}");
}
