//! Ledgers to test with.
#![allow(dead_code, reason = "each test binary uses some of it")]

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rgt::attempt::{
    Approval, ArgumentRead, Argv, Attempt, Credentials, End, Enforcement, Judged, Judgement, Mode, Run, Severity,
    Verdict,
};
use rgt::ledger::{Ledger, LedgerConfig};
use rgt::record::{Field, Recorder, RecorderOptions};
use rgt::seal::{SealConfig, SealKey};
use sensor_common::action::Action;

/// A directory of its own, gone with the value.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("rgt-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger")
    }

    pub fn key_file(&self) -> PathBuf {
        self.0.join("keys/seal.key")
    }

    pub fn config(&self) -> LedgerConfig {
        let seal = SealConfig { key_dir: self.0.join("keys"), ..SealConfig::default() };
        LedgerConfig { node: "node-1".to_string(), seal, ..LedgerConfig::default() }
    }

    pub fn open(&self) -> Ledger {
        Ledger::open(&self.ledger(), &self.config()).unwrap()
    }

    pub fn keys(&self) -> Vec<SealKey> {
        vec![SealKey::load(&self.key_file(), rgt::seal::KeyEncoding::Hex).unwrap()]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers from a seed, the same on every machine (xorshift64*).
pub struct Random(pub u64);

impl Random {
    /// From `RGT_TEST_SEED`, else from the clock; printed, so that a failure can be repeated.
    pub fn seeded() -> Random {
        let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = std::env::var("RGT_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(clock) | 1;
        println!("RGT_TEST_SEED={seed}");
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn bytes(&mut self, most: u64) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).map(|_| self.next() as u8).collect()
    }
}

pub fn run(name: &str) -> Run {
    Run {
        agent_id: name.to_string(),
        run_id: format!("{name}-run"),
        instance: format!("/rgt/{name}"),
        trace_id: "0123456789abcdef0123456789abcdef".to_string(),
        principal: "uid:1000".to_string(),
        environment: None,
        container: None,
    }
}

pub fn attempt(at: u64, argument: &[u8]) -> Attempt {
    Attempt {
        at,
        syscall: "openat",
        compat: false,
        action: Action::FileRead,
        actions: vec![Action::FileRead],
        argument: Some(argument.to_vec()),
        argument2: None,
        argument_read: ArgumentRead::Entry,
        directory: None,
        directory2: None,
        object: None,
        object2: None,
        capability: None,
        end: End::Returned(3),
        pid: 4242,
        tid: 4242,
        exe_chain: vec![b"/usr/bin/python3".to_vec(), b"/usr/bin/bash".to_vec()],
        argv: None,
        parameters: Vec::new(),
        credentials: Credentials { uid: 1000, gid: 1000, euid: 1000, egid: 1000, caps: 0 },
        late: false,
        incomplete: Vec::new(),
    }
}

pub fn allow() -> Judgement {
    Judgement {
        verdict: Verdict::Allow,
        enforcement: Enforcement::Passed,
        mode: Mode::Lsm,
        degraded: false,
        rule_id: "RULE_DEFAULT".to_string(),
        reason: "no rule matches".to_string(),
        judged: Judged::Kernel,
        severity: Severity::Info,
        host: None,
        policy_hash: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855".to_string(),
        watched: Vec::new(),
        labels: Vec::new(),
        risk_added: 0,
        approval: None,
    }
}

pub fn deny() -> Judgement {
    Judgement {
        verdict: Verdict::Deny,
        enforcement: Enforcement::Blocked,
        rule_id: "RULE_FILE_DELETE_BLOCK".to_string(),
        severity: Severity::High,
        ..allow()
    }
}

pub const NASTY: &[&[u8]] = &[
    b"/tmp/new\nline",
    b"/tmp/\"quoted\" \\ 'back'",
    b"/tmp/<&>",
    b"/tmp/\xff\xfe\xc3\x28",
    b"/tmp/100%25%zz%",
    b"/tmp/del\x7f\x00\x1b[31m",
    "/tmp/ünïcödé\u{2028}".as_bytes(),
    b"",
    b"@abstract",
    b"[::1]:80",
];

/// Something of everything; returns how many records there are.
pub fn fill(ledger: &mut Ledger, random: &mut Random, length: usize, count: u64) {
    let options = RecorderOptions { trajectory_length: length, ..RecorderOptions::default() };
    let mut recorders: Vec<Recorder> = ["team/coder", "exec/1000/a b&c%"]
        .iter()
        .map(|name| {
            let mut run = run(&format!("{name}-{}", random.next()));
            run.environment = (random.below(2) == 0).then(|| "ci".to_string());
            run.container = (random.below(2) == 0).then(|| "3f4e".to_string());
            Recorder::new(run, options.clone()).unwrap()
        })
        .collect();
    let long: Vec<u8> = std::iter::repeat_n(b"/\xe4\"d%".as_slice(), 819).flatten().copied().collect();
    assert_eq!(long.len(), 4095);
    let mut at = 1_793_700_000_000_000_000;
    let mut pending = Vec::new();
    for recorder in &mut recorders {
        let run = recorder.run().clone();
        ledger.identity(&run, "registered", &[("method", Field::Str("cgroup"))]).unwrap();
        recorder.sandbox("start", &[("command", Field::Strings(vec!["sh", "-c", "a\nb"]))], ledger).unwrap();
    }
    for n in 0..count {
        let who = random.below(2) as usize;
        let recorder = &mut recorders[who];
        at += random.below(200_000_000);
        let argument = match random.below(4) {
            0 => NASTY[random.below(NASTY.len() as u64) as usize].to_vec(),
            1 if random.below(8) == 0 => long.clone(),
            _ => random.bytes(300),
        };
        let mut a = attempt(at, &argument);
        let mut j = allow();
        j.approval = (random.below(8) == 0).then(|| Approval {
            given: random.below(2) == 0,
            names: vec!["deploy".to_string()],
            id: (random.below(2) == 0).then(|| "3113eb954d47eb39-17".to_string()),
        });
        match random.below(8) {
            0 => {
                a.syscall = "unlinkat";
                a.action = Action::FileDelete;
                a.end = End::Returned(-13);
                j = deny();
            }
            1 => {
                a.syscall = "execve";
                a.action = Action::ProcExec;
                a.argv = Some(Argv { args: vec![b"sh".to_vec(), random.bytes(40)], truncated: random.below(2) == 0 });
                a.credentials.caps = u64::MAX;
            }
            2 => a.end = End::Killed,
            3 => {
                a.end = End::Pending;
                j.verdict = Verdict::Challenge;
                j.enforcement = Enforcement::Held;
            }
            4 => {
                a.syscall = "renameat2";
                a.actions = vec![Action::FileRename, Action::FileDelete];
                a.argument2 = Some(random.bytes(50));
                a.object = Some(long.clone());
                a.object2 = Some(b"/x".to_vec());
                a.end = End::Returned(i64::MIN + random.below(3) as i64);
            }
            5 => {
                a.late = true;
                a.at = at.saturating_sub(5_000_000_000);
                a.incomplete = vec!["argument", "exe"];
                a.argument = None;
                a.argument_read = ArgumentRead::None;
                a.exe_chain.clear();
                a.end = End::Unknown;
            }
            _ => a.object = Some(b"/work/src/main.rs".to_vec()),
        }
        let id = recorder.attempt(&a, &j, ledger).unwrap();
        if a.end == End::Pending {
            pending.push((who, id, a, j));
        }
        if random.below(3) == 0 && !pending.is_empty() {
            let (who, id, mut a, j) = pending.remove(random.below(pending.len() as u64) as usize);
            a.end = End::Returned(random.below(7) as i64);
            // The wall's clock is read anew.
            a.at += random.below(20);
            recorders[who].outcome(&id, &a, &j, ledger).unwrap();
        }
        if n % 50 == 49 {
            let run = recorders[0].run().clone();
            ledger.gap(Some(&run), "flood", 100, 3, 97, "the ring was full").unwrap();
            ledger.heartbeat(&[("uptime_ms", Field::Uint(u64::MAX)), ("agents", Field::Int(-2))]).unwrap();
        }
    }
    for recorder in &mut recorders {
        recorder.sandbox("stop", &[("exit_status", Field::Int(0))], ledger).unwrap();
    }
}

pub fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// Keeps the import used where only some tests build file names from bytes.
pub fn os_name(bytes: &[u8]) -> std::ffi::OsString {
    std::ffi::OsString::from_vec(bytes.to_vec())
}
