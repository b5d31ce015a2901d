//! The ledger as a sink sees it: lines in order, a place that is kept, and the way back to it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};

use crate::ledger::place::Place;
use crate::ledger::{Cursor, Position, Reader};

/// A named cursor over a ledger, and the reader that runs ahead of it.
pub struct Spool {
    place: Place,
    cursor: Cursor,
    reader: Reader,
    /// Lines from this number on are not to be taken yet.
    limit: Arc<AtomicU64>,
}

impl Spool {
    /// From where the cursor of this name was left; from the ledger's first line when it is new.
    pub fn open(dir: &Path, name: &str) -> Result<Self> {
        Self::open_behind(dir, name, Arc::new(AtomicU64::new(u64::MAX)))
    }

    /// The same, taking only lines before `limit`, which grows.
    pub fn open_behind(dir: &Path, name: &str, limit: Arc<AtomicU64>) -> Result<Self> {
        let context = || format!("cursor {name} of ledger {}", dir.display());
        // The ledger may be renamed, or another put in its place, while it is read.
        let held = Place::open(dir).with_context(context)?;
        let cursor = Cursor::open(held.path(), name);
        let cursor = held.named(dir, cursor).with_context(context)?;
        let reader = place(held.path(), &cursor);
        let reader = held.named(dir, reader)?;
        Ok(Self { place: held, cursor, reader, limit })
    }

    /// The next line into `line`, without its newline, and the place after it; `None` when there is none yet.
    pub fn next(&mut self, line: &mut Vec<u8>) -> Result<Option<Position>> {
        if self.reader.position().seq >= self.limit.load(Ordering::Acquire) {
            return Ok(None);
        }
        Ok(self.reader.next_line(line)?.map(|_| self.reader.position()))
    }

    /// Everything before this place is delivered: a later start begins there.
    pub fn commit(&mut self, next: Position) -> Result<()> {
        self.cursor.commit(next)
    }

    /// Back to the last committed place.
    pub fn rewind(&mut self) -> Result<()> {
        self.reader = place(self.place.path(), &self.cursor)?;
        Ok(())
    }
}

/// A reader at the cursor. The place is reached by reading its segment from the start, not believed: a machine that
/// lost power may have lost the ledger's last lines and kept the cursor behind them, and then the bytes at the cursor's
/// offset are the middle of some other line. Such a segment is delivered again from its first line.
fn place(dir: &Path, cursor: &Cursor) -> Result<Reader> {
    let Some(goal) = cursor.position() else {
        return Reader::open(dir);
    };
    let start = Position { seq: goal.segment, segment: goal.segment, offset: 0 };
    let mut reader = Reader::at(dir, start)?;
    let mut line = Vec::new();
    while reader.position() != goal {
        let place = reader.position();
        let past = (place.segment, place.offset) > (goal.segment, goal.offset);
        if past || reader.next_line(&mut line)?.is_none() {
            let name = std::fs::read_link(dir).unwrap_or_else(|_| dir.to_owned());
            tracing::warn!(
                ledger = %name.display(), place = goal.seq, segment = goal.segment,
                "the ledger does not have the place where a sink had stopped (lines lost with the machine's power?): sending its segment again from the start"
            );
            return Reader::at(dir, start);
        }
    }
    Ok(reader)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::PathBuf;

    /// A ledger directory with one segment of three lines, and what names it.
    fn ledger(name: &str) -> (PathBuf, PathBuf) {
        let dir = std::env::temp_dir().join(format!("rgt-spool-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let segment = dir.join(format!("rgt-{:020}.jsonl", 0));
        fs::write(&segment, "{\"a\":1}\n{\"b\":2}\n{\"c\":3}\n").unwrap();
        (dir, segment)
    }

    fn rest(spool: &mut Spool) -> Vec<String> {
        let mut line = Vec::new();
        let mut all = Vec::new();
        while spool.next(&mut line).unwrap().is_some() {
            all.push(String::from_utf8(line.clone()).unwrap());
        }
        all
    }

    #[test]
    fn goes_on_where_it_was_left() {
        let (dir, _) = ledger("left");
        let mut spool = Spool::open(&dir, "s").unwrap();
        let next = spool.next(&mut Vec::new()).unwrap().unwrap();
        spool.commit(next).unwrap();
        assert_eq!(rest(&mut spool).len(), 2);
        spool.rewind().unwrap();
        assert_eq!(rest(&mut spool).len(), 2);
        assert_eq!(rest(&mut Spool::open(&dir, "s").unwrap()), [r#"{"b":2}"#, r#"{"c":3}"#]);
        assert_eq!(rest(&mut Spool::open(&dir, "other").unwrap()).len(), 3);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn what_the_disk_may_not_have_is_not_taken() {
        let (dir, _) = ledger("limit");
        let limit = Arc::new(AtomicU64::new(2));
        let mut spool = Spool::open_behind(&dir, "s", Arc::clone(&limit)).unwrap();
        assert_eq!(rest(&mut spool), [r#"{"a":1}"#, r#"{"b":2}"#]);
        limit.store(3, Ordering::Release);
        assert_eq!(rest(&mut spool), [r#"{"c":3}"#]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_ledger_that_lost_its_tail_is_sent_again() {
        let (dir, segment) = ledger("tail");
        let mut spool = Spool::open(&dir, "s").unwrap();
        let mut last = None;
        while let Some(next) = spool.next(&mut Vec::new()).unwrap() {
            last = Some(next);
        }
        spool.commit(last.unwrap()).unwrap();
        fs::write(&segment, "{\"a\":1}\n").unwrap();
        assert_eq!(rest(&mut Spool::open(&dir, "s").unwrap()), [r#"{"a":1}"#]);
        fs::write(&segment, "{\"a\":1}\n{\"longer than b\":2}\n{\"d\":4}\n").unwrap();
        assert_eq!(rest(&mut Spool::open(&dir, "s").unwrap()).len(), 3);
        fs::remove_dir_all(dir).unwrap();
    }
}
