use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::mpsc;

use super::*;
use crate::attempt::Run;
use crate::config::Config;
use crate::control::protocol::Kind;
use crate::daemon::Options;
use crate::daemon::begin::new_agent;
use crate::daemon::judgement::tests::{compiled, unlink};
use crate::daemon::script::Script;
use crate::daemon::state::{Kept, State};
use crate::kernel::Event;
use crate::ledger::Reader;

const ASKS: &str = "version: 1\nname: p\nrules:\n  - { id: A, deny: file.delete, when: { approval: { not: deploy } } }\n  - { id: B, deny: file.read, when: { approval: { not: [look, deploy] } } }\n  - { id: C, allow: file.delete, when: { approval: [deploy, other] } }\n";

/// An engine with two agents `a`, numbers 1 and 2, without a kernel.
struct Scene {
    dir: PathBuf,
    config: Config,
    engine: Engine<Script>,
}

fn kept(number: AgentNo, run: &Run) -> Kept {
    let state = json!({
        "number": number, "run": run, "policy": null, "workspace": null, "home": null, "observe": false, "sets": [],
        "ledger": "/l", "own_ledger": false, "reader_gid": null, "cgroup": "/c", "own": true, "root": null, "uid": 0,
        "role": null, "task": null, "started": 0,
    });
    // As a daemon wrote it that knew of no approvals.
    serde_json::from_value(state).unwrap()
}

impl Scene {
    fn new(name: &str) -> Scene {
        let dir = std::env::temp_dir().join(format!("rgt-approve-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        let mut config = Config { ledger_dir: dir.join("ledger"), ..Config::default() };
        config.seal.key_file = Some(dir.join("key"));
        std::fs::write(dir.join("key"), "ab".repeat(32)).unwrap();
        let options = Options { config: config.clone(), ephemeral: false, enforce_allowed: true };
        let (_commands, asked) = mpsc::channel();
        let mut engine = Engine::new(Script::new([]), options, PathBuf::from("/nowhere"), asked).unwrap();
        engine.state_file = dir.join("state.json");
        let mut scene = Scene { dir, config, engine };
        scene.agent(1, ASKS);
        scene.agent(2, ASKS);
        scene
    }

    fn agent(&mut self, number: AgentNo, policy: &str) {
        let run = Run {
            agent_id: "a".to_owned(),
            run_id: format!("r{number}"),
            instance: "i".to_owned(),
            trace_id: "0".repeat(31) + "1",
            principal: "uid:0".to_owned(),
            environment: None,
            container: None,
        };
        let ledger = self.engine.desk.ledgers.join(&self.config, None).unwrap();
        self.engine.state.agents.push(kept(number, &run));
        let mut agent = new_agent(number, run, compiled(policy), &self.config, &self.config, ledger).unwrap();
        agent.cgroup = PathBuf::from("/an/agents");
        agent.look_at_facts();
        self.engine.desk.agents.insert(number, agent);
        self.engine.stand();
    }

    /// The facts that the kernel side knows of, a bit for each of the three conditions, in order.
    fn facts(&self) -> [u64; 2] {
        [1, 2].map(|number| self.engine.source.facts[&number])
    }

    fn ask(&mut self, change: impl FnOnce(&mut ApproveRequest)) -> Answer {
        let mut request = ApproveRequest {
            agent: "a".to_owned(),
            approval: "deploy".to_owned(),
            revoke: false,
            lasts_ms: None,
            reason: None,
        };
        change(&mut request);
        self.engine.approve(operator(), &request)
    }

    /// The daemon that comes next: what the state file says of the first agent.
    fn kept(&self) -> Vec<String> {
        let state = State::read(&self.engine.state_file).unwrap();
        state.agents[0].approvals.iter().map(|approval| approval.name.clone()).collect()
    }

    /// The first agent deletes something, or tries to.
    fn attempt(&mut self, seq: u64) {
        let mut seen = unlink(b"/etc/x", None, 0);
        seen.key.seq = seq;
        self.engine.desk.event(Event::Attempt(Box::new(seen)));
    }

    /// Every record, once the ledger is closed.
    fn all_records(mut self) -> Vec<Value> {
        self.engine.desk.ledgers.close_all().unwrap();
        let mut reader = Reader::open(&self.config.ledger_dir).unwrap();
        let (mut line, mut found) = (Vec::new(), Vec::new());
        while reader.next_line(&mut line).unwrap().is_some() {
            found.push(serde_json::from_slice(&line).unwrap());
        }
        std::fs::remove_dir_all(&self.dir).unwrap();
        found
    }

    /// `data` of every record about approvals.
    fn records(self) -> Vec<Value> {
        let approvals = self
            .all_records()
            .into_iter()
            .filter(|record| record["type"] == "rgt.identity.assertion" && record["subject"] == "approval");
        approvals.map(|mut record| record["data"].take()).collect()
    }
}

/// Root, whoever runs the tests.
fn operator() -> Peer {
    let (one, _other) = UnixStream::pair().unwrap();
    let me = Peer::of(&one).unwrap();
    me.posing(me.pid, 0)
}

fn error(answer: Answer) -> String {
    answer.unwrap_err().error
}

#[test]
fn an_approval_holds_until_it_is_taken_back() {
    let mut scene = Scene::new("whole");
    assert_eq!(scene.facts(), [0b11; 2]);
    let given = scene.ask(|ask| ask.reason = Some("release 12".to_owned())).unwrap();
    assert_eq!((&given["state"], &given["until"]), (&json!("given"), &Value::Null));
    assert_eq!(given["agents"].as_array().unwrap().len(), 2, "{given}");
    // In force when the answer comes.
    assert_eq!(scene.facts(), [0b100; 2]);
    assert_eq!(scene.kept(), ["deploy"]);
    scene.ask(|ask| ask.approval = "look".to_owned()).unwrap();
    scene.ask(|ask| ask.revoke = true).unwrap();
    assert_eq!(scene.facts(), [0b01; 2]);
    assert_eq!(scene.kept(), ["look"]);
    assert!(error(scene.ask(|ask| ask.revoke = true)).contains("`deploy` is not approved for a"));
    let records = scene.records();
    let said: Vec<(&str, &str, &str)> = records
        .iter()
        .map(|data| ["run_id", "approval", "state"].map(|key| data[key].as_str().unwrap()).into())
        .collect();
    let wanted = [("deploy", "given"), ("look", "given"), ("deploy", "revoked")];
    let wanted: Vec<(&str, &str, &str)> =
        wanted.iter().flat_map(|(name, state)| [("r1", *name, *state), ("r2", *name, *state)]).collect();
    assert_eq!(said, wanted);
    let first = &records[0];
    assert_eq!((&first["by"], &first["uid"], &first["reason"]), (&json!("operator"), &json!(0), &json!("release 12")));
    assert!(first.get("until").is_none() && first["pid"].is_u64(), "{first}");
}

#[test]
fn an_approval_ends_by_itself() {
    let mut scene = Scene::new("time");
    let until = scene.ask(|ask| ask.lasts_ms = Some(60_000)).unwrap()["until"].clone();
    scene.engine.end_approvals();
    assert_eq!(scene.facts(), [0b100; 2], "its time has not come");
    // Renewed: one approval, with another end.
    scene.ask(|ask| ask.lasts_ms = Some(1)).unwrap();
    std::thread::sleep(Duration::from_millis(5));
    for number in [1, 2] {
        let agent = &scene.engine.desk.agents[&number];
        assert_eq!(agent.facts_of(&agent.table), 0b11, "whether or not its end was told");
    }
    scene.engine.end_approvals();
    assert_eq!(scene.facts(), [0b11; 2]);
    assert_eq!(scene.kept(), [""; 0]);
    let records = scene.records();
    let states: Vec<&str> = records.iter().map(|data| data["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["given", "given", "given", "given", "expired", "expired"]);
    assert_eq!(records[0]["until"], until);
    assert_eq!((&records[4]["by"], &records[4]["until"]), (&json!("time"), &records[2]["until"]));
    assert!(records[4].get("uid").is_none());
}

#[test]
fn only_an_operator_approves() {
    let mut scene = Scene::new("who");
    let request: ApproveRequest = serde_json::from_value(json!({ "agent": "a", "approval": "deploy" })).unwrap();
    let me = operator();
    assert_eq!(scene.engine.approve(me.posing(me.pid, 1000), &request).unwrap_err().kind, Kind::Forbidden);
    // Root, and one of the agent's processes: known to the daemon, by its mark alone, by its cgroup, or gone.
    let refused = |scene: &mut Scene, peer: Peer| {
        let refusal = scene.engine.approve(peer, &request).unwrap_err();
        assert_eq!(refusal.kind, Kind::Forbidden, "{refusal:?}");
        assert!(refusal.error.contains("governed"), "{refusal:?}");
    };
    scene.engine.desk.agents.get_mut(&2).unwrap().processes.join(me.pid);
    refused(&mut scene, me);
    scene.engine.desk.agents.get_mut(&2).unwrap().processes.exit(me.pid);
    scene.engine.source.tasks.insert(2, vec![me.pid]);
    refused(&mut scene, me);
    scene.engine.source.tasks.clear();
    scene.engine.desk.agents.get_mut(&1).unwrap().cgroup = PathBuf::from("/nowhere");
    refused(&mut scene, me);
    scene.engine.desk.agents.get_mut(&1).unwrap().cgroup = PathBuf::from("/an/agents");
    refused(&mut scene, me.posing(u32::MAX, 0));
    assert_eq!(scene.facts(), [0b11; 2]);
    scene.engine.approve(me, &request).unwrap();
    assert_eq!(scene.records().len(), 2);
}

#[test]
fn what_makes_no_sense_is_told() {
    let mut scene = Scene::new("sense");
    let long = "x".repeat(MAX_REASON + 1);
    for (answer, wanted) in [
        (scene.ask(|ask| ask.approval = "depoly".to_owned()), "asked for: deploy, look, other"),
        (scene.ask(|ask| ask.approval = "a b".to_owned()), "letters, digits"),
        (scene.ask(|ask| ask.agent = "b".to_owned()), "no agent is called `b`"),
        (scene.ask(|ask| ask.lasts_ms = Some(0)), "365 days"),
        (scene.ask(|ask| ask.lasts_ms = Some(u64::MAX)), "365 days"),
        (scene.ask(|ask| ask.reason = Some(long)), "256 bytes"),
        (scene.ask(|ask| (ask.revoke, ask.lasts_ms) = (true, Some(1))), "leave --for out"),
    ] {
        let error = error(answer);
        assert!(error.contains(wanted), "{error}");
    }
    // Only those that ask for it get it.
    scene.agent(3, "version: 1\nrules:\n  - { id: A, deny: file.delete }\n");
    let given = scene.ask(|_| {}).unwrap();
    assert_eq!(given["agents"].as_array().unwrap().len(), 2, "{given}");
    assert!(scene.engine.desk.agents[&3].approvals.is_empty());
    scene.records();
}

#[test]
fn what_cannot_be_written_down_is_not_approved_and_is_taken_back_all_the_same() {
    let mut scene = Scene::new("disk");
    let state_file = scene.engine.state_file.clone();
    scene.engine.state_file = scene.dir.join("none/state.json");
    assert!(error(scene.ask(|_| {})).contains("nothing is approved"));
    assert_eq!(scene.facts(), [0b11; 2]);
    scene.engine.state_file.clone_from(&state_file);
    scene.ask(|_| {}).unwrap();
    scene.engine.state_file = scene.dir.join("none/state.json");
    let error = error(scene.ask(|ask| ask.revoke = true));
    assert!(error.contains("holds no longer, but"), "{error}");
    assert_eq!(scene.facts(), [0b11; 2]);
    scene.engine.state_file = state_file;
    scene.records();
}

#[test]
fn an_approval_outlives_its_policy() {
    let mut scene = Scene::new("swap");
    scene.ask(|_| {}).unwrap();
    let agent = scene.engine.desk.agents.get_mut(&1).unwrap();
    let mut next = compiled(
        "version: 1\nrules:\n  - { id: X, deny: file.read, when: { role: ops } }\n  - { id: Y, allow: file.delete, when: { approval: [deploy, other] } }\n",
    );
    next.renumber(&agent.table.labels, &agent.table.facts, agent.busy()).unwrap();
    assert_eq!(next.approvals(), ["deploy", "other"]);
    assert_eq!(agent.facts_of(&next) & next.tests[0].facts, 0);
    assert_eq!(agent.facts_of(&next) & next.tests[1].facts, next.tests[1].facts, "approved there as well");
    scene.records();
}

#[test]
fn records_say_by_what_an_attempt_was_approved() {
    let mut scene = Scene::new("evidence");
    scene.attempt(1);
    scene.ask(|_| {}).unwrap();
    scene.attempt(2);
    scene.ask(|ask| ask.revoke = true).unwrap();
    scene.attempt(3);
    let state = State::read(&scene.engine.state_file).unwrap();
    assert!(state.agents.iter().all(|kept| kept.approvals.is_empty()));
    let records = scene.all_records();
    let given = records.iter().find(|record| record["data"]["state"] == "given" && record["data"]["run_id"] == "r1");
    let attempts = records.iter().map(|record| &record["data"]).filter(|data| data["action_attempted"].is_object());
    let said: Vec<[&Value; 3]> =
        attempts.map(|data| [&data["policy_rule_id"], &data["approval_status"], &data["user_approval_id"]]).collect();
    let wanted = [
        [&json!("A"), &json!("required"), &Value::Null],
        [&json!("C"), &json!("approved"), &given.unwrap()["id"]],
        [&json!("A"), &json!("required"), &Value::Null],
    ];
    assert_eq!(said, wanted);
}

#[test]
fn the_next_daemon_finds_what_was_recorded() {
    let mut scene = Scene::new("next");
    scene.ask(|ask| ask.lasts_ms = Some(60_000)).unwrap();
    let state = State::read(&scene.engine.state_file).unwrap();
    let [approval] = state.agents[0].approvals.as_slice() else { panic!("{state:?}") };
    assert_eq!(Some(approval), scene.engine.desk.agents[&1].approvals.first());
    let id = approval.record.clone().unwrap();
    let records = scene.all_records();
    assert!(records.iter().any(|record| record["id"] == *id && record["subject"] == "approval"), "{id}");
}
