//! Names that change their meaning while they are used: nothing that may not be used is, while a check
//! in userspace is got round in the same run.

use rgt_tests::vm::{self, Missing, Mode};

/// One run: who, kind, op; how often the open thing was used, the shut one, neither.
struct Race<'a> {
    words: [&'a str; 3],
    tries: u64,
    open: u64,
    shut: u64,
    neither: u64,
}

fn read(out: &str) -> Result<Vec<Race<'_>>, String> {
    let mut races = Vec::new();
    for line in out.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        if let ["~", who, kind, op, _, tries, open, shut, neither] = fields[..] {
            let number = |text: &str| text.parse().map_err(|_| line.to_owned());
            races.push(Race {
                words: [who, kind, op],
                tries: number(tries)?,
                open: number(open)?,
                shut: number(shut)?,
                neither: number(neither)?,
            });
        }
    }
    Ok(races)
}

fn race(name: &str, kernel: &str, mode: Mode) {
    let tries = if vm::full() { "100000" } else { "1000" };
    let out = super::boot(kernel, mode).and_then(|boot| {
        boot.options(&["--smp", "2", "--memory", "3072"])
            .seconds(if vm::full() { 7200 } else { 1500 })
            .run("race", &["sh", "/t/race.sh", tries])
    });
    let out = match out {
        Ok(out) => out,
        Err(Missing::Skipped(reason)) => return println!("SKIP {name}: {reason}"),
        Err(Missing::Failed(reason)) => panic!("{reason}"),
    };
    let races = read(&out).unwrap_or_else(|line| panic!("not told so: {line}"));
    println!("{:6} {:9} {:9} {:>7} {:>7} {:>7} {:>7}", "who", "kind", "op", "tries", "open", "shut", "neither");
    let mut wrong = Vec::new();
    for race in &races {
        let [who, kind, op] = race.words;
        let line =
            format!("{who:6} {kind:9} {op:9} {:7} {:7} {:7} {:7}", race.tries, race.open, race.shut, race.neither);
        println!("{line}");
        let well = match (who, kind) {
            // The race is one: the check was got round.
            ("naive", _) => race.shut > 0 && race.open > 0,
            ("agent", "inside") => race.shut == 0 && race.neither > 0,
            _ => race.shut == 0 && race.open > 0 && race.neither > 0,
        };
        if !well {
            wrong.push(line);
        }
    }
    assert!(wrong.is_empty(), "{kernel} {}:\n{}", mode.name(), wrong.join("\n"));
    assert_eq!(races.len(), 14, "two ops; three kinds with and without a policy, one with it");
    for line in out.lines().filter_map(|line| line.strip_prefix("#\t")) {
        match line.split_once('\t') {
            Some((fact, count)) if fact.starts_with("records ") => assert_ne!(count, "0", "{fact}"),
            Some((fact, value)) => assert_eq!(value, "0", "{fact}"),
            None => panic!("not told so: {line}"),
        }
    }
}

macro_rules! races {
    ($($name:ident: $kernel:literal, $mode:expr, $always:literal;)+) => {
        $(#[test]
        fn $name() {
            if $always || vm::full() {
                race(stringify!($name), $kernel, $mode);
            } else {
                println!("SKIP {}: only with --full", stringify!($name));
            }
        })+
    };
}

races! {
    races_lsm_5_10: "5.10", Mode::Lsm, false;
    races_fmod_ret_5_10: "5.10", Mode::FmodRet, false;
    races_lsm_6_1: "6.1", Mode::Lsm, false;
    races_fmod_ret_6_1: "6.1", Mode::FmodRet, false;
    races_lsm_6_12: "6.12", Mode::Lsm, true;
    races_fmod_ret_6_12: "6.12", Mode::FmodRet, true;
    races_lsm_7_2: "7.2", Mode::Lsm, false;
}
