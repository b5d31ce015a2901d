//! Events through judgement, recorder and ledger, without a kernel.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::agent::{Agent, Counts, Phase};
use super::desk::Desk;
use super::judgement::tests::{compiled, unlink};
use super::processes::Processes;
use crate::attempt::{Argv, End, Mode, Run};
use crate::config::Config;
use crate::kernel::{Event, Seen, Standing, Totals};
use crate::ledger::Reader;
use crate::policy::{Circumstances, Table, Tally};
use crate::record::{Recorder, RecorderOptions};

/// A pid that /proc does not know.
const PID: u32 = 5_000_001;

struct Scene {
    dir: PathBuf,
    desk: Desk,
}

impl Scene {
    fn new(name: &str, longer: Duration) -> Scene {
        let dir = std::env::temp_dir().join(format!("rgt-desk-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let key = dir.join("key");
        std::fs::write(&key, "ab".repeat(32)).unwrap();
        let mut config = Config { ledger_dir: dir.join("ledger"), ..Config::default() };
        config.seal.key_file = Some(key);
        let mut desk =
            Desk::new(Standing { mode: Mode::Observe, degraded: false, notes: Vec::new(), hooks: Vec::new() });
        let ledger = desk.ledgers.join(&config, None).unwrap();
        let run = Run {
            agent_id: "a".to_owned(),
            run_id: "r".to_owned(),
            instance: "i".to_owned(),
            trace_id: "0".repeat(31) + "1",
            principal: "uid:0".to_owned(),
            environment: None,
            container: None,
        };
        let agent = Agent {
            answers_put: None,
            number: 1,
            recorder: Recorder::new(run, RecorderOptions::default()).unwrap(),
            table: Table::allow_all(),
            generation: 0,
            earlier: Vec::new(),
            processes: Processes::default(),
            pending: HashMap::new(),
            held: HashMap::new(),
            longer,
            counts: Counts::default(),
            ledger,
            own_ledger: true,
            own: None,
            cgroup: PathBuf::from("/nowhere"),
            root: None,
            uid: 0,
            started: Instant::now(),
            started_wall: SystemTime::now(),
            phase: Phase::Running,
            waiting: None,
            role: None,
            task: None,
            approvals: Vec::new(),
            how: Circumstances::default(),
            limits: Tally::default(),
            how_told: None,
            lasting: Vec::new(),
            told: [Totals::default(); 2],
        };
        desk.agents.insert(1, agent);
        Scene { dir, desk }
    }

    fn attempt(&mut self, end: End, change: impl FnOnce(&mut Seen)) {
        let mut seen = unlink(b"/etc/x", None, 0);
        seen.attempt.end = end;
        seen.attempt.pid = PID;
        change(&mut seen);
        self.desk.event(Event::Attempt(Box::new(seen)));
    }

    /// `data` of every attempt in the closed ledger.
    fn attempts(mut self) -> Vec<Value> {
        self.desk.ledgers.close_all().unwrap();
        let mut reader = Reader::open(&self.dir.join("ledger")).unwrap();
        let (mut line, mut found) = (Vec::new(), Vec::new());
        while reader.next_line(&mut line).unwrap().is_some() {
            let mut record: Value = serde_json::from_slice(&line).unwrap();
            let mut data = record["data"].take();
            if data["action_attempted"].is_object() {
                data["record"] = record["id"].take();
                found.push(data);
            }
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        found
    }
}

#[test]
fn an_outcome_follows_what_was_pending() {
    let mut scene = Scene::new("outcome", Duration::ZERO);
    scene.attempt(End::Pending, |_| {});
    scene.attempt(End::Returned(0), |_| {});
    assert_eq!(scene.desk.agents[&1].counts.attempts, 1);
    assert!(scene.desk.agents[&1].pending.is_empty());
    let records = scene.attempts();
    assert_eq!(records.len(), 2);
    assert!(records[0]["action_attempted"].get("result").is_none());
    assert_eq!(records[1]["outcome_of"], records[0]["record"]);
    assert_eq!(records[1]["action_attempted"]["result"], 0);
}

/// Not that of whenever the kernel was told last.
#[test]
fn a_condition_on_risk_sees_the_score_of_the_record_before() {
    let mut scene = Scene::new("risk", Duration::ZERO);
    let text =
        "version: 1\nrules:\n  - {id: HOT, deny: '*', when: {risk: '>=60'}}\n  - {id: W, watch: '*', risk: +10}\n";
    let agent = scene.desk.agents.get_mut(&1).unwrap();
    agent.table = compiled(text);
    for _ in 0..3 {
        scene.attempt(End::Returned(0), |_| {});
    }
    let records = scene.attempts();
    let told: Vec<_> =
        records.iter().map(|data| (data["live_risk_score"].as_u64().unwrap(), &data["policy_rule_id"])).collect();
    assert_eq!(told, [(58, &"RULE_DEFAULT".into()), (66, &"RULE_DEFAULT".into()), (74, &"HOT".into())]);
}

#[test]
fn another_task_at_the_same_address_is_another() {
    let mut scene = Scene::new("address", Duration::ZERO);
    scene.attempt(End::Pending, |_| {});
    // The first one's return was lost in the ring, and so was its end.
    scene.attempt(End::Returned(0), |seen| seen.key.tid = 2);
    assert_eq!(scene.desk.agents[&1].counts.attempts, 2);
    let records = scene.attempts();
    assert!(records[1].get("outcome_of").is_none());
}

#[test]
fn a_run_may_wait_longer_for_outcomes() {
    let mut scene = Scene::new("longer", Duration::from_secs(60));
    scene.attempt(End::Pending, |_| {});
    scene.desk.tell_held(false);
    scene.attempt(End::Returned(-2), |_| {});
    scene.attempt(End::Pending, |seen| seen.key.seq = 2);
    scene.desk.tell_held(true);
    let records = scene.attempts();
    assert_eq!(records.len(), 2);
    assert_eq!(records[0]["action_attempted"]["result"], -2);
    assert!(records[0].get("outcome_of").is_none());
    assert!(records[1]["action_attempted"].get("result").is_none());
}

#[test]
fn records_name_programs_and_no_secrets() {
    let mut scene = Scene::new("argv", Duration::ZERO);
    scene.desk.event(Event::Join { agent: 1, pid: PID });
    scene.desk.event(Event::Exec { agent: 1, pid: PID, exe: b"/bin/sh".to_vec() });
    scene.attempt(End::Returned(0), |seen| {
        seen.attempt.argv = Some(Argv { args: vec![b"x".to_vec(), b"--password=hunter2".to_vec()], truncated: false });
    });
    // Nobody's event is told nowhere, and counted.
    scene.desk.event(Event::Exit { agent: 9, pid: 1, tid: 1 });
    assert_eq!(scene.desk.strays, 1);
    assert!(scene.desk.governs(PID, None));
    assert!(scene.desk.governs(1, Some(Path::new("/nowhere/below"))));
    assert!(!scene.desk.governs(1, Some(Path::new("/nowhere2"))));
    let records = scene.attempts();
    assert_eq!(records[0]["action_attempted"]["exe"], "/bin/sh");
    assert_eq!(records[0]["action_attempted"]["argv"][1], "--password=***");
}

/// A policy that denies all deletions by a rule of this name.
fn denying(rule: &str) -> Table {
    let text = format!("version: 1\nrules:\n  - {{ id: {rule}, deny: file.delete }}\n");
    crate::policy::parse("t.yaml", &text).unwrap().compile(&crate::policy::Variables::default()).unwrap()
}

#[test]
fn an_attempt_is_told_by_the_policy_that_it_began_under() {
    let mut scene = Scene::new("swap", Duration::ZERO);
    let agent = scene.desk.agents.get_mut(&1).unwrap();
    agent.replace_table(denying("A"), 7, 50);
    agent.replace_table(denying("B"), 8, 100);
    let begun = [(7, 200), (8, 10), (0, 99), (0, 100), (0, 49), (99, 10)];
    for (seq, (generation, at)) in begun.into_iter().enumerate() {
        scene.attempt(End::Returned(-13), |seen| {
            seen.key.seq = seq as u64;
            seen.generation = generation;
            seen.attempt.at = at;
        });
    }
    // The first one comes back, as the kernel side knows it still.
    scene.desk.agents.get_mut(&1).unwrap().replace_table(denying("A"), 7, 300);
    for (seq, generation) in [(10, 7), (11, 8)] {
        scene.attempt(End::Returned(-13), |seen| {
            seen.key.seq = seq;
            seen.generation = generation;
            seen.attempt.at = 400;
        });
    }
    let records = scene.attempts();
    let rules: Vec<&str> = records.iter().map(|data| data["policy_rule_id"].as_str().unwrap()).collect();
    assert_eq!(rules, ["A", "B", "A", "B", "RULE_DEFAULT", "B", "A", "B"]);
    let hashes = [&denying("A").hash, &denying("B").hash];
    for (data, rule) in records.iter().zip(rules).filter(|(_, rule)| *rule != "RULE_DEFAULT") {
        assert_eq!(data["policy_hash"], **hashes[usize::from(rule == "B")], "{data}");
    }
}

#[test]
fn an_earlier_policy_is_forgotten_once_nothing_to_come_was_judged_by_it() {
    let mut scene = Scene::new("earlier", Duration::ZERO);
    let agent = scene.desk.agents.get_mut(&1).unwrap();
    agent.replace_table(denying("A"), 7, 50);
    agent.replace_table(denying("B"), 8, 100);
    agent.forget_earlier(|generation| generation == 7);
    agent.forget_earlier(|generation| generation == 7);
    let known: Vec<u64> = agent.earlier.iter().map(|earlier| earlier.generation).collect();
    assert_eq!(known, [7], "an attempt under way is judged by it");
    agent.forget_earlier(|_| false);
    assert_eq!(agent.earlier.len(), 1, "one told since the last look may be on its way");
    agent.forget_earlier(|_| false);
    assert!(agent.earlier.is_empty());
    // However often they take turns: one entry each.
    for turn in 0..1_000 {
        agent.replace_table(denying("A"), 10 + turn % 3, 200 + turn);
    }
    assert_eq!(agent.earlier.len(), 4, "three, and the one before them");
    std::fs::remove_dir_all(&scene.dir).unwrap();
}
