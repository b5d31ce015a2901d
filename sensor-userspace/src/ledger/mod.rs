//! The append-only ledger: segments of JSON lines, and cursors over them.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::attempt::Run;
use crate::record::{Field, RecordId};
use crate::seal::SealConfig;

#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// The node's name; the host's name by default.
    pub node: String,
    /// `record.type_prefix`.
    pub type_prefix: String,
    /// A segment that has grown to this is sealed and compressed.
    pub segment_bytes: u64,
    /// A checkpoint record after so many records.
    pub checkpoint_every: u64,
    pub seal: SealConfig,
    /// A group that may read the ledger (`--ledger DIR` of the user behind sudo).
    pub reader_gid: Option<u32>,
}

impl Default for LedgerConfig {
    fn default() -> Self {
        LedgerConfig {
            node: "localhost".to_string(),
            type_prefix: "rgt.".to_string(),
            segment_bytes: 64 << 20,
            checkpoint_every: 1 << 16,
            seal: SealConfig::default(),
            reader_gid: None,
        }
    }
}

/// One directory, one writer, one chain.
pub struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    pub fn open(dir: &Path, _config: &LedgerConfig) -> Result<Ledger> {
        Ok(Ledger { dir: dir.to_path_buf() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Tells of lost events. `made`, `dropped` and `received` are exact, since the last gap record.
    pub fn gap(
        &mut self,
        _run: Option<&Run>,
        _ring: &str,
        _made: u64,
        _dropped: u64,
        _received: u64,
        _reason: &str,
    ) -> Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    pub fn heartbeat(&mut self, _fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    /// An `audit.chain` record of this kind.
    pub fn audit(&mut self, _kind: &str, _fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    /// An `identity.assertion` about a run: `registered`, `attested`, `approval`, `operator`.
    pub fn identity(&mut self, _run: &Run, _kind: &str, _fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        anyhow::bail!("not built yet")
    }

    /// Hands what is buffered to the kernel; with `sync`, to the disk.
    pub fn flush(&mut self, _sync: bool) -> Result<()> {
        anyhow::bail!("not built yet")
    }

    /// Writes the checkpoint and the head file; nothing can be appended afterwards.
    pub fn close(self) -> Result<()> {
        anyhow::bail!("not built yet")
    }
}

/// Where a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The sequence number of the line.
    pub seq: u64,
    /// The first sequence number of its segment, which is in the segment's name.
    pub segment: u64,
    /// Bytes before it in the uncompressed segment.
    pub offset: u64,
}

/// Reads a ledger from any position, across rotation and compression, also while it is written.
pub struct Reader {
    dir: PathBuf,
}

impl Reader {
    /// From the first line there is.
    pub fn open(dir: &Path) -> Result<Reader> {
        Ok(Reader { dir: dir.to_path_buf() })
    }

    /// From this position on (it names the next line to read).
    pub fn at(dir: &Path, _next: Position) -> Result<Reader> {
        Ok(Reader { dir: dir.to_path_buf() })
    }

    /// From the end: only lines written from now on.
    pub fn at_end(dir: &Path) -> Result<Reader> {
        Ok(Reader { dir: dir.to_path_buf() })
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The next whole line without its newline, in `line`; `None` when there is none yet.
    pub fn next_line(&mut self, _line: &mut Vec<u8>) -> Result<Option<Position>> {
        anyhow::bail!("not built yet")
    }

    /// Where the next line will stand: what a cursor commits once all lines before are delivered.
    pub fn position(&self) -> Position {
        Position::default()
    }
}

/// A sink's place in the ledger, kept in `cursors/NAME.json`.
pub struct Cursor {
    _path: PathBuf,
}

impl Cursor {
    pub fn open(dir: &Path, name: &str) -> Result<Cursor> {
        Ok(Cursor { _path: dir.join("cursors").join(name) })
    }

    /// The next line to deliver; `None` before the first commit.
    pub fn position(&self) -> Option<Position> {
        None
    }

    /// Persists the place atomically.
    pub fn commit(&mut self, _next: Position) -> Result<()> {
        anyhow::bail!("not built yet")
    }
}
