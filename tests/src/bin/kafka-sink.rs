//! The Kafka sink alone, over a ledger directory, in a process of its own, so that a test can kill it.
//!
//! usage: kafka-sink LEDGER BROKERS TOPIC [finish SECONDS]: without `finish` it streams until it is killed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use rgt::sinks::kafka::{KafkaConfig, KafkaSink};

fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [ledger, brokers, topic, rest @ ..] = &args[..] else {
        anyhow::bail!("usage: kafka-sink LEDGER BROKERS TOPIC [finish SECONDS]");
    };
    let stop = Arc::new(AtomicBool::new(false));
    let sink = KafkaSink::start(KafkaConfig::new(brokers, topic)?, Path::new(ledger), stop)?;
    if let [word, seconds] = rest
        && word == "finish"
    {
        let seconds = seconds.parse().context("SECONDS")?;
        println!("{:?}", sink.finish(Duration::from_secs(seconds))?);
        return Ok(());
    }
    loop {
        println!("{}", sink.status().acknowledged);
        std::thread::sleep(Duration::from_millis(50));
    }
}
