//! Every mistake is told, where it stands, with the rule and the way out.

use crate::policy::{Errors, Level, Policy, Variables, parse};

const HEAD: &str = "version: 1\nname: t\nmode: enforce\ndefault: allow\n";

pub fn with(body: &str) -> Result<Policy, Errors> {
    parse("t.yaml", &format!("{HEAD}{body}"))
}

/// `rules:` stands in line 5, its first rule in line 6.
pub fn rule(lines: &str) -> Result<Policy, Errors> {
    with(&format!("rules:\n{lines}"))
}

/// All errors as `line:column [RULE] text | help`.
pub fn told(result: Result<Policy, Errors>) -> Vec<String> {
    let errors = result.map(|_| ()).expect_err("a sound policy");
    let line = |problem: &crate::policy::Problem| {
        assert_eq!(problem.level, Level::Error);
        assert_eq!(problem.file, "t.yaml");
        assert!(!problem.hint.is_empty(), "no way out: {problem}");
        let rule = problem.rule.as_deref().unwrap_or("-");
        format!("{}:{} [{rule}] {} | {}", problem.at.line, problem.at.column, problem.text, problem.hint)
    };
    errors.0.iter().map(line).collect()
}

pub fn one(result: Result<Policy, Errors>, wanted: &str) {
    let errors = told(result);
    assert_eq!(errors.len(), 1, "{errors:#?}");
    let parts: Vec<&str> = wanted.split("...").collect();
    assert!(parts.iter().all(|part| errors[0].contains(part)), "{} lacks {wanted}", errors[0]);
    assert!(errors[0].starts_with(parts[0]), "{} does not begin with {}", errors[0], parts[0]);
}

#[test]
fn places_of_errors_are_exact() {
    one(
        rule("  - id: A\n    deny: file.delte\n    path: /x\n"),
        "7:11 [A] unknown action `file.delte` ...did you mean `file.delete`?",
    );
    one(rule("  - id: A\n    deny: [file.read, file.writ]\n"), "7:23 [A] unknown action `file.writ`");
    one(rule("  - id: A\n    deny: file.read\n    pth: /x\n"), "8:5 [A] unknown key `pth` ...did you mean `path`?");
    one(rule("  - id: A\n    deny: file.read\n    path: [/a, b/c]\n"), "8:16 [A] path `b/c`: it is relative");
    one(
        rule("  - id: A\n    deny: file.read\n    path: { not: [/a/../b] }\n"),
        "8:19 [A] path `/a/../b`: `.` and `..`",
    );
    one(rule("  - { id: A, deny: file.read, path: '/ä/a**/b' }\n"), "6:37 [A] path `/ä/a**/b`: `**` stands alone");
    one(with("rulez: []\nrules: [{id: A, deny: '*'}]\n"), "5:1 [-] unknown key `rulez` ...did you mean `rules`?");
}

#[test]
fn what_this_version_does_not_understand_is_an_error() {
    let keys = ["incomplete: x", "alert: x", "contain: true", "snapshot: true", "tool: x"];
    for key in keys {
        let name = key.split(':').next().unwrap();
        let text = format!("  - id: A\n    deny: net.connect\n    {key}\n");
        one(rule(&text), &format!("8:5 [A] `{name}:` is not supported yet | "));
    }
    one(
        rule("  - id: A\n    deny: net.connect\n    when: { incomplete: true }\n"),
        "8:13 [A] `incomplete:` is not supported yet | ",
    );
    one(rule("  - id: A\n    deny: 'tool:shell'\n"), "7:11 [A] `tool:shell`: tool actions are not supported yet");
    one(with("on_stale: keep\nrules: [{id: A, deny: '*'}]\n"), "5:1 [-] `on_stale:` is not supported yet");
}

#[test]
fn what_stands_in_the_wrong_place_is_an_error() {
    for key in [
        "principal: x", "role: x", "env: x", "task: x", "time: x", "limit: x", "sensitivity: x", "protocol: udp",
        "unresolved: deny",
    ] {
        let name = key.split(':').next().unwrap();
        let text = format!("  - id: A\n    deny: net.connect\n    {key}\n");
        one(rule(&text), &format!("8:5 [A] `{name}:` does not stand here | write "));
    }
    one(rule("  - id: A\n    watch: file.read\n    mode: observe\n"), "8:5 [A] `watch:` never decides");
    one(rule("  - id: A\n    allow: file.read\n    errno: EPERM\n"), "8:5 [A] `errno:` speaks of a refusal only");
    one(
        rule("  - id: A\n    deny: '*'\n    path: /a\n    to: 1.2.3.4\n"),
        "9:5 [A] the rule has both `path:` and `to:`",
    );
}

#[test]
fn unsound_paths_and_lists_are_errors() {
    let cases = [
        ("relative", "relative"),
        ("/a//b", "empty component"),
        ("/a/", "empty component"),
        ("/a/./b", "`.` and `..`"),
        ("${workspce}/a", "did you mean `workspace`"),
        ("${home", "not closed"),
        ("/a/${home}", "only at the start"),
        ("${home}x", "must follow"),
        ("$nolist", "no list is named `nolist`"),
        ("a/**", "relative"),
        ("*/a", "relative"),
        ("/a**", "`**` stands alone"),
        ("/a/***", "`**` stands alone"),
        ("/a/[x", "a `[` is not closed"),
        ("/a/[]", "a `[` is not closed"),
        ("/a/[z-a]", "the range `z-a` is empty"),
        ("/a/[^a]", "ambiguous"),
        ("/a/[[:alpha:]]", "named classes"),
        ("/a/[x/y]", "no name holds a `/`"),
        ("/a/[ä]", "`ä` has several bytes"),
        ("/{a,b", "a `{` is not closed"),
        ("/a}", "closes nothing"),
        ("/{a,..}/b", "`.` and `..`"),
        ("/a{,/}", "empty component"),
        ("{/a,b}", "relative"),
        ("/{${home},a}", "only at the start"),
        ("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}", "more than 1024"),
        ("/{{{{{{{{{{{{{{{{{a}}}}}}}}}}}}}}}}}", "more than 16 deep"),
    ];
    for (path, wanted) in cases {
        let text = format!("  - id: A\n    deny: file.read\n    path: '{path}'\n");
        one(rule(&text), &format!("8:11 [A] ...{wanted}"));
    }
    let long = format!("/{}", "x".repeat(256));
    one(rule(&format!("  - id: A\n    deny: file.read\n    path: {long}\n")), "8:11 [A] ...255 bytes");
    one(rule("  - id: A\n    deny: file.read\n    path: []\n"), "8:11 [A] the list of paths is empty");
    one(rule("  - id: A\n    deny: file.read\n    path:\n"), "...[A] nothing stands where a path was expected");
    one(rule("  - id: A\n    deny: net.connect\n    path: /a\n"), "7:11 [A] `net.connect` has no path");
    one(rule("  - id: A\n    deny: net.*\n    path: /a\n"), "7:11 [A] none of the rule's actions has a path");
    one(with("lists: { e: [] }\nrules: [{id: A, deny: file.read, path: $e}]\n"), "5:13 [-] the list `e` is empty");
    one(rule("  - id: A\n    deny: file.read\n    path: '/a\\'\n"), "8:11 [A] ...a lone `\\`");
    let lists =
        |lists: &str, use_of: &str| with(&format!("lists: {{ {lists} }}\nrules: [{{id: A, deny: '*', {use_of}}}]\n"));
    one(lists("a: [/a, $b], b: [$a]", "path: $a"), "5:27 [A] `$a`: the list comes back to itself");
    one(lists("a: [$a]", "path: $a"), "5:14 [A] `$a`: the list comes back to itself");
    one(lists("a: [/a, 1.2.3.4]", "path: $a"), "5:18 [A] `1.2.3.4`: ...both paths and destinations");
    one(lists("a: [1.2.3.4]", "path: $a"), "6:34 [A] the list `a` holds destinations, not paths");
    one(lists("a: [/a]", "to: $a"), "6:32 [A] the list `a` holds paths, not destinations");
    one(lists("a: [a/b]", "path: /x"), "5:14 [-] path `a/b`: it is relative");
    let chain: String = (0..40).map(|index| format!("l{index}: [$l{}], ", index + 1)).collect();
    one(lists(&format!("{chain}l40: [/a]"), "path: $l0"), "5:...nested more than 16 deep");
}

#[test]
fn unsound_rules_are_errors() {
    one(rule("  - deny: file.read\n"), "6:5 [-] the rule has no `id`");
    one(rule("  - id: A\n"), "6:5 [A] the rule has no effect");
    one(
        rule("  - id: A\n    allow: file.read\n    deny: file.write\n"),
        "8:5 [A] the rule says both `allow:` and `deny:`",
    );
    one(rule("  - id: A\n    deny: []\n"), "7:11 [A] `deny:` names no action");
    one(
        rule("  - id: A\n    deny: file.read\n    deny: file.write\n"),
        "8:5 [-] `deny` stands here a second time (first in line 7)",
    );
    one(
        rule("  - id: A\n    deny: file.read\n  - id: A\n    deny: file.write\n"),
        "8:5 [A] the id `A` is taken by the rule in line 6",
    );
    one(rule("  - id: RULE_DEFAULT\n    deny: file.read\n"), "6:9 [RULE_DEFAULT] ...belongs to rgt itself");
    one(rule("  - id: 'a b'\n    deny: file.read\n"), "6:9 [a b] the id may have");
    one(
        rule("  - id: A\n    deny: file.read\n    severity: hihg\n"),
        "8:15 [A] `severity` cannot be `hihg` ...did you mean `high`?",
    );
    one(rule("  - id: A\n    deny: file.read\n    mode: on\n"), "8:11 [A] `mode` cannot be `on`");
    one(rule("  - id: A\n    deny: file.read\n    timeout: 60s\n"), "8:5 [A] `timeout:` speaks of a challenge only");
    for timeout in ["60", "0s", "25h", "1d", "-1s", "x", "99999999999999999999s", "18446744073709551615h"] {
        let text = format!("  - id: A\n    challenge: file.read\n    timeout: {timeout}\n");
        one(rule(&text), "8:14 [A] `timeout` cannot be");
    }
}

#[test]
fn unsound_files_are_errors() {
    one(parse("t.yaml", ""), "1:1 [-] the file is empty");
    one(parse("t.yaml", "just words"), "1:1 [-] a policy is a map");
    one(parse("t.yaml", "rules: [{id: A, deny: '*'}]\n"), "1:1 [-] `version` is missing");
    one(parse("t.yaml", "version: 2\nrules: [{id: A, deny: '*'}]\n"), "1:10 [-] version `2` is not known");
    one(with(""), "1:1 [-] `rules` is missing");
    one(with("rules: []\n"), "5:8 [-] `rules` is empty");
    one(with("rules: x\n"), "5:8 [-] `rules` must be a list");
    one(with("rules: [{id: A, deny: '*'}]\n---\nversion: 1\n"), "7:1 [-] a second YAML document");
    one(with("rules: [{id: A, deny: &x '*'}]\n"), "5:...YAML anchors");
    one(with("rules: [{id: A, deny: !x '*'}]\n"), "5:...YAML tags");
    one(rule("  - id: A\n    deny: *\n"), "7:...not valid YAML");
    one(
        with("on_unknown: maybe\nrules: [{id: A, deny: '*'}]\n"),
        "5:13 [-] `on_unknown` cannot be `maybe` ...allow, deny",
    );
    let deep = format!("rules: {}{}\n", "[".repeat(40), "]".repeat(40));
    one(with(&deep), "5:...nested more than 16 deep");
    let observing = "version: 1\nmode: observe\nrules:\n  - id: A\n    deny: '*'\n    mode: enforce\n";
    one(parse("t.yaml", observing), "6:11 [A] ...not supported yet");
}

#[test]
fn all_errors_are_told_in_the_order_of_the_file() {
    let errors = told(with(
        "rules:\n  - id: A\n    deny: nope\n    tool: x\n  - id: B\n    allow: file.read\n    path: x\nodd: 1\n",
    ));
    let starts: Vec<&str> = errors.iter().map(|error| error.split(' ').next().unwrap()).collect();
    assert_eq!(starts, ["7:11", "8:5", "11:11", "12:1"], "{errors:#?}");
}

#[test]
fn a_rule_that_never_decides_is_a_warning_naming_both() {
    let shadowed = |text: &str| {
        let warnings = rule(text).unwrap_or_else(|errors| panic!("{errors}")).warnings;
        let never = warnings.into_iter().filter(|warning| warning.text.contains("never decides"));
        never.map(|warning| warning.text).collect::<Vec<_>>()
    };
    let both = |text: &str| {
        let warnings = shadowed(text);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("`B`") && warnings[0].contains("`A` (line 6)"), "{warnings:?}");
    };
    both("  - {id: A, deny: file.*}\n  - {id: B, allow: file.read, path: /a}\n");
    both("  - {id: A, deny: file.read, path: /a/**}\n  - {id: B, allow: file.read, path: [/a/b, /a/c/**]}\n");
    both("  - {id: A, deny: file.read, path: {not: /a/**}}\n  - {id: B, allow: file.read, path: {not: [/a/**, /b]}}\n");
    both("  - {id: A, deny: file.read, path: '${home}/**'}\n  - {id: B, allow: file.read, path: '${home}/x'}\n");
    both("  - {id: A, deny: file.read}\n  - {id: C, deny: file.write}\n  - {id: B, allow: [file.read, file.write]}\n");
    // Of the same depth, and of the same beginning, is not within.
    assert!(
        shadowed("  - {id: A, deny: file.read, path: /a/**}\n  - {id: B, allow: file.read, path: [/b, /ab]}\n")
            .is_empty()
    );
    assert!(
        shadowed("  - {id: A, deny: file.read, path: /a}\n  - {id: B, allow: file.read, path: /a/**}\n").is_empty()
    );
    assert!(shadowed("  - {id: A, deny: file.*, mode: observe}\n  - {id: B, allow: file.read}\n").is_empty());
    assert!(shadowed("  - {id: A, deny: file.read}\n  - {id: B, allow: [file.read, file.write]}\n").is_empty());
}

#[test]
fn the_form_of_a_message() {
    let errors = rule("  - id: A\n    deny: file.read\n    path: x\n").unwrap_err();
    let text = "t.yaml:8:11: error: [A] path `x`: it is relative\n  help: begin it with `/`, `${workspace}`, `${home}` or `**/`";
    assert_eq!(errors.to_string(), text);
}

/// The language's own core example.
#[test]
fn the_core_example_is_understood() {
    let text = r#"version: 1
name: coding-agent
mode: enforce                     # observe | enforce
default: allow                    # allow | deny
on_unknown: deny                  # what the kernel does when it cannot be sure
lists:
  secrets: ["${home}/.ssh/**", "${home}/.aws/**", "**/.env", "/run/secrets/**"]
rules:
  - id: TOO_HOT
    deny: "*"
    when: { risk: ">=85" }
  - id: RULE_FILE_DELETE_BLOCK
    deny: file.delete             # one class, a list, or "*"
    path: { not: ["/tmp/**", "${workspace}/**"] }
    severity: high
    tags: [attack.T1485]
  - id: SECRET_READ
    watch: file.read              # `allow:` with consequences works too
    path: $secrets
    label: secret
    risk: +20
  - id: NO_EXFIL
    challenge: [net.connect, net.send]
    to: { not: ["127.0.0.0/8:8080", "[::1]:8000-8099", "10.0.0.0/8", "api.example.com:443"] }
    when: { label: secret }
    timeout: 60s
    otherwise: deny
  - id: NO_OWN_BINARIES
    deny: [proc.exec, file.map_exec]
    path: { written_by_agent: true }
"#;
    let policy = parse("t.yaml", text).unwrap_or_else(|errors| panic!("{errors:?}"));
    let variables = Variables { workspace: Some("/home/me/work".into()), home: Some("/home/me".into()) };
    let table = policy.compile(&variables);
    assert!(table.is_ok(), "{:?}", table.err());
}
