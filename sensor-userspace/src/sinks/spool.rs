//! The ledger as a sink sees it: lines in order, a place that is kept, and the way back to it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::ledger::{Cursor, Position, Reader};

/// A named cursor over a ledger, and the reader that runs ahead of it.
pub struct Spool {
    dir: PathBuf,
    cursor: Cursor,
    reader: Reader,
}

impl Spool {
    /// From where the cursor of this name was left; from the ledger's first line when it is new.
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        let cursor = Cursor::open(dir, name)
            .with_context(|| format!("cursor {name} of {}", dir.display()))?;
        let reader = reader(dir, &cursor)?;
        Ok(Self {
            dir: dir.to_owned(),
            cursor,
            reader,
        })
    }

    /// The next line into `line`, without its newline, and the place after it; `None` when there is none yet.
    pub fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<Position>> {
        Ok(self.reader.next_line(line)?.map(|_| self.reader.position()))
    }

    /// Everything before this place is delivered: a later start begins there.
    pub fn commit(&mut self, next: Position) -> Result<()> {
        self.cursor.commit(next)
    }

    /// Back to the last committed place.
    pub fn rewind(&mut self) -> Result<()> {
        self.reader = reader(&self.dir, &self.cursor)?;
        Ok(())
    }
}

fn reader(dir: &Path, cursor: &Cursor) -> Result<Reader> {
    match cursor.position() {
        Some(next) => Reader::at(dir, next),
        None => Reader::open(dir),
    }
}
