//! A ledger's lines as a test wants them.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// What was attempted, with the outcome that a later record may have brought.
#[derive(Clone, Debug)]
pub struct Attempt {
    pub id: String,
    pub syscall: String,
    pub verb: String,
    pub compat: bool,
    pub argument: Option<Vec<u8>>,
    pub argument2: Option<Vec<u8>>,
    pub argument_read: String,
    /// Where a path starts from that does not say so itself.
    pub directory: Option<Vec<u8>>,
    pub verdict: String,
    pub parameters: Value,
    pub result: Option<i64>,
    pub end: Option<String>,
    /// A record without result came first.
    pub by_outcome: bool,
    pub pid: u64,
    pub tid: u64,
    pub exe: Vec<u8>,
    pub argv: Vec<Vec<u8>>,
    pub incomplete: Vec<String>,
    pub run: String,
    pub agent: String,
}

/// All of a ledger.
#[derive(Default)]
pub struct Ledger {
    pub attempts: Vec<Attempt>,
    /// `data` of what is no attempt, with its category.
    pub others: Vec<(String, Value)>,
    pub lines: u64,
}

/// The bytes that a canonical string stands for.
pub fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next().unwrap()).to_digit(16).unwrap();
            let (high, low) = (digit(), digit());
            bytes.push(u8::try_from(high * 16 + low).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    bytes
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(decode)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Attempt {
    fn read(id: &str, data: &Value) -> Attempt {
        let action = &data["action_attempted"];
        let pid = action["pid"].as_u64().unwrap();
        Attempt {
            id: id.to_owned(),
            syscall: text(&action["syscall"]),
            verb: text(&action["verb"]),
            compat: action["abi"] == "compat",
            argument: bytes(&action["argument"]),
            argument2: bytes(&action["argument2"]),
            argument_read: text(&action["argument_read"]),
            directory: bytes(&action["directory"]),
            verdict: text(&data["policy_verdict"]),
            parameters: action["parameters"].clone(),
            result: action["result"].as_i64(),
            end: data["end"].as_str().map(str::to_owned),
            by_outcome: false,
            pid,
            tid: action["tid"].as_u64().unwrap_or(pid),
            exe: bytes(&action["exe"]).unwrap_or_default(),
            argv: action["argv"].as_array().into_iter().flatten().filter_map(bytes).collect(),
            incomplete: data["incomplete"].as_array().into_iter().flatten().map(text).collect(),
            run: text(&data["run_id"]),
            agent: text(&data["agent_id"]),
        }
    }

    pub fn argument(&self) -> String {
        String::from_utf8_lossy(self.argument.as_deref().unwrap_or_default()).into_owned()
    }
}

impl Ledger {
    /// Every segment of a directory in order.
    pub fn read(dir: &Path) -> Ledger {
        let mut ledger = Ledger::default();
        let mut waiting = HashMap::new();
        each_line(dir, |line| ledger.add(line, &mut waiting));
        ledger
    }

    fn add(&mut self, line: &[u8], waiting: &mut HashMap<String, usize>) {
        let event: Value = serde_json::from_slice(line).unwrap();
        let (data, id) = (&event["data"], text(&event["id"]));
        self.lines += 1;
        if data.get("action_attempted").is_none() {
            self.others.push((text(&event["type"]), data.clone()));
            return;
        }
        let attempt = Attempt::read(&id, data);
        match data.get("outcome_of") {
            Some(first) => {
                let first = waiting.remove(&text(first)).expect("an outcome of an attempt that waits for it");
                let known = &mut self.attempts[first];
                let id = std::mem::take(&mut known.id);
                *known = Attempt { id, by_outcome: true, ..attempt };
            }
            None => {
                if attempt.result.is_none() && attempt.end.is_none() {
                    waiting.insert(id, self.attempts.len());
                }
                self.attempts.push(attempt);
            }
        }
    }

    /// Attempts by this call on this path or address.
    pub fn find(&self, syscall: &str, argument: impl AsRef<[u8]>) -> Vec<&Attempt> {
        let wanted = argument.as_ref();
        self.attempts
            .iter()
            .filter(|each| each.syscall == syscall && each.argument.as_deref() == Some(wanted))
            .collect()
    }

    /// The one such attempt.
    #[track_caller]
    pub fn one(&self, syscall: &str, argument: impl AsRef<[u8]>) -> &Attempt {
        let found = self.find(syscall, argument.as_ref());
        let name = String::from_utf8_lossy(argument.as_ref()).into_owned();
        assert_eq!(found.len(), 1, "{syscall} of {name}: {found:?}");
        found[0]
    }

    /// Events that the sensor itself says it lost.
    pub fn declared_lost(&self) -> u64 {
        self.gaps().map(|gap| gap["dropped"].as_u64().unwrap()).sum()
    }

    pub fn gaps(&self) -> impl Iterator<Item = &Value> {
        self.others.iter().map(|(_, data)| data).filter(|data| data["kind"] == "gap")
    }
}

/// Bytes of a ledger. Segments may be sealed and removed meanwhile.
pub fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap();
    entries.filter_map(|entry| entry.unwrap().metadata().ok()).map(|known| known.len()).sum()
}

/// Every line of a ledger, sealed segments included.
pub fn each_line(dir: &Path, mut each: impl FnMut(&[u8])) {
    let mut segments: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with("rgt-") && (name.ends_with(".jsonl") || name.ends_with(".jsonl.zst"))
        })
        .collect();
    segments.sort();
    for segment in segments {
        if segment.extension().is_some_and(|extension| extension == "zst") {
            let mut child =
                Command::new("zstd").arg("-dcq").arg(&segment).stdout(Stdio::piped()).spawn().expect("zstd");
            lines_of(child.stdout.take().unwrap(), &mut each);
            assert!(child.wait().unwrap().success());
        } else {
            lines_of(fs::File::open(&segment).unwrap(), &mut each);
        }
    }
}

fn lines_of(from: impl std::io::Read, each: &mut impl FnMut(&[u8])) {
    let mut reader = BufReader::with_capacity(1 << 20, from);
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.read_until(b'\n', &mut line).unwrap() == 0 {
            return;
        }
        each(line.strip_suffix(b"\n").expect("a whole last line"));
    }
}
