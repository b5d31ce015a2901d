//! The kernel's judge against the daemon's: the same compiled table on both sides, object by object.

use std::time::Instant;

use rgt::kernel::trial::{Said, Trial};
use rgt::policy::{
    self, Circumstances, Content, Contents, Holds, Hosts, Limits, Object, Program, Table, Tally, Variables, Written,
};
use sensor_common::action::Action;
use sensor_common::contents::Identity;

#[path = "support/corpus.rs"]
mod corpus;
use corpus::Random;

fn full() -> bool {
    std::env::var_os("RGT_FULL").is_some()
}

fn table(text: &str) -> Table {
    let policy = policy::parse("corpus.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    policy.compile(&Variables::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

fn trial() -> Trial {
    Trial::new(0x5eed).unwrap_or_else(|error| panic!("{error}: this test wants root and the kernel side"))
}

/// What the daemon's judge says, in the kernel's words.
fn expected(table: &Table, action: Action, object: Object<'_>, how: &Circumstances) -> Said {
    let decision = table.judge(&[(action, object)], how);
    let number = |rule: usize| u16::try_from(rule).unwrap();
    let would =
        decision.would.as_ref().map(|(_, id)| number(table.rules.iter().position(|rule| rule.id == *id).unwrap()));
    let mut watched: Vec<u16> = decision.watched.iter().map(|rule| number(*rule)).collect();
    watched.sort_unstable();
    Said {
        refused: decision.otherwise != rgt::attempt::Verdict::Allow && !decision.observe,
        effect: match decision.verdict {
            rgt::attempt::Verdict::Allow => 0,
            rgt::attempt::Verdict::Deny => 1,
            rgt::attempt::Verdict::Challenge => 2,
        },
        rule: decision.rule.map(number),
        would,
        unknown: matches!(object, Object::Unknown | Object::UnknownSocket),
        by_program: decision.reason.contains("asks for the program that acts"),
        watched,
    }
}

fn compare(trial: &mut Trial, table: &Table, action: Action, object: Object<'_>, how: &Circumstances) {
    let mut said = trial.judge(action, object, how).unwrap();
    said.watched.sort_unstable();
    assert_eq!(said, expected(table, action, object, how), "{action:?} of {object:?} under {how:?}");
}

const PROGRAMS: [Program; 6] = [
    Program::Unknown,
    Program::Nameless,
    Program::Path(b"/usr/bin/git"),
    Program::Path(b"/usr/bin/python3.11"),
    Program::Path(b"/usr/lib/git-core/git-remote-https"),
    Program::Path(b"/tmp/git"),
];

const HOLDS: [Holds; 2] = [Holds::AsRead, Holds::Unknown];

fn circumstances(random: &mut Random) -> Circumstances<'static> {
    Circumstances {
        labels: random.below(2) as u32,
        risk: random.below(101) as u8,
        facts: 0,
        written: if random.below(2) == 0 { Written::Yes } else { Written::No },
        program: PROGRAMS[random.below(PROGRAMS.len() as u64) as usize],
        holds: HOLDS[random.below(2) as usize],
        program_holds: HOLDS[random.below(2) as usize],
        limits: Limits::default(),
        answered: &[],
    }
}

#[test]
fn the_kernel_judges_paths_as_the_daemon_does() {
    let seed = 7;
    println!("seed {seed}");
    let mut random = Random::new(seed);
    let mut trial = trial();
    let tries = if full() { 100_000 } else { 3_000 };
    for rules in [1, 40, 10_000] {
        let table = table(&corpus::mixed(rules, seed));
        trial.judge_by(&table).unwrap();
        let mut decided = 0;
        for _ in 0..tries {
            let path = corpus::path(&mut random, seed, rules);
            let action = Action::ALL[random.below(Action::ALL.len() as u64) as usize];
            let how = circumstances(&mut random);
            compare(&mut trial, &table, action, Object::Path(path.as_bytes()), &how);
            decided += u64::from(table.judge(&[(action, Object::Path(path.as_bytes()))], &how).rule.is_some());
        }
        assert!(rules < 40 || decided > tries / 50, "{rules} rules decided {decided} of {tries}: too few to tell");
    }
}

/// Places inside and beside one another, of which a path is in the middle of many at once, and at times of more than a
/// walk can be in.
#[test]
fn the_kernel_judges_places_that_overlap_as_the_daemon_does() {
    const PARTS: [&str; 8] = ["a", "b", "ab", "**", "**", "*", "a*", "?b"];
    const NAMES: [&str; 4] = ["a", "b", "ab", "bb"];
    let mut trial = trial();
    let mut random = Random::new(11);
    let (mut compared, mut unknown) = (0, 0);
    for round in 0..if full() { 1_000 } else { 60 } {
        // What was in force a moment ago is not taken away yet, and there is room for so many.
        if round % 200 == 199 {
            trial = self::trial();
        }
        let mut text = "version: 1\nname: overlap\non_unknown: deny\nrules:\n".to_owned();
        for n in 0..random.below(60) + 1 {
            let glob: Vec<&str> = (0..random.below(7) + 1).map(|_| random.one_of(&PARTS)).collect();
            let effect = random.one_of(&["deny", "allow"]);
            text += &format!(
                "  - {{ id: R{n}, {effect}: file.*, path: \"/{}\", when: {{ risk: \">={n}\" }} }}\n",
                glob.join("/")
            );
        }
        let table = table(&text);
        trial.judge_by(&table).unwrap();
        for _ in 0..100 {
            let path: String = (0..random.below(12)).map(|_| format!("/{}", random.one_of(&NAMES))).collect();
            let object = Object::Path(path.as_bytes());
            let how = Circumstances { program: Program::Nameless, ..circumstances(&mut random) };
            let mut said = trial.judge(Action::FileRead, object, &how).unwrap();
            unknown += u32::from(std::mem::take(&mut said.unknown));
            assert_eq!(said, expected(&table, Action::FileRead, object, &how), "{path} under {how:?} by {text}");
            compared += 1;
        }
    }
    println!("{compared} compared, {unknown} in more places than a walk can be in");
    assert!(unknown > compared / 100 && unknown < compared / 2, "{unknown} of {compared}: too few to tell");
}

#[test]
fn the_kernel_judges_what_has_no_path_as_the_daemon_does() {
    let text = r#"
version: 1
name: others
on_unknown: deny
rules:
  - { id: HOT, deny: "*", when: { risk: ">=85" } }
  - { id: WATCH, watch: net.connect, to: "10.0.0.0/8", label: seen }
  - { id: WEB, allow: net.connect, to: ["10.1.0.0/16:80-443", "2001:db8::/32"] }
  - { id: UDP, deny: net.send, to: "udp/0.0.0.0/0:53" }
  - { id: SOCKETS, deny: net.connect, unix: ["/opt/**", "@/x/a*", "@b?", "@whole"] }
  - { id: SEE_OTHERS, watch: net.send, unix: { not: ["/usr/**", "@*c*"] }, label: seen }
  - { id: BY_NAME, allow: [net.connect, net.send], to: ["api.example:443", "udp/cdn.example"] }
  - { id: NOT_BY_NAME, deny: net.connect, to: { not: ["api.example", "10.0.0.0/8", "cdn.example:80"] }, when: { risk: "<20" } }
  - { id: OTHERS, allow: [net.connect, net.send], unix: { not: ["/opt/**", "@?*"] } }
  - { id: OUT, deny: [net.connect, net.send], to: { not: ["127.0.0.0/8", "[::1]", "10.0.0.0/8"] } }
  - { id: LOOK, deny: net.bind, mode: observe }
  - { id: SEE_OWN, watch: "*", path: { written_by_agent: true } }
  - { id: OLD, allow: file.read, path: { written_by_agent: false } }
  - { id: OWN, deny: [proc.exec, file.map_exec, file.read], path: { written_by_agent: true } }
  - { id: RUN, deny: proc.exec, path: { not: ["/usr/**"] } }
  - { id: GIT, watch: [net.send, file.*], exe: ["/usr/bin/git", "/usr/lib/git-core/**"] }
  - { id: SEE_PYTHON, deny: net.bind, mode: observe, exe: "/usr/bin/python3*" }
  - { id: PYTHON, deny: [file.write, net.send], exe: "/usr/bin/python3*", when: { risk: ">=40" } }
  - { id: NOT_THERE, deny: file.delete, path: "/usr/**", exe: { not: "/usr/bin/*" } }
  - { id: NOT_LOCAL, deny: net.bind, to: { not: "127.0.0.0/8" }, exe: { not: ["/usr/**", "/opt/**"] } }
  - { id: KILL, deny: proc.signal, signal: [KILL, 64] }
  - { id: SEE_HUP, watch: proc.signal, signal: HUP, label: seen }
  - { id: NOT_TERM, deny: proc.signal, signal: { not: [TERM, HUP, 34] }, when: { risk: ">=40" } }
  - { id: RAW, deny: sys.capability, capability: [NET_RAW, 63] }
  - { id: NOT_ADMIN, challenge: sys.capability, capability: { not: SYS_ADMIN }, exe: "/usr/**" }
  - { id: ONLY_GIT, deny: [proc.signal, sys.mount], exe: { not: ["/usr/bin/git", "/usr/lib/git-core/**"] } }
  - { id: AFTER, deny: net.connect, when: { label: seen } }
  - { id: PAYROLL, challenge: [file.read, net.send], when: { sensitivity: confidential } }
  - { id: SEE_MORE, watch: [file.*, net.*], when: { sensitivity: ">=confidential" } }
  - { id: NOT_BY_GIT, deny: [file.*, net.*], exe: "/usr/**", when: { sensitivity: [internal, regulated] } }
  - { id: LOCKS, deny: file.*, path: ["/usr/**", "**/*.lock"], when: { sensitivity: "<=internal" } }
  - { id: DNS, deny: net.send, to: "*:53", when: { sensitivity: regulated } }
  - { id: ELSEWHERE, deny: net.connect, to: { not: "10.0.0.0/8" }, when: { sensitivity: ">public" } }
  - { id: OWN_SECRETS, deny: file.*, path: { written_by_agent: true }, when: { sensitivity: ">public" } }
sensitivity:
  internal: { path: ["/opt/**", "**/*.lock"], to: "127.0.0.0/8" }
  confidential: { path: "/home/**", to: ["10.9.0.0/16", "*:53"] }
  regulated: { path: ["/home/*/.ssh/**", "/usr/share/**"], to: "[2001:db8::/32]:53" }
"#;
    let mut hosts = Hosts::default();
    hosts.set("api.example", ["10.9.9.9".parse().unwrap(), "2001:db8::7".parse().unwrap()]);
    let policy = policy::parse("others.yaml", text).unwrap_or_else(|errors| panic!("{errors}"));
    let table = policy
        .compile_with(&Variables::default(), &hosts, &Contents::new())
        .unwrap_or_else(|errors| panic!("{errors}"));
    let mut trial = trial();
    trial.judge_by(&table).unwrap();
    let mut random = Random::new(11);
    let octets: [[u8; 16]; 7] = ["127.0.0.1", "10.1.2.3", "10.9.9.9", "8.8.8.8", "::1", "2001:db8::7", "2001:db9::7"]
        .map(|text| match text.parse().unwrap() {
            std::net::IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            std::net::IpAddr::V6(address) => address.octets(),
        });
    let answered: [Vec<String>; 5] =
        [&[][..], &[], &["api.example"], &["cdn.example"], &["other.example", "cdn.example", "api.example"]]
            .map(|names| names.iter().map(ToString::to_string).collect());
    let longest = [b'c'; 107];
    let names: [&[u8]; 7] = [b"", b"/x/ab", b"/x/", b"bc", b"b\0", b"whole", &longest];
    for _ in 0..if full() { 100_000 } else { 5_000 } {
        let address = octets[random.below(octets.len() as u64) as usize];
        let port = [53, 80, 443, 8080][random.below(4) as usize];
        let protocol = [6, 17][random.below(2) as usize];
        let name = names[random.below(names.len() as u64) as usize];
        let number = [1, 9, 14, 15, 22, 34, 64][random.below(7) as usize];
        let placed =
            ["/home/a/.ssh/x", "/home/x", "/usr/share/y.lock", "/opt/z.lock", "/etc/x.lock"][random.below(5) as usize];
        let object = match random.below(15) {
            13 | 14 => Object::Path(placed.as_bytes()),
            11 | 12 => Object::Number(number),
            10 => Object::UnknownSocket,
            8 | 9 => Object::Abstract(name),
            7 => Object::Path(b"/usr/bin/x"),
            6 => Object::Path(b"/opt/x"),
            0 => Object::Unknown,
            1 => Object::OtherSocket,
            2 => Object::Nameless(b"memfd:x"),
            _ => Object::Address { address, port, protocol },
        };
        let actions = match object {
            Object::Number(_) => &[Action::ProcSignal, Action::SysCapability],
            Object::Abstract(_) | Object::UnknownSocket => &[Action::NetConnect, Action::NetSend],
            _ => Action::ALL,
        };
        let action = actions[random.below(actions.len() as u64) as usize];
        let answered = &answered[random.below(answered.len() as u64) as usize];
        let how = Circumstances { answered, ..circumstances(&mut random) };
        compare(&mut trial, &table, action, object, &how);
    }
}

/// Files that hold what some rule asks for, what another does, what none does, and that nobody has read.
#[test]
fn the_kernel_goes_by_contents_as_the_daemon_does() {
    let [a, b] = ["a".repeat(64), "b".repeat(64)];
    let text = format!(
        r#"
version: 1
name: contents
default: deny
on_unknown: deny
lists:
  tools: ["/usr/bin/git@sha256:{a}", "/usr/bin/*", "/opt/**"]
rules:
  - {{ id: SEE, watch: "*", exe: "/opt/x@sha256:{a}" }}
  - {{ id: HOT, deny: "*", when: {{ risk: ">=95" }} }}
  - {{ id: GIT, allow: net.connect, exe: ["/usr/bin/git@sha256:{a}", "/opt/x@sha256:{b}"] }}
  - {{ id: NOT_GIT, deny: net.send, exe: {{ not: ["/usr/bin/git@sha256:{b}", "/opt/y"] }} }}
  - {{ id: BOTH, allow: file.read, exe: ["/usr/bin/git@sha256:{a}", "/usr/bin/git@sha256:{b}"] }}
  - {{ id: RUN, allow: proc.exec, path: $tools, when: {{ risk: ">=50" }} }}
  - {{ id: RUN_TWO, challenge: [proc.exec, file.map_exec], path: {{ not: ["/opt/x@sha256:{b}", "/opt/y@sha256:{a}"] }} }}
  - {{ id: WRITE, allow: [file.write, file.map_exec], path: "/opt/**" }}
"#
    );
    let content = |number: u64, digest: u8| Content {
        identity: Identity { number, seconds: 7, device: 9, ..Identity::default() },
        digest: [digest; 32],
    };
    let places = ["/usr/bin/git", "/opt/x", "/opt/y", "/opt/z"];
    let policy = policy::parse("contents.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let mut random = Random::new(5);
    let mut trial = trial();
    let mut met = std::collections::BTreeSet::new();
    for _ in 0..if full() { 300 } else { 30 } {
        let contents: Contents = places
            .iter()
            .filter_map(|place| {
                let read = [None, Some(0xaa), Some(0xbb), Some(0xcc)][random.below(4) as usize];
                let content = read.map(|digest| content(random.below(1000), digest));
                (random.below(5) > 0).then(|| ((*place).to_owned(), content))
            })
            .collect();
        let table = policy
            .compile_with(&Variables::default(), &Hosts::default(), &contents)
            .unwrap_or_else(|errors| panic!("{errors}"));
        trial.judge_by(&table).unwrap();
        for _ in 0..100 {
            let action = [
                Action::NetConnect,
                Action::NetSend,
                Action::FileRead,
                Action::FileWrite,
                Action::ProcExec,
                Action::FileMapExec,
            ][random.below(6) as usize];
            let address = Object::Address { address: [0; 16], port: 1, protocol: 6 };
            let placed = Object::Path(random.one_of(&places).as_bytes());
            let object = if action.verb().starts_with("net.") { address } else { placed };
            let program = Program::Path(random.one_of(&places).as_bytes());
            let how = Circumstances { program, ..circumstances(&mut random) };
            let mut said = trial.judge(action, object, &how).unwrap();
            said.watched.sort_unstable();
            let mut expected = expected(&table, action, object, &how);
            // Of a file that may hold anything the place does not help.
            let runs = matches!(action, Action::ProcExec | Action::FileMapExec);
            let read = |place: &str| how.holds == Holds::AsRead && contents.get(place).copied().flatten().is_some();
            let asked = places[..3].iter().any(|place| object == Object::Path(place.as_bytes()) && !read(place));
            expected.unknown = runs && asked;
            assert_eq!(said, expected, "{action:?} of {object:?} under {how:?} with {contents:?}");
            met.insert((said.rule, said.unknown, said.by_program));
        }
        // What was in force a moment ago is not taken away yet.
        trial.sweep();
    }
    assert!(met.len() > 10, "{met:?}: too few to tell");
    trial.judge_by_none();
    std::thread::sleep(LEFT_ALONE);
    assert!(trial.judge_by_none());
}

/// Patterns that begin with a directory of the agent's own: one table for all agents, whatever theirs are.
#[test]
fn the_kernel_knows_agents_directories_as_the_daemon_does() {
    const TEXT: &str = r#"
version: 1
name: own
on_unknown: deny
rules:
  - { id: KEYS, deny: "file.*", path: "${home}/.ssh/**" }
  - { id: OWN, allow: "file.*", path: ["${workspace}/**", "/b"] }
  - { id: ITSELF, watch: file.read, path: ["${workspace}", "${home}"] }
  - { id: NOT_HOME, challenge: file.write, path: { not: ["${home}/**", "/a/*/c"] } }
  - { id: LOGS, watch: "file.*", path: "${workspace}/**/b*/c" }
  - { id: TOOLS, deny: file.delete, exe: ["${home}/b/*", "${workspace}/a"] }
"#;
    const DIRECTORIES: [&str; 7] = ["/", "/a", "/a/b", "/a/b/c", "/b/a/b/a", "/.ssh", "/c/c"];
    const NAMES: [&str; 5] = ["a", "b", "c", "bc", ".ssh"];
    let policy = policy::parse("own.yaml", TEXT).unwrap_or_else(|errors| panic!("{errors}"));
    let mut random = Random::new(3);
    let mut trial = trial();
    let mut met = std::collections::BTreeSet::new();
    let mut tables = std::collections::BTreeSet::new();
    for _ in 0..if full() { 2_000 } else { 200 } {
        let mut directory = || Some(random.one_of(&DIRECTORIES).into());
        let table = policy
            .compile(&Variables { workspace: directory(), home: directory() })
            .unwrap_or_else(|errors| panic!("{errors}"));
        trial.judge_by(&table).unwrap();
        tables.insert(trial.in_force());
        for _ in 0..40 {
            let mut path = || (0..random.below(7)).map(|_| format!("/{}", random.one_of(&NAMES))).collect::<String>();
            let (object, program) = (path(), path());
            let action = [Action::FileRead, Action::FileWrite, Action::FileDelete][random.below(3) as usize];
            let how = Circumstances { program: Program::Path(program.as_bytes()), ..circumstances(&mut random) };
            let object = Object::Path(object.as_bytes());
            let mut said = trial.judge(action, object, &how).unwrap();
            said.watched.sort_unstable();
            assert_eq!(said, expected(&table, action, object, &how), "{object:?} by {program} in {:?}", table.lanes);
            met.insert((said.rule, said.watched));
        }
    }
    assert_eq!(tables.len(), 1, "one table for all");
    // Of a policy without variables nobody's directories matter, however many states a walk is in.
    let globs: Vec<String> = (0..15).map(|n| format!("/{}**/*b/{n}", "*/".repeat(n % 3))).collect();
    let policy = format!("version: 1\nrules:\n  - {{ id: A, deny: file.read, path: {globs:?} }}\n");
    let policy = policy::parse("plain.yaml", &policy).unwrap_or_else(|errors| panic!("{errors}"));
    for directory in DIRECTORIES {
        let own = Some(directory.into());
        let table = policy.compile(&Variables { workspace: own, home: None }).unwrap();
        trial.judge_by(&table).unwrap();
        for object in ["/a/b/c/b", "/a/b", "/b/b/b/b/7", "/a/ab/3", "/"] {
            let how = Circumstances { program: Program::Nameless, ..circumstances(&mut random) };
            let mut said = trial.judge(Action::FileRead, Object::Path(object.as_bytes()), &how).unwrap();
            said.unknown = false;
            assert_eq!(said, expected(&table, Action::FileRead, Object::Path(object.as_bytes()), &how), "{object}");
        }
    }
    assert!(met.len() > 8, "{met:?}: too few to tell");
}

fn compare_some(trial: &mut Trial, table: &Table, random: &mut Random, (rules, seed): (u64, u64), tries: u32) {
    for _ in 0..tries {
        let path = corpus::path(random, seed, rules);
        let action = Action::ALL[random.below(Action::ALL.len() as u64) as usize];
        compare(trial, table, action, Object::Path(path.as_bytes()), &circumstances(random));
    }
}

/// Policies of all sizes come and go, until one does not fit: the one before stays in force whole, and in the end nothing of
/// any is left.
#[test]
fn tables_come_and_go_and_leave_nothing() {
    let first: u64 = std::env::var("RGT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    println!("seed {first}");
    let mut random = Random::new(first);
    let mut trial = trial();
    assert!(trial.judge_by_none());
    let rounds = if full() { 300 } else { 24 };
    for round in 0..rounds {
        let of = ([1, 2, 7, 40, 400, 3_000][random.below(6) as usize], first + round);
        let mut text = corpus::mixed(of.0, of.1);
        for n in 0..random.below(4) {
            text +=
                &format!("  - {{ id: N{n}, deny: net.connect, to: \"10.{}.0.0/16:{}\" }}\n", random.below(9), n + 1);
        }
        let table = table(&text);
        trial.judge_by(&table).unwrap();
        compare_some(&mut trial, &table, &mut random, of, 40);
        if random.below(6) == 0 {
            std::thread::sleep(LEFT_ALONE);
            trial.sweep();
        }
    }
    let large = (first..).map(|seed| ((10_000, seed), table(&corpus::mixed(10_000, seed))));
    let mut last = None;
    for (of, table) in large {
        match trial.judge_by(&table) {
            Ok(()) => last = Some((of, table)),
            Err(error) => {
                assert!(error.to_string().contains("do not fit"), "{error}");
                break;
            }
        }
    }
    let (of, table) = last.unwrap();
    compare_some(&mut trial, &table, &mut random, of, 200);
    trial.judge_by_none();
    std::thread::sleep(LEFT_ALONE);
    assert!(trial.judge_by_none());
}

/// Longer than a policy that nobody is judged by is kept.
const LEFT_ALONE: std::time::Duration = std::time::Duration::from_millis(1_100);

#[test]
fn ten_thousand_rules_are_compiled_and_loaded() {
    let text = corpus::mixed(10_000, 1);
    let start = Instant::now();
    let policy = policy::parse("corpus.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let read = start.elapsed();
    let table = policy.compile(&Variables::default()).unwrap_or_else(|errors| panic!("{errors}"));
    let compiled = start.elapsed() - read;
    let mut trial = trial();
    let start = Instant::now();
    trial.judge_by(&table).unwrap();
    println!(
        "read in {read:?}, compiled in {compiled:?}, loaded in {:?}: {} states, {} byte automata",
        start.elapsed(),
        table.automaton.states.len(),
        table.automaton.bytes.len()
    );
}

#[test]
fn what_would_not_fit_is_refused_by_name() {
    let text = corpus::adversarial(3_000);
    let policy = policy::parse("adversarial.yaml", &text).unwrap_or_else(|errors| panic!("{errors}"));
    let start = Instant::now();
    let errors = policy.compile(&Variables::default()).unwrap_err().to_string();
    println!("refused in {:?}", start.elapsed());
    assert!(errors.contains("`R0`"), "{errors}");
}

/// The kernel counts in its map, the daemon in its tally: both come to each limit at the same attempt.
#[test]
fn the_kernel_counts_as_the_daemon_does() {
    let text = r#"
version: 1
name: limits
default: deny
on_unknown: deny
rules:
  - { id: MANY, watch: "file.*", when: { limit: { beyond: 150 } } }
  - { id: SEE_NEW, watch: file.read, when: { limit: { within: 7, of: objects } } }
  - { id: LOOK, deny: file.write, mode: observe, when: { limit: { beyond: 9, per: 8000h } } }
  - { id: SOME, allow: file.read, path: ["/a/**", "**/c"], when: { limit: { within: 60 } } }
  - { id: SOME_TO, allow: [net.connect, net.send], to: "10.0.0.0/8", when: { limit: { within: 5, of: objects } } }
  - { id: FEW_SIGNALS, allow: proc.signal, when: { limit: { within: 2, of: objects, per: 8000h } } }
  - { id: BYTES, allow: net.send, when: { limit: { within: 4KiB, of: bytes } } }
  - { id: PLACES, allow: [file.read, file.write], when: { limit: { within: 12, of: objects } } }
  - { id: PYTHON, allow: file.delete, exe: "/usr/bin/python3*", when: { limit: { within: 3 } } }
  - { id: TOO_OFTEN, deny: "*", when: { limit: { beyond: 400 } } }
  - { id: REST, allow: [file.read, file.delete], path: { not: "/b/**" } }
"#;
    let table = table(text);
    let mut trial = trial();
    trial.judge_by(&table).unwrap();
    let mut random = Random::new(23);
    let mut tally = Tally::default();
    let mut came: std::collections::BTreeMap<String, usize> = std::collections::BTreeMap::new();
    for _ in 0..2_000 {
        let path = format!(
            "/{}/{}",
            ["a", "b", "d"][random.below(3) as usize],
            ["c", "d", "e", "f", "g", "h"][random.below(6) as usize]
        );
        let (action, object) = match random.below(8) {
            0 => (Action::ProcSignal, Object::Number(1 + random.below(4) as u8)),
            1 | 2 => {
                let mut address = std::net::Ipv4Addr::new(10, 0, 0, random.below(3) as u8).to_ipv6_mapped().octets();
                address[12] = if random.below(8) == 0 { 11 } else { 10 };
                let port = 80 + random.below(3) as u16;
                let action = [Action::NetConnect, Action::NetSend][random.below(2) as usize];
                (action, Object::Address { address, port, protocol: 6 })
            }
            which => {
                let action = [Action::FileRead, Action::FileWrite, Action::FileDelete][which as usize % 3];
                (action, if random.below(20) == 0 { Object::Unknown } else { Object::Path(path.as_bytes()) })
            }
        };
        let bytes = random.below(200);
        let how = circumstances(&mut random);
        let how = Circumstances { limits: Limits::Counted { tally: &tally, seconds: 0, bytes }, ..how };
        compare(&mut trial, &table, action, object, &how);
        let decision = table.judge(&[(action, object)], &how);
        *came.entry(decision.rule_id.clone()).or_default() += 1;
        for counted in &decision.counted {
            tally.count(counted, 0, bytes);
        }
    }
    for rule in ["SOME", "SOME_TO", "FEW_SIGNALS", "BYTES", "PLACES", "PYTHON", "TOO_OFTEN", "REST"] {
        assert!(came.contains_key(rule), "{rule} never decided: {came:?}");
    }
    assert_eq!(came["SOME"], 60);
    assert_eq!(came["PYTHON"], 3);
}
