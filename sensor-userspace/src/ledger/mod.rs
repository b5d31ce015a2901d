//! The append-only ledger: segments of JSON lines, and cursors over them.

mod chain;
mod compress;
mod cursor;
mod events;
pub(crate) mod files;
pub(crate) mod place;
mod reader;
mod recover;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};

use crate::record::envelope::{self, Category, Head as LineHead};
use crate::record::time::{Clock, now};
use crate::record::{Field, RecordId};
use crate::seal::head::Head;
use crate::seal::{NodeKey, SealConfig, SealKey};
use chain::Chain;
use compress::Compressor;
pub use cursor::Cursor;
use files::Files;
use place::Place;
pub use reader::{Position, Reader};
use recover::End;
use writer::Writer;

#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The node's name; the host's name by default.
    pub node: String,
    /// `record.type_prefix`.
    pub type_prefix: String,
    /// A segment that has grown to this is sealed.
    pub segment_bytes: u64,
    /// A sealed segment of at least this size is compressed.
    pub compress_from: u64,
    /// A checkpoint record after so many records.
    pub checkpoint_every: u64,
    pub seal: SealConfig,
    /// A group that may read the ledger (`--ledger DIR` of the user behind sudo).
    pub reader_gid: Option<u32>,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        LedgerConfig {
            node: chain::host_name(),
            type_prefix: "rgt.".to_string(),
            segment_bytes: 64 << 20,
            compress_from: 64 << 20,
            checkpoint_every: 1 << 16,
            seal: SealConfig::default(),
            reader_gid: None,
        }
    }
}

/// One directory, one writer, one chain.
pub struct Ledger {
    /// What it is called; where it is, `place` says.
    dir: PathBuf,
    files: Files,
    compress_from: u64,
    checkpoint_every: u64,
    key: SealKey,
    node_key: NodeKey,
    chain: Chain,
    /// `type` of each category.
    types: [Vec<u8>; 6],
    /// `source` of what the node itself says.
    node_source: Vec<u8>,
    writer: Writer,
    clock: Clock,
    since_checkpoint: u64,
    compressor: Compressor,
    closed: bool,
    /// The number of the first line that may not be on the disk yet.
    safe: Arc<AtomicU64>,
    /// Held, not read: the lock ends with it, last of all.
    _lock: File,
    /// Let go of after all that works there.
    place: Arc<Place>,
}

impl Ledger {
    /// Opens a ledger directory for writing, makes it if need be, and goes on with its chain.
    ///
    /// A second writer is refused; a last line that a crash left unfinished is moved aside; both
    /// this and a change of boot or key are said in an `audit.chain` record of kind `open`.
    pub fn open(dir: &Path, config: &LedgerConfig) -> Result<Ledger> {
        envelope::check_type_prefix(&config.type_prefix).map_err(anyhow::Error::msg)?;
        if config.node.is_empty() {
            bail!("ledger {}: the node has no name; set the host's name or node.name", dir.display());
        }
        let files = Files { reader_gid: config.reader_gid };
        let key = SealKey::load_or_make(&config.seal)?;
        let node_key = NodeKey::load_or_make(&config.seal)?;
        let place = Arc::new(files.place(dir)?);
        let opened = Ledger::go_on(dir, Arc::clone(&place), config, files, (key, node_key));
        place.named(dir, opened)
    }

    fn go_on(
        name: &Path,
        place: Arc<Place>,
        config: &LedgerConfig,
        files: Files,
        (key, node_key): (SealKey, NodeKey),
    ) -> Result<Ledger> {
        let dir = place.path();
        let lock = files.lock(dir)?;
        let end = recover::find_end(dir, &key, &node_key.public_hex(), files)?;
        let chain = Chain::resume(dir, &config.node, &key, &end, files)?;
        let segments = files::segments(dir)?;
        let newest = segments.last().filter(|segment| !segment.compressed).map(|segment| segment.first);
        let mut compressor = Compressor::default();
        compressor.start(files, compress::due(&segments, config.compress_from));
        let mut ledger = Ledger {
            dir: name.to_path_buf(),
            files,
            compress_from: config.compress_from,
            checkpoint_every: config.checkpoint_every.max(1),
            types: Category::ALL.map(|category| format!("{}{}", config.type_prefix, category.name()).into_bytes()),
            node_source: envelope::source(&config.node, None),
            writer: Writer::open(dir, files, newest, config.segment_bytes, chain.seq())?,
            clock: Clock::default(),
            since_checkpoint: 0,
            compressor,
            closed: false,
            safe: Arc::default(),
            key,
            node_key,
            chain,
            _lock: lock,
            place,
        };
        ledger.say_open(&end)?;
        ledger.flush(true)?;
        ledger.write_head(false)?;
        Ok(ledger)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory itself, whatever its name leads to by now.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub fn node(&self) -> &str {
        self.chain.node()
    }

    /// `chain.id` of every record in this directory.
    pub fn chain_id(&self) -> &str {
        self.chain.id()
    }

    /// Lines before this number outlast a power loss: what leaves the machine is read up to there, so that no number
    /// that somebody has is given again.
    pub fn safe(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.safe)
    }

    /// The sequence number of the next record.
    pub fn next_seq(&self) -> u64 {
        self.chain.seq()
    }

    pub(crate) fn id_prefix(&self) -> &Arc<str> {
        self.chain.id_prefix()
    }

    /// Appends one record; `data` gets the chain object and writes the whole of `data`.
    ///
    /// An error means that the record was not made. Once made it is kept until it can be written:
    /// trouble with the disk is told by [`Ledger::flush`].
    pub(crate) fn append(
        &mut self,
        category: Category,
        source: &[u8],
        subject: &[u8],
        data: impl FnOnce(&[u8], &mut Vec<u8>),
    ) -> Result<RecordId> {
        if self.writer.is_full() {
            let rotated = self.rotate();
            self.place.named(&self.dir, rotated)?;
        }
        let room = self.writer.make_room(category);
        self.place.named(&self.dir, room)?;
        let id = self.line(category, source, subject, data);
        if category == Category::PolicyBreach && self.writer.flush().is_err() {
            tracing::warn!(record = %id, "a denial is recorded but could not be written yet");
        }
        if self.since_checkpoint >= self.checkpoint_every {
            self.checkpoint("interval")?;
        }
        Ok(id)
    }

    /// Builds, signs and chains one line, in the writer's buffer.
    fn line(
        &mut self,
        category: Category,
        source: &[u8],
        subject: &[u8],
        data: impl FnOnce(&[u8], &mut Vec<u8>),
    ) -> RecordId {
        let kind = &self.types[category as usize];
        let time = self.clock.format(now());
        let out = self.writer.begin();
        let start = out.len();
        let (id, object) = self.chain.next();
        LineHead { kind, source, id, time: &time, subject, category }.write(out);
        let body = out.len();
        data(object, out);
        let signature = self.key.sign([kind, source, &time, id, &out[body..]]);
        envelope::write_tail(&signature, out);
        let record = self.chain.advance(&out[start..]);
        self.writer.end();
        self.since_checkpoint += 1;
        record
    }

    /// Whether no attempt can be recorded for now: the disk takes nothing, and enough waits for it.
    pub fn is_stuck(&self) -> bool {
        self.writer.is_stuck()
    }

    /// Hands what is buffered to the kernel; with `sync`, to the disk.
    pub fn flush(&mut self, sync: bool) -> Result<()> {
        let flushed = self.writer.flush();
        let synced = flushed.and_then(|()| if sync { self.writer.sync() } else { Ok(()) });
        if sync && synced.is_ok() {
            self.safe.store(self.chain.seq(), Ordering::Release);
        }
        self.place.named(&self.dir, synced)
    }

    /// Writes a signed tree head into the ledger and beside it.
    pub fn checkpoint(&mut self, reason: &str) -> Result<RecordId> {
        let size = self.chain.tree().size();
        let root = self.chain.tree().root();
        let (public_key, root_hex) = (self.node_key.public_hex(), hex::encode(root));
        let tree_signature = self.node_key.sign(self.chain.id(), size, &root);
        let id = self.say(
            "checkpoint",
            &[
                ("reason", Field::Str(reason)),
                ("tree_size", Field::Uint(size)),
                ("root", Field::Str(&root_hex)),
                ("public_key", Field::Str(&public_key)),
                ("tree_signature", Field::Str(&tree_signature)),
            ],
        )?;
        self.since_checkpoint = 0;
        self.flush(true)?;
        self.write_head(reason == "close")?;
        Ok(id)
    }

    /// Seals the segment that is full; the next record begins a new one.
    fn rotate(&mut self) -> Result<()> {
        if self.since_checkpoint > 0 {
            self.checkpoint("rotation")?;
        } else {
            // A checkpoint that could not be written before must not be followed by another.
            self.flush(true)?;
        }
        self.writer.next_segment(self.chain.seq());
        self.write_head(false)?;
        let mut segments = files::segments(self.place.path())?;
        // All of them are sealed now: what would be the newest has no file yet.
        if let Some(last) = segments.last().cloned() {
            segments.push(last);
        }
        self.compressor.start(self.files, compress::due(&segments, self.compress_from));
        Ok(())
    }

    fn write_head(&self, closed: bool) -> Result<()> {
        let (segment, offset) = self.writer.place();
        let head = Head {
            boot: self.chain.boot().to_string(),
            key_id: self.key.id().to_string(),
            last: hex::encode(self.chain.last()),
            closed,
            segment,
            offset,
            ..Head::sign(&self.node_key, self.chain.id(), self.chain.node(), self.chain.tree())
        };
        let written = head.write(self.place.path(), &self.node_key, |file| self.files.finish(file));
        self.place.named(&self.dir, written)
    }

    fn say_open(&mut self, end: &End) -> Result<()> {
        let public_key = self.node_key.public_hex();
        let mut fields =
            vec![("public_key", Field::Str(&public_key)), ("version", Field::Str(env!("CARGO_PKG_VERSION")))];
        let boot = self.chain.boot().to_string();
        let key_id = self.key.id().to_string();
        if let Some(previous) = end.boot.as_deref().filter(|previous| *previous != boot) {
            fields.push(("previous_boot", Field::Str(previous)));
        }
        if let Some(previous) = end.key_id.as_deref().filter(|previous| *previous != key_id) {
            fields.push(("previous_key_id", Field::Str(previous)));
        }
        if end.headless {
            // A crash right after the first record does this; so does whoever hides a cut tail, and `verify` says so.
            tracing::warn!(ledger = %self.dir.display(), "no head.json: a tail cut before now would not be seen");
            fields.push(("head_missing", Field::Bool(true)));
        }
        if end.unclosed && !end.headless {
            // What its writer had not written when it died is not here, and no gap tells of it.
            fields.push(("not_closed", Field::Bool(true)));
        }
        if let Some(torn) = &end.torn {
            tracing::warn!(
                bytes = torn.bytes,
                file = torn.file,
                "the last line was torn by a crash and is moved aside"
            );
            fields.push(("torn_bytes", Field::Uint(torn.bytes)));
            fields.push(("torn_file", Field::Str(&torn.file)));
        }
        self.say("open", &fields).map(drop)
    }

    /// Writes the checkpoint and the head file; nothing can be appended afterwards.
    pub fn close(mut self) -> Result<()> {
        let closed = self.checkpoint("close");
        self.place.named(&self.dir, closed).with_context(|| format!("ledger {}: not closed", self.dir.display()))?;
        self.closed = true;
        self.compressor.wait();
        Ok(())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // Not closed: what is buffered must not be lost, and trouble can only be told here.
        if !self.closed
            && let Err(error) = self.flush(true)
        {
            tracing::error!(%error, "records were lost when the ledger was dropped");
        }
    }
}
