//! One life of a librdkafka producer: from creation to the first thing that only a new one cures.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};

use super::key;
use super::producer::{Orders, Shared};
use crate::ledger::Position;
use crate::sinks::Spool;

/// Lines handed over before delivery reports are looked at again.
const BATCH: usize = 256;
/// How often the cursor is written: what a killed sink sends twice is at most what it sent in this time.
const COMMIT_EVERY: Duration = Duration::from_millis(200);
/// Waiting for delivery reports; new lines wait no longer than this either.
const REPORT_WAIT: Duration = Duration::from_millis(5);
/// Waiting for new lines when nobody rings the bell.
const IDLE_WAIT: Duration = Duration::from_millis(20);
/// The queue is full: the broker is slow or away.
const FULL_WAIT: Duration = Duration::from_millis(20);

/// How long a broken session waits for the reports still due: without them the records before the one that cannot be
/// delivered would be sent again at each new start, and never count as delivered.
const SETTLE: Duration = Duration::from_secs(5);

pub(super) enum End {
    /// Everything there was is delivered.
    Drained,
    /// Told to stop, or out of time.
    Stopped,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("{0}")]
    Kafka(#[from] KafkaError),
    #[error("the ledger: {0:#}")]
    Ledger(#[from] anyhow::Error),
    #[error("record with chain.seq {seq}: {why}")]
    Record { seq: u64, why: String },
    #[error("{0}")]
    Fatal(String),
}

/// Which of the messages sent are acknowledged. Numbers are given out in sending order, from 0.
#[derive(Default)]
struct Acks {
    first: usize,
    done: VecDeque<bool>,
    /// Reports that came, good or bad.
    reported: usize,
    /// The first that was not delivered, and why.
    failed: Option<(usize, String)>,
    /// Why this producer sends nothing any more.
    fatal: Option<String>,
}

impl Acks {
    fn report(&mut self, number: usize) {
        let Some(at) = number.checked_sub(self.first) else {
            return;
        };
        if at >= self.done.len() {
            self.done.resize(at + 1, false);
        }
        self.done[at] = true;
    }

    /// How many more form an unbroken row from the start; partitions acknowledge independently of each other.
    fn take_prefix(&mut self) -> usize {
        let row = self.done.iter().take_while(|done| **done).count();
        self.done.drain(..row);
        self.first += row;
        row
    }
}

pub(super) type Producer = BaseProducer<Context>;

pub(super) struct Context {
    acks: Mutex<Acks>,
    shared: Arc<Shared>,
}

impl Context {
    fn acks(&self) -> MutexGuard<'_, Acks> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error => {
                // The same text comes through `error`, which decides how often it is told.
                tracing::debug!(facility, message, "librdkafka");
            }
            // A broker that has just started says so for a second or two; nothing is wrong.
            RDKafkaLogLevel::Warning if facility == "GETPID" => {
                tracing::debug!(facility, message, "librdkafka")
            }
            RDKafkaLogLevel::Warning => tracing::warn!(facility, message, "librdkafka"),
            RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
                tracing::debug!(facility, message, "librdkafka");
            }
        }
    }

    /// The only place where a wrong password or certificate shows: deliveries just go on waiting.
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        self.shared
            .trouble(code, &format!("{reason} ({})", code.map_or_else(|| error.to_string(), |c| format!("{c:?}"))));
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.acks().fatal.get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut acks = self.acks();
        acks.reported += 1;
        match result {
            Ok(_) => acks.report(number),
            Err((error, _)) => {
                acks.failed.get_or_insert_with(|| (number, error.to_string()));
            }
        }
    }
}

pub(super) fn create(shared: &Arc<Shared>) -> Result<Producer, KafkaError> {
    let context = Context { acks: Mutex::default(), shared: Arc::clone(shared) };
    shared.config.client().create_with_context(context)
}

/// Reads, sends, commits what is acknowledged. An error leaves everything unacknowledged to the next session, which
/// starts from the cursor: nothing is skipped, whatever the reason.
pub(super) fn run(producer: &Producer, spool: &mut Spool, shared: &Shared, orders: &Orders) -> Result<End, Broken> {
    let mut session = Session {
        producer,
        spool,
        shared,
        header: OwnedHeaders::new().insert(Header { key: "content-type", value: Some("application/cloudevents+json") }),
        unacknowledged: VecDeque::new(),
        sent: 0,
        line: Vec::new(),
        refused: None,
        committed: Commit::default(),
        broken: None,
    };
    loop {
        producer.poll(Duration::ZERO);
        session.account();
        let over = orders.over();
        if over || session.committed.due() {
            session.commit()?;
        }
        if over {
            return Ok(End::Stopped);
        }
        if session.broken.is_some() {
            session.settle()?;
            continue;
        }
        let fed = session.feed()?;
        shared.in_flight(session.unacknowledged.len() as u64);
        match fed {
            Fed::More => {}
            Fed::Full => producer.poll(FULL_WAIT),
            Fed::Dry if !session.unacknowledged.is_empty() => producer.poll(REPORT_WAIT),
            Fed::Dry => {
                session.commit()?;
                if orders.drain() {
                    return Ok(End::Drained);
                }
                orders.bell.wait(IDLE_WAIT);
            }
        }
    }
}

/// How a round of reading and sending ended.
enum Fed {
    More,
    /// librdkafka's queue takes no more now.
    Full,
    /// The ledger has no more now.
    Dry,
}

struct Session<'a> {
    producer: &'a Producer,
    spool: &'a mut Spool,
    shared: &'a Shared,
    header: OwnedHeaders,
    /// The place after each line that was sent, from the first without an unbroken row of acknowledgements before it.
    unacknowledged: VecDeque<Position>,
    sent: usize,
    line: Vec<u8>,
    /// The place after `line`, which the full queue refused.
    refused: Option<Position>,
    committed: Commit,
    /// Why this session must end, and when at the latest.
    broken: Option<(Instant, Broken)>,
}

impl Session<'_> {
    /// Takes in the delivery reports.
    fn account(&mut self) {
        let (row, failed) = {
            let mut acks = self.producer.context().acks();
            let row = acks.take_prefix();
            let failed = match (acks.fatal.take(), acks.failed.take()) {
                (Some(why), _) => Some(Broken::Fatal(why)),
                (None, Some((number, why))) => {
                    // `first` has already moved on by `row`, `unacknowledged` has not.
                    let at = row + number.saturating_sub(acks.first);
                    let seq = self.unacknowledged.get(at).map_or(0, seq_before);
                    Some(Broken::Record { seq, why })
                }
                (None, None) => None,
            };
            (row, failed)
        };
        if let Some(next) = self.unacknowledged.drain(..row).next_back() {
            self.committed.pending = Some(next);
            self.shared.acknowledged(row as u64, next);
        }
        if let Some(failed) = failed {
            self.end(failed);
        }
    }

    /// Hands the next lines to librdkafka.
    fn feed(&mut self) -> Result<Fed, Broken> {
        for _ in 0..BATCH {
            let next = match self.refused.take() {
                Some(next) => next,
                None => match self.spool.next(&mut self.line)? {
                    Some(next) => next,
                    None => return Ok(Fed::Dry),
                },
            };
            let record = BaseRecord::with_opaque_to(&self.shared.config.topic, self.sent)
                .key(key::of_line(&self.line))
                .payload(&self.line)
                .headers(self.header.clone());
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    self.unacknowledged.push_back(next);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.refused = Some(next);
                    return Ok(Fed::Full);
                }
                Err((error, _)) => {
                    self.end(Broken::Record { seq: seq_before(&next), why: error.to_string() });
                    return Ok(Fed::More);
                }
            }
        }
        Ok(Fed::More)
    }

    /// The first reason stands.
    fn end(&mut self, why: Broken) {
        self.broken.get_or_insert_with(|| (Instant::now() + SETTLE, why));
    }

    /// Waits for the reports still due, then ends the session with its reason.
    fn settle(&mut self) -> Result<(), Broken> {
        let settled = self.producer.context().acks().reported == self.sent;
        match self.broken.take() {
            Some((until, why)) if settled || Instant::now() >= until => {
                self.account();
                self.commit()?;
                Err(why)
            }
            waiting => {
                self.broken = waiting;
                self.producer.poll(REPORT_WAIT);
                Ok(())
            }
        }
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        self.committed.write(self.spool)
    }
}

/// The number of the record that stands before this place.
fn seq_before(next: &Position) -> u64 {
    next.seq.saturating_sub(1)
}

#[derive(Default)]
struct Commit {
    pending: Option<Position>,
    written: Option<Instant>,
}

impl Commit {
    fn due(&self) -> bool {
        self.pending.is_some() && self.written.is_none_or(|at| at.elapsed() >= COMMIT_EVERY)
    }

    fn write(&mut self, spool: &mut Spool) -> anyhow::Result<()> {
        if let Some(next) = self.pending {
            spool.commit(next)?;
            self.pending = None;
            self.written = Some(Instant::now());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Acks;

    #[test]
    fn only_an_unbroken_row_counts() {
        let mut acks = Acks::default();
        for (reported, row) in [(&[1, 2][..], 0), (&[0], 3), (&[4, 5, 7], 0), (&[3], 3), (&[6], 2)] {
            reported.iter().for_each(|n| acks.report(*n));
            assert_eq!(acks.take_prefix(), row, "{reported:?}");
        }
        acks.report(2);
        assert_eq!(acks.take_prefix(), 0, "a report that comes twice");
    }
}
