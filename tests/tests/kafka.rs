//! The Kafka sink against a real broker: streamed and verified, and nothing lost when either side dies.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rgt::sinks::kafka::{Error, KafkaConfig, KafkaSink, State};
use rgt_tests::kafka::{Broker, Consumed, Tools, consume, free_port, tools};
use rgt_tests::ledger::{TestLedger, records};
use rgt_tests::native::daemon::Daemon;
use rgt_tests::native::records::size;
use rgt_tests::native::{native, rgt};

const TOPIC: &str = "rgt";
/// Longer than a consumer takes to join its group, shorter than a reader's patience.
const QUIET: Duration = Duration::from_secs(8);
/// For a broker that must first get rid of its old session.
const LONG: Duration = Duration::from_secs(90);

/// Brokers are big and the machine small: one test at a time.
static ONE: Mutex<()> = Mutex::new(());

fn with_broker(test: &str, body: impl FnOnce(&Tools, &mut Broker, &Path)) {
    let tools = match tools() {
        Ok(tools) => tools,
        Err(reason) => {
            println!("SKIP {test}: {reason:#}");
            return;
        }
    };
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut broker = Broker::start(&tools, free_port().unwrap()).unwrap();
    let dir = Dir::new(test);
    body(&tools, &mut broker, &dir.0);
}

struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

fn start(broker: &Broker, ledger: &TestLedger) -> KafkaSink {
    let config = KafkaConfig::new(&broker.address(), TOPIC).unwrap();
    KafkaSink::start(config, ledger.dir(), Arc::default()).unwrap()
}

fn wait_for(what: &str, mut reached: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !reached() {
        assert!(begun.elapsed() < LONG, "{what}: not in {LONG:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Every record of the ledger has arrived, genuine; and how many of them twice.
fn complete(tools: &Tools, broker: &Broker, ledger: &Path, key_file: &Path) -> Consumed {
    let consumed = consume(tools, broker, TOPIC, key_file, QUIET).unwrap();
    assert_eq!(consumed.not_genuine, 0);
    let arrived: HashSet<&String> = consumed.records.iter().collect();
    let written = records(ledger);
    let missing: Vec<&String> = written.iter().filter(|r| !arrived.contains(r)).collect();
    assert!(missing.is_empty(), "{} of {} missing, the first: {}", missing.len(), written.len(), missing[0]);
    assert_eq!(consumed.records.len(), written.len(), "records that the ledger does not have");
    consumed
}

#[test]
fn streamed_and_verified() {
    with_broker("streamed_and_verified", |tools, broker, dir| {
        let mut ledger = TestLedger::new(dir, &["coder", "reviewer"]);
        ledger.append(500);
        let sink = start(broker, &ledger);
        wait_for("the backlog", || sink.status().acknowledged >= 500);
        // And what comes while it runs.
        ledger.append(500);
        let status = sink.finish(LONG).unwrap();
        assert_eq!((status.state, status.restarts, status.trouble), (State::Stopped, 0, None));
        let consumed = complete(tools, broker, ledger.dir(), ledger.key_file());
        assert_eq!(consumed.duplicates, 0);
        for agent in ["coder", "reviewer"] {
            assert!(consumed.keys.iter().any(|k| k == agent), "no record keyed {agent}");
        }
        in_order_by_key(&consumed);
        println!("streamed_and_verified: {} records, 0 twice", consumed.records.len());
    });
}

/// One agent's records are in one partition, so they arrive in the ledger's order.
fn in_order_by_key(consumed: &Consumed) {
    let mut last = std::collections::HashMap::new();
    for (record, key) in consumed.records.iter().zip(&consumed.keys) {
        let seq: u64 = record.rsplit(' ').next().unwrap().parse().unwrap();
        let before = last.insert(key, seq);
        assert!(before.is_none_or(|b| b < seq), "{key}: {seq} after {before:?}");
    }
}

#[test]
fn broker_killed_in_mid_stream() {
    with_broker("broker_killed_in_mid_stream", |tools, broker, dir| {
        let mut ledger = TestLedger::new(dir, &["coder", "reviewer"]);
        ledger.append(20_000);
        let sink = start(broker, &ledger);
        wait_for("the first thousand", || sink.status().acknowledged >= 1_000);
        broker.kill().unwrap();
        let before = sink.status();
        ledger.append(2_000);
        wait_for("trouble told", || sink.status().state == State::Troubled);
        let trouble = sink.status().trouble.unwrap();
        broker.restart().unwrap();
        let back = Instant::now();
        let status = sink.finish(LONG).unwrap();
        let took = back.elapsed();
        let consumed = complete(tools, broker, ledger.dir(), ledger.key_file());
        in_order_by_key(&consumed);
        println!(
            "broker_killed_in_mid_stream: killed at {} of 20000 ({trouble}), {} records, {} twice, {} producers given up, all acknowledged {took:.1?} after the broker's return",
            before.acknowledged,
            consumed.records.len(),
            consumed.duplicates,
            status.restarts,
        );
    });
}

#[test]
fn broker_stopped_for_a_while() {
    with_broker("broker_stopped_for_a_while", |tools, broker, dir| {
        let mut ledger = TestLedger::new(dir, &["coder", "reviewer"]);
        ledger.append(5_000);
        let config = KafkaConfig::from_settings([
            ("brokers", broker.address().as_str()),
            ("topic", TOPIC),
            // Shorter than the stop, so that requests are really sent again: what idempotence is for.
            ("properties.request.timeout.ms", "1500"),
            ("properties.socket.timeout.ms", "2000"),
        ])
        .unwrap();
        let sink = KafkaSink::start(config, ledger.dir(), Arc::default()).unwrap();
        for round in 1..=3 {
            let before = sink.status().acknowledged;
            ledger.append(2_000);
            wait_for("progress", || sink.status().acknowledged > before);
            broker.stop().unwrap();
            // What is sent now lies in the socket of a broker that does not read it, and is sent again after the time-out.
            ledger.append(3_000);
            thread::sleep(Duration::from_secs(5));
            broker.cont().unwrap();
            println!("round {round}: {:?}", sink.status());
        }
        let status = sink.finish(LONG).unwrap();
        let consumed = complete(tools, broker, ledger.dir(), ledger.key_file());
        in_order_by_key(&consumed);
        assert_eq!((consumed.duplicates, status.restarts), (0, 0), "idempotence did not hold");
        println!("broker_stopped_for_a_while: {} records, 0 twice, in order", consumed.records.len());
    });
}

#[test]
fn sink_killed_in_mid_stream() {
    with_broker("sink_killed_in_mid_stream", |tools, broker, dir| {
        let mut ledger = TestLedger::new(dir, &["coder", "reviewer"]);
        ledger.append(30_000);
        let mut at = Vec::new();
        for goal in [1_000, 3_000] {
            let mut child = Sink::spawn(&ledger, broker, &[]);
            at.push(child.wait_acknowledged(goal));
            child.kill();
            ledger.append(1_000);
        }
        let mut last = Sink::spawn(&ledger, broker, &["finish", "90"]);
        assert!(last.0.wait().unwrap().success());
        let consumed = complete(tools, broker, ledger.dir(), ledger.key_file());
        println!(
            "sink_killed_in_mid_stream: killed after {at:?}, {} records, {} twice",
            consumed.records.len(),
            consumed.duplicates
        );
    });
}

/// The sink in a process of its own.
struct Sink(Child);

impl Sink {
    fn spawn(ledger: &TestLedger, broker: &Broker, more: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_kafka-sink"))
            .arg(ledger.dir())
            .args([&broker.address(), TOPIC])
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    fn wait_acknowledged(&mut self, goal: u64) -> u64 {
        let told = BufReader::new(self.0.stdout.take().unwrap());
        for line in told.lines() {
            let count: u64 = line.unwrap().parse().unwrap();
            if count >= goal {
                return count;
            }
        }
        panic!("the sink ended before {goal} records");
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Needs no broker: that is the point.
#[test]
fn unreachable_broker_names_what_remains() {
    let dir = Dir::new("unreachable_broker");
    let mut ledger = TestLedger::new(&dir.0, &["coder"]);
    ledger.append(120);
    let brokers = format!("127.0.0.1:{}", free_port().unwrap());
    let config = KafkaConfig::new(&brokers, TOPIC).unwrap();
    let begun = Instant::now();
    let sink = KafkaSink::start(config, ledger.dir(), Arc::default()).unwrap();
    let error = sink.finish(Duration::from_secs(3)).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let expected = records(ledger.dir()).len() as u64;
    assert!(matches!(&error, Error::Unsent { remaining, .. } if *remaining == expected), "{error}");
    println!("unreachable_broker: {error}");
}

#[test]
fn a_property_that_does_not_exist_fails_at_the_start() {
    let dir = Dir::new("wrong_property");
    let ledger = TestLedger::new(&dir.0, &["coder"]);
    let config =
        KafkaConfig::from_settings([("brokers", "127.0.0.1:9"), ("topic", TOPIC), ("properties.no.such.thing", "1")])
            .unwrap();
    let error = KafkaSink::start(config, ledger.dir(), Arc::default()).err().unwrap().to_string();
    assert!(error.contains("no.such.thing"), "{error}");
}

/// The whole road: a kernel event becomes a signed record in Kafka.
#[test]
fn an_agents_records_arrive() {
    let Some(rgt) = std::env::var_os("RGT_BIN") else {
        println!("SKIP an_agents_records_arrive: RGT_BIN names no rgt; run it by `cargo xtask test`");
        return;
    };
    with_broker("an_agents_records_arrive", |tools, broker, dir| {
        let key = dir.join("key");
        fs::write(&key, format!("{}\n", "5a".repeat(32))).unwrap();
        let ledger = dir.join("ledger");
        let status = Command::new(&rgt)
            .args(["exec", "--name", "road", "--ledger"])
            .arg(&ledger)
            .arg("--set")
            .arg(format!("seal.key_file={}", key.display()))
            .arg("--set")
            .arg(format!("sinks.kafka.brokers={}", broker.address()))
            .args(["--set", "sinks.kafka.topic=rgt", "--", "sh", "-c", "ls / >/dev/null; rm -f /tmp/rgt-none; exit 4"])
            .stdin(Stdio::null())
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(4));
        let consumed = consume(tools, broker, TOPIC, &key, QUIET).unwrap();
        let written: usize = fs::read_dir(&ledger)
            .unwrap()
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|ext| ext == "jsonl"))
            .map(|entry| fs::read_to_string(entry.path()).unwrap().lines().count())
            .sum();
        assert_eq!((consumed.not_genuine, consumed.records.len()), (0, written));
        assert!(written > 10, "only {written} records");
    });
}

/// Whatever it had sent when it was killed, the next one goes on from the cursor.
#[test]
fn rgt_killed_in_mid_stream() {
    native("rgt_killed_in_mid_stream", &[], |dir| {
        with_broker("rgt_killed_in_mid_stream", |tools, broker, _| {
            let ledger = dir.join("ledger");
            let brokers = format!("sinks.kafka.brokers={}", broker.address());
            let sets = [brokers.as_str(), "sinks.kafka.topic=rgt"];
            let begin = || Daemon::start_with(dir, &ledger, &sets);
            let mut daemon = begin();
            for round in 0..2 {
                let before = size(&ledger);
                let enough = dir.join(format!("enough-{round}"));
                let script = "n=0; until [ -e \"$0\" ] || [ $n = 500000 ]; do n=$((n + 1)); : </dev/null; done";
                let mut busy = Command::new(rgt())
                    .args(["exec", "--name", "busy", "--", "sh", "-c", script])
                    .arg(&enough)
                    .stdin(Stdio::null())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                wait_for("records", || size(&ledger) > before + 3_000_000);
                daemon.kill();
                println!("round {round}: killed at {} bytes", size(&ledger));
                fs::write(enough, "").unwrap();
                daemon = begin();
                busy.wait().unwrap();
            }
            assert_eq!(daemon.stop(), 0);
            let consumed = complete(tools, broker, &ledger, &dir.key());
            println!("rgt_killed_in_mid_stream: {} records, {} twice", consumed.records.len(), consumed.duplicates);
        });
    });
}
