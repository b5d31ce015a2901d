//! The sink's thread, what it tells about itself, and how it ends.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use super::config::{ConfigError, KafkaConfig};
use super::session::{self, Broken, End, Producer};
use crate::ledger::Position;
use crate::sinks::{Bell, Spool};

/// Between one producer that broke and the next.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(10);
/// The same trouble is told again only after this long: librdkafka repeats it at each attempt to connect.
const TELL_AGAIN: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("kafka sink: the ledger: {0:#}")]
    Ledger(#[from] anyhow::Error),
    #[error("kafka sink: cannot start its thread: {0}")]
    Thread(std::io::Error),
    #[error(
        "kafka sink: {remaining} records are not in topic {topic} at {brokers} ({cause}); they remain in the ledger, and the next start with the same ledger, brokers and topic sends them"
    )]
    Unsent { remaining: u64, brokers: String, topic: String, cause: String },
    #[error("kafka sink: its thread died; records remain in the ledger from the cursor on, restart to send them")]
    Died,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// No acknowledgement yet.
    #[default]
    Connecting,
    Streaming,
    /// librdkafka or the ledger reported trouble, and nothing has been acknowledged since.
    Troubled,
    Stopped,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub state: State,
    /// Records that the broker has acknowledged since the start.
    pub acknowledged: u64,
    /// Sent, not acknowledged.
    pub in_flight: u64,
    /// Producers that had to be given up for a new one; each may have sent up to `in_flight` records twice.
    pub restarts: u64,
    /// `chain.seq` up to which, itself not included, every record is acknowledged.
    pub acknowledged_to: Option<u64>,
    /// The last trouble, cleared by the next acknowledgement.
    pub trouble: Option<String>,
}

/// What the thread and librdkafka's callbacks write, and `status` reads.
pub(super) struct Shared {
    pub(super) config: KafkaConfig,
    status: Mutex<Status>,
    told: Mutex<Option<(Option<RDKafkaErrorCode>, Instant)>>,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn acknowledged(&self, count: u64, next: Position) {
        let mut status = self.status();
        status.acknowledged += count;
        status.acknowledged_to = Some(next.seq);
        status.state = State::Streaming;
        status.trouble = None;
    }

    pub(super) fn in_flight(&self, count: u64) {
        self.status().in_flight = count;
    }

    pub(super) fn trouble(&self, code: Option<RDKafkaErrorCode>, text: &str) {
        {
            let mut status = self.status();
            status.state = State::Troubled;
            status.trouble = Some(text.to_owned());
        }
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|(before, at)| before != code || at.elapsed() >= TELL_AGAIN) {
            tracing::warn!(brokers = %self.config.brokers, topic = %self.config.topic, "kafka sink: {text}");
            *told = Some((code, Instant::now()));
        }
    }
}

/// What the thread is told.
pub(super) struct Orders {
    stop: Arc<AtomicBool>,
    /// Set by `finish`: end when the ledger is dry, at the latest then.
    deadline: Arc<Mutex<Option<Instant>>>,
    pub(super) bell: Bell,
}

impl Orders {
    fn deadline(&self) -> Option<Instant> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn drain(&self) -> bool {
        self.deadline().is_some()
    }

    /// Told to stop, or out of time.
    pub(super) fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline().is_some_and(|at| Instant::now() >= at)
    }

    /// Sleeps, but not through an order.
    fn pause(&self, length: Duration) {
        let until = Instant::now() + length;
        while Instant::now() < until && !self.over() {
            self.bell.wait(Duration::from_millis(50));
        }
    }
}

/// A running sink. Dropped without `finish`, it stops soon and sends the rest at its next start.
pub struct KafkaSink {
    shared: Arc<Shared>,
    deadline: Arc<Mutex<Option<Instant>>>,
    bell: Bell,
    thread: Option<JoinHandle<Left>>,
}

/// What the thread leaves behind: the spool, and whether all of it was delivered.
struct Left {
    spool: Spool,
    drained: bool,
}

impl KafkaSink {
    /// Starts streaming the ledger in `ledger_dir` from where the last start stopped. A broker that is away is no
    /// error; a configuration that librdkafka refuses is. `stop` ends the thread within a second.
    pub fn start(config: KafkaConfig, ledger_dir: &Path, stop: Arc<AtomicBool>) -> Result<Self, Error> {
        Self::start_behind(config, ledger_dir, stop, Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// The same for a ledger that is being written: only lines before `limit` are sent, which grows.
    pub fn start_behind(
        config: KafkaConfig,
        ledger_dir: &Path,
        stop: Arc<AtomicBool>,
        limit: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        // Another topic is another sink: it gets the ledger from its first line.
        let name = format!("kafka-{}", config.topic);
        let spool = Spool::open_behind(ledger_dir, &name, limit)?;
        let shared = Arc::new(Shared { config, status: Mutex::default(), told: Mutex::default() });
        // Made here, not in the thread, so that a refused property is an error of the start.
        let first = session::create(&shared).map_err(|e| ConfigError::Refused(e.to_string()))?;
        let deadline = Arc::new(Mutex::new(None));
        let bell = Bell::default();
        let orders = Orders { stop, deadline: Arc::clone(&deadline), bell: bell.clone() };
        let thread = {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name("rgt-kafka".to_owned())
                .spawn(move || work(first, spool, &shared, &orders))
                .map_err(Error::Thread)?
        };
        Ok(Self { shared, deadline, bell, thread: Some(thread) })
    }

    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// For whoever appends to the ledger: a ring saves a new line the wait of some 20 ms.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Sends what is in the ledger by now and ends the thread; `Ok` when all of it is acknowledged.
    pub fn finish(mut self, timeout: Duration) -> Result<Status, Error> {
        *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + timeout);
        self.bell.ring();
        let Some(thread) = self.thread.take() else {
            return Err(Error::Died);
        };
        let Left { mut spool, drained } = thread.join().map_err(|_| Error::Died)?;
        let status = self.status();
        let mut remaining = 0;
        if !drained {
            spool.rewind()?;
            let mut line = Vec::new();
            while spool.next(&mut line)?.is_some() {
                remaining += 1;
            }
        }
        if remaining == 0 {
            return Ok(status);
        }
        Err(Error::Unsent {
            remaining,
            brokers: self.shared.config.brokers.clone(),
            topic: self.shared.config.topic.clone(),
            cause: status.trouble.unwrap_or_else(|| "out of time".to_owned()),
        })
    }
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A deadline of now, not `stop`: that one may be shared with the rest of the daemon.
            *self.deadline.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            self.bell.ring();
            if thread.join().is_err() {
                tracing::error!("kafka sink: its thread panicked; the cursor stands at the last committed record");
            }
        }
    }
}

/// Sessions, one after the other.
fn work(first: Producer, mut spool: Spool, shared: &Arc<Shared>, orders: &Orders) -> Left {
    let mut next = Ok(first);
    let mut retry = RETRY_FIRST;
    let drained = loop {
        let before = shared.status().acknowledged;
        let end = next.and_then(|producer| session::run(&producer, &mut spool, shared, orders));
        // The producer is gone here, its queue with it: what it held is read again from the cursor.
        shared.in_flight(0);
        match end {
            Ok(End::Drained) => break true,
            Ok(End::Stopped) => break false,
            Err(broken) => {
                if shared.status().acknowledged > before {
                    retry = RETRY_FIRST;
                }
                shared.trouble(None, &format!("{broken}; starting over from the cursor in {} ms", retry.as_millis()));
                shared.status().restarts += 1;
            }
        }
        orders.pause(retry);
        if orders.over() {
            break false;
        }
        retry = (retry * 2).min(RETRY_MOST);
        // Never go on from where the broken session had read to: that would skip what it had not delivered.
        next = spool.rewind().map_err(Broken::from).and_then(|()| session::create(shared).map_err(Broken::from));
    };
    shared.status().state = State::Stopped;
    Left { spool, drained }
}
