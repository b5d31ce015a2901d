//! What a path as written stands for.

use super::Random;
use crate::policy::pattern::Pattern;
use crate::policy::{Policy, Variables, parse};

fn read(path: &str) -> Policy {
    let quoted = path.replace('\'', "''");
    let text = format!("version: 1\nrules:\n  - id: A\n    deny: file.read\n    path: '{quoted}'\n");
    parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn patterns(path: &str) -> Vec<Pattern> {
    read(path).sets.remove(0)
}

fn within(pattern: &str, path: &str) -> bool {
    let variables = Variables::default().or_stand_ins();
    patterns(pattern).iter().any(|pattern| pattern.matches_path(&variables, path.as_bytes()))
}

#[test]
fn wildcards_stand_for_what_they_say() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("/a/*", &["/a/b", "/a/.b"], &["/a", "/a/b/c"]),
        ("/a/*/c", &["/a/b/c"], &["/a/c", "/a/b/b/c"]),
        ("/a/b*", &["/a/b", "/a/bb"], &["/a/ab", "/a/b/b"]),
        ("/a/*.key", &["/a/.key", "/a/x.key"], &["/a/x.keys", "/a/x"]),
        ("/a/x*y*z", &["/a/xyz", "/a/xyyyzz", "/a/x-y-y-z"], &["/a/xzy", "/a/xyzx"]),
        ("/a/b?", &["/a/bb", "/a/b."], &["/a/b", "/a/bbb"]),
        ("/a/??", &["/a/ä"], &["/a/x"]),
        ("/a/[b-d]x", &["/a/bx", "/a/dx"], &["/a/ax", "/a/x", "/a/bbx"]),
        ("/a/[!b-d]", &["/a/a", "/a/e"], &["/a/b", "/a/c", "/a"]),
        ("/a/[]-]", &["/a/]", "/a/-"], &["/a/x"]),
        ("/a/[!]]", &["/a/x"], &["/a/]"]),
        ("/a/[*?]", &["/a/*", "/a/?"], &["/a/x"]),
        ("/a/[{,}]", &["/a/{", "/a/,", "/a/}"], &["/a/x"]),
        ("/a/[\\]\\^]", &["/a/]", "/a/^"], &["/a/x", "/a/\\"]),
        ("/a/\\*\\{b\\}", &["/a/*{b}"], &["/a/xb", "/a/x{b}"]),
        ("/a/**/b", &["/a/b", "/a/x/b", "/a/x/y/b"], &["/a", "/b", "/a/b/x"]),
        ("/a/**/**/b", &["/a/b", "/a/x/y/b"], &["/a"]),
        ("/a/**", &["/a", "/a/b", "/a/b/c"], &["/ab", "/"]),
        ("/a/**/*", &["/a/b", "/a/b/c"], &["/a"]),
        ("**/.env", &["/.env", "/a/.env", "/a/b/.env"], &["/a/x.env", "/.env/a"]),
        ("**/.git/hooks/**", &["/x/.git/hooks", "/.git/hooks/pre-commit"], &["/x/.git"]),
        ("**", &["/", "/a/b"], &[]),
        ("${home}/.*rc", &["/home/agent/.bashrc"], &["/home/agent/x.rc", "/.bashrc"]),
        ("${home}/{a,b/{c,d}}{,.bak}", &["/home/agent/a", "/home/agent/b/d.bak"], &["/home/agent/b"]),
        ("{/a,**/b}/c", &["/a/c", "/x/b/c"], &["/x/a/c"]),
        ("/{a}", &["/a"], &["/{a}"]),
    ];
    for (pattern, inside, outside) in cases {
        for path in *inside {
            assert!(within(pattern, path), "{path} is not in {pattern}");
        }
        for path in *outside {
            assert!(!within(pattern, path), "{path} is in {pattern}");
        }
    }
}

#[test]
fn braces_are_written_out_and_doubles_dropped() {
    let texts = |path: &str| -> Vec<String> { patterns(path).into_iter().map(|pattern| pattern.text).collect() };
    assert_eq!(texts("${home}/{a,b}/x"), ["${home}/a/x", "${home}/b/x"]);
    assert_eq!(texts("/{a,b,a}{,}"), ["/a", "/b"]);
    assert_eq!(texts("/a/{**,**/**}"), ["/a/**"]);
    assert_eq!(patterns("/{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}").len(), 1024);
}

#[test]
fn the_same_places_are_one_set() {
    let text = "version: 1\nlists: { one: [/a, /b], two: [$one, /c], three: [/c, $one] }\nrules:\n  - {id: A, deny: file.read, path: $two}\n  - {id: B, deny: file.write, path: $three}\n  - {id: C, deny: file.create, path: ['/{a,b}', '[c-c]']}\n";
    let text = text.replace("'[c-c]'", "'/[c-c]'");
    let policy = parse("t.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!((policy.sets.len(), policy.sets[0].len()), (1, 3));
    assert_eq!(policy.warnings, []);
}

#[test]
fn what_covers_another_holds_all_its_paths() {
    let mut random = Random::new("what_covers_another_holds_all_its_paths");
    let parts = ["a", "b", "ab", "*", "**", "a*", "?", "[ab]", "[!a]", "*b"];
    let names = ["a", "b", "ab", "c"];
    let variables = Variables::default().or_stand_ins();
    let mut covered = 0;
    for _ in 0..4000 {
        let written = |random: &mut Random| -> Pattern {
            let depth = 1 + random.below(4);
            let mut text: String = (0..depth).map(|_| format!("/{}", random.pick(&parts))).collect();
            if random.one_in(6) {
                text = format!("${{workspace}}{text}");
            }
            patterns(&text).remove(0)
        };
        let (outer, inner) = (written(&mut random), written(&mut random));
        if !outer.covers(&inner) {
            continue;
        }
        covered += 1;
        for _ in 0..40 {
            let start = if random.one_in(3) { "/workspace" } else { "" };
            let path: String = (0..random.below(5)).map(|_| format!("/{}", random.pick(&names))).collect();
            let path = format!("{start}{path}");
            let held = |pattern: &Pattern| pattern.matches_path(&variables, path.as_bytes());
            assert!(!held(&inner) || held(&outer), "{path} in {} only", inner.text);
        }
    }
    assert!(covered > 100, "{covered}");
    for (outer, inner) in [("/a/**", "/a/b*/c"), ("**/x", "${home}/x"), ("/a/*", "/a/[xy]")] {
        assert!(patterns(outer)[0].covers(&patterns(inner)[0]), "{outer} {inner}");
    }
    for (outer, inner) in [("/a/*", "/a/**"), ("${home}/**", "/home/agent/x"), ("/a/b*", "/a/*")] {
        assert!(!patterns(outer)[0].covers(&patterns(inner)[0]), "{outer} {inner}");
    }
}
