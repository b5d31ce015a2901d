//! The ledger as a spool: a named cursor, kept in a file beside the segments.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{Line, Spool, SpoolError};

struct Cursor {
    dir: PathBuf,
    name: String,
    committed: u64,
    at: u64,
    segment: Option<(PathBuf, BufReader<File>)>,
    offset: u64,
}

pub fn open(dir: &Path, name: &str) -> Result<impl Spool + use<>, SpoolError> {
    let mut c = Cursor {
        dir: dir.into(),
        name: name.into(),
        committed: 0,
        at: 0,
        segment: None,
        offset: 0,
    };
    c.rewind()?;
    Ok(c)
}

fn told(e: std::io::Error) -> SpoolError {
    SpoolError(e.to_string())
}

impl Cursor {
    fn file(&self) -> PathBuf {
        self.dir.join(format!("{}.cursor", self.name))
    }
    fn next_segment(&mut self) -> Result<bool, SpoolError> {
        let mut all: Vec<PathBuf> = fs::read_dir(&self.dir)
            .map_err(told)?
            .filter_map(|e| e.ok().map(|e| e.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
            .collect();
        all.sort();
        let next = match &self.segment {
            None => all.into_iter().next(),
            Some((p, _)) => all.into_iter().find(|n| n > p),
        };
        let Some(next) = next else { return Ok(false) };
        let file = File::open(&next).map_err(told)?;
        self.segment = Some((next, BufReader::new(file)));
        self.offset = 0;
        Ok(true)
    }
    fn raw(&mut self) -> Result<Option<Vec<u8>>, SpoolError> {
        loop {
            if let Some((_, reader)) = &mut self.segment {
                let mut bytes = Vec::new();
                let n = reader.read_until(b'\n', &mut bytes).map_err(told)?;
                if bytes.last() == Some(&b'\n') {
                    self.offset += n as u64;
                    bytes.pop();
                    return Ok(Some(bytes));
                }
                reader.seek(SeekFrom::Start(self.offset)).map_err(told)?;
            }
            if !self.next_segment()? {
                return Ok(None);
            }
        }
    }
}

impl Spool for Cursor {
    fn next(&mut self) -> Result<Option<Line>, SpoolError> {
        Ok(self.raw()?.map(|bytes| {
            self.at += 1;
            Line {
                mark: self.at,
                bytes,
            }
        }))
    }
    fn commit(&mut self, mark: u64) -> Result<(), SpoolError> {
        let tmp = self.dir.join(format!("{}.cursor.new", self.name));
        File::create(&tmp)
            .and_then(|mut f| f.write_all(mark.to_string().as_bytes()))
            .map_err(told)?;
        fs::rename(&tmp, self.file()).map_err(told)?;
        self.committed = mark;
        Ok(())
    }
    fn rewind(&mut self) -> Result<(), SpoolError> {
        self.committed = fs::read_to_string(self.file())
            .ok()
            .and_then(|s| s.parse().ok())
            .unwrap_or(0);
        self.segment = None;
        self.at = 0;
        while self.at < self.committed && self.next()?.is_some() {}
        Ok(())
    }
}
