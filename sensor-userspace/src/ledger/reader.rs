//! Reads lines in order, across rotation and compression, also while they are written.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::files;

/// Where a line stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The sequence number of the line.
    pub seq: u64,
    /// The first sequence number of its segment, which is in the segment's name.
    pub segment: u64,
    /// Bytes before it in the uncompressed segment.
    pub offset: u64,
}

type Source = Box<dyn BufRead + Send>;

/// Reads a ledger from any position on.
pub struct Reader {
    dir: PathBuf,
    next: Position,
    source: Option<Source>,
    /// The start of a line whose end is not written yet.
    partial: Vec<u8>,
    /// Whether `next` names a place that must exist.
    placed: bool,
}

impl Reader {
    /// From the first line there is.
    pub fn open(dir: &Path) -> Result<Reader> {
        let first = files::segments(dir)?.first().map(|segment| segment.first);
        let start = first.unwrap_or_default();
        let next = Position { seq: start, segment: start, offset: 0 };
        Ok(Reader { placed: first.is_some(), ..Reader::at(dir, next)? })
    }

    /// From this position on (it names the next line to read).
    pub fn at(dir: &Path, next: Position) -> Result<Reader> {
        Ok(Reader { dir: dir.to_path_buf(), next, source: None, partial: Vec::new(), placed: next.offset > 0 })
    }

    /// From the record with this sequence number, or the first one after it.
    pub fn from_seq(dir: &Path, seq: u64) -> Result<Reader> {
        let segments = files::segments(dir)?;
        let Some(found) = segments.iter().rev().find(|segment| segment.first <= seq) else {
            return Reader::open(dir);
        };
        let start = Position { seq: found.first, segment: found.first, offset: 0 };
        let mut reader = Reader { placed: true, ..Reader::at(dir, start)? };
        let mut line = Vec::new();
        while reader.next.seq < seq && reader.next_line(&mut line)?.is_some() {}
        Ok(reader)
    }

    /// From the end: only lines written from now on.
    pub fn at_end(dir: &Path) -> Result<Reader> {
        let mut reader = match files::segments(dir)?.last() {
            None => return Reader::open(dir),
            Some(last) => Reader::at(dir, Position { seq: last.first, segment: last.first, offset: 0 })?,
        };
        let mut line = Vec::new();
        while reader.next_line(&mut line)?.is_some() {}
        Ok(reader)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the next line will stand: what a cursor commits once all lines before are delivered.
    pub fn position(&self) -> Position {
        self.next
    }

    /// The next whole line without its newline, in `line`; `None` when there is none yet.
    pub fn next_line(&mut self, line: &mut Vec<u8>) -> Result<Option<Position>> {
        loop {
            if self.source.is_none() && !self.enter()? {
                return Ok(None);
            }
            if self.fill()? {
                return Ok(Some(self.take(line)));
            }
            let Some(following) = self.following()? else {
                return Ok(None);
            };
            // The writer may have finished this segment between our reading and our listing.
            if self.fill()? {
                return Ok(Some(self.take(line)));
            }
            if !self.partial.is_empty() {
                bail!(
                    "segment {}: its last line does not end, though another segment follows; `rgt verify` tells more",
                    files::name(self.next.segment)
                );
            }
            self.next = Position { seq: following, segment: following, offset: 0 };
            self.source = None;
            self.placed = true;
        }
    }

    /// The segment after this one, if it is there.
    fn following(&self) -> Result<Option<u64>> {
        let next = self.next.seq;
        let exact = || files::is_there(&self.dir, next);
        if next > self.next.segment && exact() {
            return Ok(Some(next));
        }
        let later = files::segments(&self.dir)?.into_iter().find(|segment| segment.first > self.next.segment);
        // A later one was made after the one that belongs here: look for that once more.
        Ok(later.map(|later| if later.first > next && exact() { next } else { later.first }))
    }

    /// What was read of a line that has no end yet.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    fn take(&mut self, line: &mut Vec<u8>) -> Position {
        let at = self.next;
        self.next.offset += self.partial.len() as u64;
        self.next.seq += 1;
        self.partial.pop();
        line.clear();
        std::mem::swap(line, &mut self.partial);
        at
    }

    /// Reads on; whether a whole line is there now.
    fn fill(&mut self) -> Result<bool> {
        let Some(source) = &mut self.source else {
            return Ok(false);
        };
        source.read_until(b'\n', &mut self.partial).with_context(|| {
            format!(
                "segment {} of ledger {}: cannot be read; `rgt verify` tells more",
                files::name(self.next.segment),
                self.dir.display()
            )
        })?;
        Ok(self.partial.last() == Some(&b'\n'))
    }

    /// Opens the segment of the next line; `false` if there is none yet.
    fn enter(&mut self) -> Result<bool> {
        if !self.placed {
            // Nothing was there at first: begin with whatever came.
            let segments = files::segments(&self.dir)?;
            match segments.iter().find(|segment| segment.first >= self.next.segment) {
                None => return Ok(false),
                Some(found) => {
                    self.next = Position { seq: found.first, segment: found.first, offset: 0 };
                    self.placed = true;
                }
            }
        }
        let path = self.dir.join(files::name(self.next.segment));
        let opened = open(&path, self.next.offset).with_context(|| {
            format!(
                "segment {}: it cannot be opened where reading was to go on; restore it, or delete the cursor to begin anew",
                path.display()
            )
        })?;
        self.source = Some(opened);
        Ok(true)
    }
}

/// Opens a segment by the name of its uncompressed file, past `skip` bytes.
fn open(path: &Path, skip: u64) -> io::Result<Source> {
    let (mut file, compressed) = files::open_either(path)?;
    if !compressed {
        file.seek(SeekFrom::Start(skip))?;
        return Ok(Box::new(BufReader::with_capacity(1 << 16, file)));
    }
    let mut text = zstd::stream::read::Decoder::new(file)?;
    io::copy(&mut Read::by_ref(&mut text).take(skip), &mut io::sink())?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, text)))
}
