//! A ledger with real records, as long as a test wants it.

use std::path::{Path, PathBuf};

use rgt::attempt::{
    ArgumentRead, Attempt, Credentials, End, Enforcement, Judged, Judgement, Mode, Run, Severity, Verdict,
};
use rgt::ledger::{Ledger, LedgerConfig, Reader};
use rgt::record::{Recorder, RecorderOptions};
use rgt::seal::SealConfig;
use sensor_common::action::Action;

const KEY: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

pub struct TestLedger {
    key_file: PathBuf,
    ledger: Ledger,
    recorders: Vec<Recorder>,
    made: u64,
}

impl TestLedger {
    /// Below `dir`: the key, the node's own keys, the ledger; one run for each agent.
    pub fn new(dir: &Path, agents: &[&str]) -> Self {
        let key_file = dir.join("seal.key");
        std::fs::write(&key_file, format!("{KEY}\n")).unwrap();
        let seal = SealConfig { key_file: Some(key_file.clone()), key_dir: dir.join("keys"), ..SealConfig::default() };
        let config = LedgerConfig { node: "test-node".to_owned(), seal, ..LedgerConfig::default() };
        let ledger = Ledger::open(&dir.join("ledger"), &config).unwrap();
        let recorders =
            agents.iter().map(|agent| Recorder::new(run(agent), RecorderOptions::default()).unwrap()).collect();
        Self { key_file, ledger, recorders, made: 0 }
    }

    /// So many attempts, the agents taking turns; visible to readers on return.
    pub fn append(&mut self, count: u64) {
        for _ in 0..count {
            let turn = usize::try_from(self.made).unwrap() % self.recorders.len();
            let (attempt, judgement) = delete(self.made);
            self.recorders[turn].attempt(&attempt, &judgement, &mut self.ledger).unwrap();
            self.made += 1;
        }
        self.ledger.flush(false).unwrap();
    }

    pub fn dir(&self) -> &Path {
        self.ledger.dir()
    }

    pub fn key_file(&self) -> &Path {
        &self.key_file
    }
}

/// `chain.id chain.seq` of every line.
pub fn records(ledger: &Path) -> Vec<String> {
    let mut reader = Reader::open(ledger).unwrap();
    let mut line = Vec::new();
    let mut all = Vec::new();
    while reader.next_line(&mut line).unwrap().is_some() {
        let record: serde_json::Value = serde_json::from_slice(&line).unwrap();
        let chain = &record["data"]["chain"];
        all.push(format!("{} {}", chain["id"].as_str().unwrap(), chain["seq"]));
    }
    all
}

fn run(agent: &str) -> Run {
    Run {
        agent_id: agent.to_owned(),
        run_id: format!("{agent}-1"),
        instance: format!("rgt/{agent}"),
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".to_owned(),
        principal: "uid:1000".to_owned(),
        environment: None,
        container: None,
    }
}

fn delete(number: u64) -> (Attempt, Judgement) {
    let path = format!("/srv/data/{number}").into_bytes();
    let attempt = Attempt {
        at: 1_793_700_000_000_000_000 + number * 1_000_000,
        syscall: "unlinkat",
        compat: false,
        action: Action::FileDelete,
        actions: vec![Action::FileDelete],
        argument: Some(path.clone()),
        argument2: None,
        argument_read: ArgumentRead::Entry,
        directory: None,
        directory2: None,
        object: Some(path),
        object2: None,
        capability: None,
        end: End::Returned(-13),
        pid: 4242,
        tid: 4242,
        exe_chain: vec![b"/usr/bin/rm".to_vec(), b"/usr/bin/bash".to_vec()],
        argv: None,
        parameters: Vec::new(),
        credentials: Credentials { uid: 1000, gid: 1000, euid: 1000, egid: 1000, caps: 0 },
        late: false,
        incomplete: Vec::new(),
    };
    let judgement = Judgement {
        verdict: Verdict::Deny,
        enforcement: Enforcement::Blocked,
        mode: Mode::Lsm,
        degraded: false,
        rule_id: "RULE_FILE_DELETE_BLOCK".to_owned(),
        reason: "deletes outside the allowed places".to_owned(),
        judged: Judged::Kernel,
        severity: Severity::High,
        host: None,
        policy_hash: "00".repeat(32),
        watched: Vec::new(),
        labels: Vec::new(),
        risk_added: 0,
        approval: None,
    };
    (attempt, judgement)
}
