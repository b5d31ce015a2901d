//! The ledgers that are open: the daemon's own, and those that agents brought.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::stream::{self, Stream};
use crate::config::{Config, KeyEncoding, SealMode};
use crate::ledger::{Ledger, LedgerConfig};
use crate::seal::{self, SealConfig};

/// Records wait so long for others to be written with.
const GROUP: Duration = Duration::from_millis(50);
/// What a power cut may cost of routine records.
const SYNC: Duration = Duration::from_secs(1);
/// The same where a sink waits for the disk: what it may send is what a power cut cannot take back.
const STREAMED: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

struct Open {
    ledger: Ledger,
    stream: Option<Stream>,
    config: Config,
    users: usize,
    dirty: bool,
    urgent: bool,
    unsynced: bool,
    /// The last flush did not succeed.
    failed: bool,
    flushed: Instant,
    synced: Instant,
}

#[derive(Default)]
pub struct Ledgers {
    open: HashMap<PathBuf, Open>,
}

impl Ledgers {
    /// Opens the directory, or joins those who use it already. The key is what it is called from now on.
    pub fn join(&mut self, config: &Config, reader_gid: Option<u32>) -> Result<PathBuf> {
        let dir = &config.ledger_dir;
        if let Some(key) = dir.canonicalize().ok().filter(|key| self.open.contains_key(key)) {
            if let Some(open) = self.open.get_mut(&key) {
                if !open.ledger.place().is(&key) {
                    bail!(
                        "the ledger {} is being written to, and its directory was moved away: another stands in its place; \
                         give another --ledger",
                        key.display()
                    );
                }
                if open.config.seal != config.seal
                    || open.config.type_prefix != config.type_prefix
                    || open.config.kafka != config.kafka
                {
                    bail!(
                        "the ledger {} is being written with other seal, record or sink settings; give another --ledger",
                        key.display()
                    );
                }
                open.users += 1;
            }
            return Ok(key);
        }
        stream::check(config)?;
        let settings = LedgerConfig {
            node: node_name(config),
            type_prefix: config.type_prefix.clone(),
            seal: seal_config(config),
            reader_gid,
            ..LedgerConfig::default()
        };
        // Its errors name the ledger, here and below.
        let ledger = Ledger::open(dir, &settings)?;
        let key = dir.canonicalize().with_context(|| format!("ledger {}", dir.display()))?;
        if !ledger.place().is(&key) {
            bail!("ledger {}: its directory was replaced while it was opened", dir.display());
        }
        let stream = Stream::start(config, &ledger);
        let stream = ledger.place().named(&key, stream)?;
        let now = Instant::now();
        let open = Open {
            ledger,
            stream,
            config: config.clone(),
            users: 1,
            dirty: true,
            urgent: false,
            unsynced: true,
            failed: false,
            flushed: now,
            synced: now,
        };
        self.open.insert(key.clone(), open);
        Ok(key)
    }

    /// The ledger, to write to; `urgent` things are flushed at the end of this round.
    pub fn writing(&mut self, key: &Path, urgent: bool) -> Option<&mut Ledger> {
        let open = self.open.get_mut(key)?;
        open.dirty = true;
        open.urgent |= urgent;
        Some(&mut open.ledger)
    }

    pub fn is_stuck(&self, key: &Path) -> bool {
        self.open.get(key).is_some_and(|open| open.ledger.is_stuck())
    }

    pub fn each(&mut self, mut with: impl FnMut(&mut Ledger)) {
        for open in self.open.values_mut() {
            open.dirty = true;
            with(&mut open.ledger);
        }
    }

    /// Writes what is due. Returns how long the rest may wait.
    pub fn commit(&mut self) -> Duration {
        let now = Instant::now();
        let mut wait = SYNC;
        for open in self.open.values_mut() {
            let (urgent, routine) = match open.stream {
                Some(_) => STREAMED,
                None => (GROUP, SYNC),
            };
            let sync = open.urgent && now - open.synced >= urgent
                || (open.dirty || open.unsynced) && now - open.synced >= routine;
            if sync || open.urgent || open.dirty && now - open.flushed >= GROUP {
                let flushed = open.ledger.flush(sync);
                open.failed = flushed.is_err();
                if let Err(error) = flushed {
                    tracing::error!("{error:#}");
                }
                if let Some(stream) = &open.stream {
                    stream.ring();
                }
                open.flushed = now;
                open.dirty = false;
                open.urgent &= !sync && open.stream.is_some();
                open.unsynced |= !sync;
                if sync {
                    open.unsynced = false;
                    open.synced = now;
                }
            }
            if open.dirty {
                wait = wait.min(GROUP);
            }
        }
        wait
    }

    /// Whether every record is in its file.
    pub fn is_written(&self) -> bool {
        self.open.values().all(|open| !open.dirty && !open.failed)
    }

    pub fn flush(&mut self, key: &Path) -> Result<()> {
        let Some(open) = self.open.get_mut(key) else {
            return Ok(());
        };
        open.dirty = false;
        open.urgent = false;
        open.unsynced = false;
        open.ledger.flush(true)
    }

    /// One user less; the last one closes it. The sink that is returned has the rest still to deliver.
    pub fn leave(&mut self, key: &Path) -> Result<Option<Stream>> {
        let Some(open) = self.open.get_mut(key) else {
            return Ok(None);
        };
        open.users = open.users.saturating_sub(1);
        if open.users > 0 {
            return self.flush(key).map(|()| None);
        }
        match self.open.remove(key) {
            Some(open) => {
                open.ledger.close()?;
                Ok(open.stream)
            }
            None => Ok(None),
        }
    }

    pub fn close_all(&mut self) -> Result<()> {
        let keys: Vec<PathBuf> = self.open.keys().cloned().collect();
        let mut streams = Vec::new();
        let mut first = Ok(());
        for key in keys {
            if let Some(open) = self.open.get_mut(&key) {
                open.users = 1;
            }
            match self.leave(&key) {
                Ok(stream) => streams.extend(stream),
                Err(error) if first.is_ok() => first = Err(error),
                Err(error) => tracing::error!("{error:#}"),
            }
        }
        // Sinks have so long together.
        let until = Instant::now() + stream::FINISH;
        for stream in streams {
            if let Err(error) = stream.finish(until.saturating_duration_since(Instant::now())) {
                tracing::warn!("{error:#}");
            }
        }
        first
    }
}

pub fn node_name(config: &Config) -> String {
    let host = || std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned());
    match &config.node_name {
        Some(name) => name.clone(),
        None => host().ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned()),
    }
}

fn seal_config(config: &Config) -> SealConfig {
    SealConfig {
        mode: match config.seal.mode {
            SealMode::Static => "static".to_owned(),
            SealMode::Ratchet => "ratchet".to_owned(),
        },
        key_file: config.seal.key_file.clone(),
        key_encoding: match config.seal.key_encoding {
            KeyEncoding::Hex => seal::KeyEncoding::Hex,
            KeyEncoding::Utf8 => seal::KeyEncoding::Utf8,
        },
        ..SealConfig::default()
    }
}
