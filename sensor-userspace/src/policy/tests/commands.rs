//! The commands, as a user types them.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;

use crate::cli::policy::{PolicyArgs, execute};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: PolicyArgs,
}

/// Exit status, stdout, stderr.
pub(super) fn rgt_policy(words: &[&str]) -> (u8, String, String) {
    let line = Line::try_parse_from(std::iter::once(&"policy").chain(words)).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = execute(&line.args, &mut out, &mut err).unwrap();
    (status, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

fn article() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/article.yaml");
    path.to_string_lossy().into_owned()
}

pub(super) fn file(name: &str, text: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("rgt-policy-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn check() {
    let (status, out, err) = rgt_policy(&["check", &article()]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("ok, policy `article`, rules: 1"), "{out}");
    let wrong = file("wrong.yaml", "version: 1\nrules:\n  - id: A\n    deny: file.reed\n    tool: x\n");
    let wrong = wrong.to_string_lossy();
    let (status, _, err) = rgt_policy(&["check", &article(), &wrong]);
    assert_eq!(status, 1);
    assert!(
        err.starts_with(&format!("{wrong}:4:11: error: [A] unknown action `file.reed`\n  help: did you mean")),
        "{err}"
    );
    assert!(err.contains(&format!("{wrong}:5:5: error: [A] `tool:` is not supported yet")), "{err}");
    let (status, out, _) = rgt_policy(&["check", "--json", &wrong, &article(), "/nonexistent/x.yaml"]);
    assert_eq!(status, 2);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((&lines[0]["problems"][0]["line"], &lines[0]["problems"][1]["rule"]), (&4.into(), &"A".into()));
    assert_eq!((&lines[1]["ok"], &lines[2]["ok"]), (&true.into(), &false.into()));
}

#[test]
fn explain() {
    let (status, out, _) = rgt_policy(&["explain", &article(), "--action", "file.delete", "--path", "/x/../y"]);
    assert_eq!(status, 0);
    assert!(out.starts_with("DENY by RULE_FILE_DELETE_BLOCK (severity high)\n  file.delete of /y: "), "{out}");
    assert!(out.contains("RULE_FILE_DELETE_BLOCK: decides (outside /tmp/**)"), "{out}");
    let move_out =
        ["explain", "--json", "--action", "file.delete,file.create", "--path", "/tmp/x", "--path2", "/y", &article()];
    let answer: Value = serde_json::from_str(&rgt_policy(&move_out).1).unwrap();
    assert_eq!((&answer["verdict"], &answer["rule"]), (&"ALLOW".into(), &"RULE_DEFAULT".into()));
    assert_eq!(answer["steps"][0]["result"], "other_object");
    let unknown = rgt_policy(&["explain", "--action", "file.delete", "--unknown", &article()]).1;
    assert!(unknown.starts_with("DENY by RULE_UNKNOWN"), "{unknown}");
    for wrong in [
        vec!["explain", "--action", "file.delte", "--path", "/x"],
        vec!["explain", "--action", "file.delete", "--path", "x"],
        vec!["explain", "--action", "file.delete"],
    ] {
        let article = article();
        let words: Vec<&str> = wrong.into_iter().chain([article.as_str()]).collect();
        let (status, out, err) = rgt_policy(&words);
        assert_eq!((status, out.as_str()), (2, ""));
        assert!(err.starts_with("rgt policy: "), "{err}");
    }
}

#[test]
fn explain_which_program_acts() {
    let text = "version: 1\nrules:\n  - { id: A, deny: net.connect, exe: { not: /usr/bin/git } }\n";
    let policy = file("program.yaml", text);
    let policy = policy.to_string_lossy();
    let to = ["explain", "--action", "net.connect", "--to", "1.2.3.4:443"];
    for (exe, verdict, step) in [
        (
            Some("/usr/bin/git"),
            "ALLOW by RULE_DEFAULT",
            "A: other program (any object, where the program is not /usr/bin/git)",
        ),
        (Some("/usr/bin/../curl"), "DENY by A", "A: decides"),
        (Some("memfd:git"), "DENY by A", "A: decides"),
        (None, "DENY by RULE_UNKNOWN", "A: unknown program"),
    ] {
        let words: Vec<&str> =
            to.into_iter().chain(exe.into_iter().flat_map(|exe| ["--exe", exe])).chain([&*policy]).collect();
        let (status, out, err) = rgt_policy(&words);
        assert_eq!((status, err.as_str()), (0, ""), "{exe:?}");
        assert!(out.starts_with(verdict) && out.contains(step), "{exe:?}: {out}");
    }
    let words: Vec<&str> = to.into_iter().chain(["--exe", "git", &policy]).collect();
    assert!(rgt_policy(&words).2.contains("the path `git` is not absolute"));
    let shown = rgt_policy(&["show", &policy]).1;
    assert!(shown.contains("A: deny any object, where the program is not /usr/bin/git"), "{shown}");
    let table: Value = serde_json::from_str(&rgt_policy(&["show", "--json", &policy]).1).unwrap();
    assert_eq!(
        (&table["rules"][0]["exe"], &table["rules"][0]["programs"][0]),
        (&"not_in".into(), &"/usr/bin/git".into())
    );
}

#[test]
fn explain_a_connection() {
    let text = "version: 1\nrules:\n  - { id: A, deny: net.connect }\n";
    let policy = file("connect.yaml", text);
    let policy = policy.to_string_lossy();
    let (status, out, _) = rgt_policy(&["explain", "--action", "net.connect", "--to", "1.2.3.4:443", &policy]);
    assert_eq!(status, 0);
    assert!(out.contains("net.connect to 1.2.3.4:443: A denies"), "{out}");
    let out = rgt_policy(&["explain", "--action", "net.connect", "--to", "udp/[::1]:53", &policy]).1;
    assert!(out.contains("net.connect to [::1]:53"), "{out}");
    for (flag, value, wanted) in [
        ("--to", "10.0.0.0/8:443", "is not one address or host with its port"),
        ("--to", "*.example.com:443", "stands for hosts that no resolver lists"),
        ("--to", "1.2.3.4", "is not one address or host with its port"),
        ("--to", "example.com", "is not one address or host with its port"),
        ("--label", "x", "no rule of the policy knows the label `x`; it has none"),
    ] {
        let (status, out, err) = rgt_policy(&["explain", "--action", "net.connect", flag, value, &policy]);
        assert_eq!((status, out.as_str()), (2, ""), "{flag} {value}");
        assert!(err.contains(wanted), "{err}");
    }
}

/// As the kernel has it.
#[test]
fn who_goes_to_no_address_goes_to_himself() {
    let text = "version: 1\ndefault: deny\nrules:\n  - { id: A, allow: [net.connect, net.send, net.bind], to: ['127.0.0.1:80', '[::1]:80'] }\n\
        tests:\n  - { action: net.send, to: '0.0.0.0:80', verdict: allow }\n  - { action: net.bind, to: '[::]:80', verdict: deny }\n";
    let policy = file("himself.yaml", text);
    let policy = policy.to_string_lossy();
    for (action, to, verdict) in [
        ("net.connect", "0.0.0.0:80", "ALLOW"),
        ("net.connect", "[::]:80", "ALLOW"),
        ("net.send", "0.0.0.0:80", "ALLOW"),
        ("net.connect", "0.0.0.1:80", "DENY"),
        ("net.bind", "0.0.0.0:80", "DENY"),
    ] {
        let out = rgt_policy(&["explain", "--action", action, "--to", to, &policy]).1;
        assert!(out.starts_with(verdict), "{action} {to}: {out}");
    }
    let (status, out, _) = rgt_policy(&["test", &policy]);
    assert_eq!(status, 0, "{out}");
}

#[test]
fn explain_knows_the_circumstances() {
    let text = "version: 1\nrules:\n  - { id: L, deny: net.connect, when: { label: s } }\n  - { id: R, deny: net.connect, when: { risk: '>=50' } }\n  - { id: W, deny: net.connect, when: { role: ops, env: prod, task: t, principal: p, time: Sat UTC } }\n  - { id: A, deny: net.connect, scope: a }\n  - { id: S, watch: file.read, label: s }\n  - { id: V, deny: net.connect, when: { approval: { not: [x, y] }, env: stage } }\n";
    let policy = file("circumstances.yaml", text);
    let policy = policy.to_string_lossy();
    let rule = |words: &[&str]| {
        let question = ["explain", "--json", "--action", "net.connect", "--to", "1.2.3.4:443"];
        let words: Vec<&str> = question.iter().chain(words).copied().chain([&*policy]).collect();
        let answer: Value = serde_json::from_str(&rgt_policy(&words).1).unwrap();
        answer["rule"].as_str().unwrap().to_owned()
    };
    assert_eq!(rule(&[]), "RULE_DEFAULT");
    assert_eq!(rule(&["--label", "s"]), "L");
    assert_eq!(rule(&["--risk", "50"]), "R");
    let mut who = vec!["--role", "ops", "--env", "prod", "--task", "t", "--principal", "p"];
    who.extend(["--at", "2026-11-21T10:00:00Z"]);
    assert_eq!(rule(&who), "W");
    who.pop();
    who.push("2026-11-22T10:00:00Z");
    assert_eq!(rule(&who), "RULE_DEFAULT");
    assert_eq!(rule(&["--agent", "a"]), "A");
    assert_eq!(rule(&["--env", "stage"]), "V");
    assert_eq!(rule(&["--env", "stage", "--approval", "y,x"]), "RULE_DEFAULT");
    let question = ["explain", "--action", "net.connect", "--to", "1.2.3.4:443", "--approval", "z", &*policy];
    let (status, _, err) = rgt_policy(&question);
    assert!(status == 2 && err.contains("`z`; they ask for: x, y"), "{err}");
}

#[test]
fn check_follows_includes() {
    let inner = file("inner.yaml", "version: 1\nrules:\n  - { id: I, deny: file.raed }\n");
    let main = file("main.yaml", "version: 1\ninclude: inner.yaml\n");
    let (inner, main) = (inner.to_string_lossy(), main.to_string_lossy());
    let (status, _, err) = rgt_policy(&["check", &main]);
    assert_eq!(status, 1);
    assert!(err.starts_with(&format!("{inner}:3:20: error: [I] unknown action")), "{err}");
    let (_, out, _) = rgt_policy(&["check", "--json", &main]);
    let answer: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(answer["problems"][0]["file"], *inner);
}

#[test]
fn show() {
    let (status, out, _) = rgt_policy(&["show", &article()]);
    assert_eq!(status, 0);
    assert!(
        out.contains("1  RULE_FILE_DELETE_BLOCK: deny outside /tmp/**")
            && out.contains("9 states, 0 byte automata, 0 networks"),
        "{out}"
    );
    let table: Value = serde_json::from_str(&rgt_policy(&["show", "--json", &article()]).1).unwrap();
    assert_eq!(table["rules"][0]["actions"][0], "file.delete");
    let watching =
        file("watching.yaml", "version: 1\nrules:\n  - { id: W, watch: file.read, path: /x, label: seen }\n");
    let watching = watching.to_string_lossy();
    assert!(rgt_policy(&["show", &watching]).1.contains("W: watch inside /x"));
    let table: Value = serde_json::from_str(&rgt_policy(&["show", "--json", &watching]).1).unwrap();
    assert_eq!(table["rules"][0]["effect"], "watch");
    let variables =
        file("variables.yaml", "version: 1\nrules:\n  - { id: A, deny: file.read, path: \"${workspace}/x\" }\n");
    let variables = variables.to_string_lossy();
    let (status, _, err) = rgt_policy(&["show", &variables]);
    assert_eq!(status, 1);
    assert!(err.contains("`${workspace}` has no value here"), "{err}");
    let (status, out, _) = rgt_policy(&["show", &variables, "--workspace", "/w"]);
    assert!(status == 0 && out.contains("inside ${workspace}/x"), "{out}");
}

#[test]
fn test() {
    let (status, out, _) = rgt_policy(&["test", &article()]);
    assert_eq!(status, 0, "{out}");
    assert!(out.ends_with(" passed, 0 failed\n"), "{out}");
    let text = "version: 1\nrules:\n  - { id: A, deny: file.read, path: \"${home}/**\" }\ntests:\n  - { action: file.read, path: \"${home}/x\", verdict: allow }\n  - { action: file.read, path: /y, verdict: ALLOW }\n";
    let failing = file("failing.yaml", text);
    let failing = failing.to_string_lossy();
    let (status, out, _) = rgt_policy(&["test", &failing]);
    assert_eq!(status, 1);
    assert!(out.contains("expected ALLOW, got DENY by A") && out.ends_with("1 passed, 1 failed\n"), "{out}");
    let (_, out, _) = rgt_policy(&["test", "--json", &failing]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["passed"], &lines[1]["passed"], &lines[0]["line"]), (&false.into(), &true.into(), &5.into()));
}
