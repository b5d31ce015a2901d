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
    #[error("{0}")]
    Delivery(String),
}

/// Which of the messages sent are acknowledged. Numbers are given out in sending order, from 0.
#[derive(Default)]
struct Acks {
    first: usize,
    done: VecDeque<bool>,
    failed: Option<String>,
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
            RDKafkaLogLevel::Emerg
            | RDKafkaLogLevel::Alert
            | RDKafkaLogLevel::Critical
            | RDKafkaLogLevel::Error => {
                // The same text comes through `error`, which decides how often it is told.
                tracing::debug!(facility, message, "librdkafka");
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
        self.shared.trouble(
            code,
            &format!(
                "{reason} ({})",
                code.map_or_else(|| error.to_string(), |c| format!("{c:?}"))
            ),
        );
        if code == Some(RDKafkaErrorCode::Fatal) {
            self.acks().failed.get_or_insert_with(|| reason.to_owned());
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let mut acks = self.acks();
        match result {
            Ok(_) => acks.report(number),
            Err((error, _)) => {
                acks.failed.get_or_insert_with(|| error.to_string());
            }
        }
    }
}

pub(super) fn create(shared: &Arc<Shared>) -> Result<Producer, KafkaError> {
    let context = Context {
        acks: Mutex::default(),
        shared: Arc::clone(shared),
    };
    shared.config.client().create_with_context(context)
}

/// Reads, sends, commits what is acknowledged. An error leaves everything unacknowledged to the next session, which
/// starts from the cursor: nothing is skipped, whatever the reason.
pub(super) fn run(
    producer: &Producer,
    spool: &mut Spool,
    shared: &Shared,
    orders: &Orders,
) -> Result<End, Broken> {
    let header = OwnedHeaders::new().insert(Header {
        key: "content-type",
        value: Some("application/cloudevents+json"),
    });
    let mut unacknowledged: VecDeque<Position> = VecDeque::new();
    let mut sent = 0_usize;
    let mut line = Vec::new();
    // The place after `line`, which the full queue refused.
    let mut refused: Option<Position> = None;
    let mut committed = Commit::default();
    loop {
        producer.poll(Duration::ZERO);
        let (row, failed) = {
            let mut acks = producer.context().acks();
            (acks.take_prefix(), acks.failed.take())
        };
        if let Some(next) = unacknowledged.drain(..row).next_back() {
            committed.pending = Some(next);
            shared.acknowledged(row as u64, next);
        }
        let over = orders.over();
        if failed.is_some() || over || committed.due() {
            committed.write(spool)?;
        }
        if let Some(why) = failed {
            return Err(Broken::Delivery(why));
        }
        if over {
            return Ok(End::Stopped);
        }

        let mut full = false;
        let mut dry = false;
        for _ in 0..BATCH {
            let Some(next) = (match refused.take() {
                Some(next) => Some(next),
                None => spool.next(&mut line)?,
            }) else {
                dry = true;
                break;
            };
            let record = BaseRecord::with_opaque_to(&shared.config.topic, sent)
                .key(key::of_line(&line))
                .payload(&line)
                .headers(header.clone());
            match producer.send(record) {
                Ok(()) => {
                    sent += 1;
                    unacknowledged.push_back(next);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    refused = Some(next);
                    full = true;
                    break;
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        shared.in_flight(unacknowledged.len() as u64);

        if full {
            producer.poll(FULL_WAIT);
        } else if dry && !unacknowledged.is_empty() {
            producer.poll(REPORT_WAIT);
        } else if dry {
            committed.write(spool)?;
            if orders.drain() {
                return Ok(End::Drained);
            }
            orders.bell.wait(IDLE_WAIT);
        }
    }
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
        for (reported, row) in [
            (&[1, 2][..], 0),
            (&[0], 3),
            (&[4, 5, 7], 0),
            (&[3], 3),
            (&[6], 2),
        ] {
            reported.iter().for_each(|n| acks.report(*n));
            assert_eq!(acks.take_prefix(), row, "{reported:?}");
        }
        acks.report(2);
        assert_eq!(acks.take_prefix(), 0, "a report that comes twice");
    }
}
