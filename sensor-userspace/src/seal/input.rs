//! The lines that verification reads: one file, or the segments of a directory in their order.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::head;
use crate::ledger::files;

/// What is to be verified.
pub struct Input {
    pub files: Vec<PathBuf>,
    /// Whether it begins with the chain's first line.
    pub whole: bool,
    /// The sequence number it must begin with, where a file's name tells.
    pub first: Option<u64>,
    /// The sequence number it must end before, where the next segment's name tells.
    pub until: Option<u64>,
    /// The bytes of the head file beside the newest segment.
    pub head: Option<Vec<u8>>,
    /// Whether there must be a head.
    pub needs_head: bool,
    pub dir: PathBuf,
}

impl Input {
    pub fn of(path: &Path) -> Result<Input> {
        let about = fs::metadata(path)
            .with_context(|| format!("{}: cannot be read; name a segment or a ledger directory", path.display()))?;
        if about.is_dir() {
            let head = read_head(path)?;
            let files: Vec<PathBuf> = files::segments(path)?.into_iter().map(|segment| segment.path).collect();
            if files.is_empty() && head.is_none() {
                bail!("{}: no segment (rgt-*.jsonl) is in it; name a segment or a ledger directory", path.display());
            }
            let dir = path.to_path_buf();
            return Ok(Input { files, whole: true, first: Some(0), until: None, head, needs_head: true, dir });
        }
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let first = path.file_name().and_then(|name| name.to_str()).and_then(files::parse_name);
        let first = first.map(|(first, _)| first);
        // Neighbours tell where it must end; a segment that was copied elsewhere has none.
        let following = first.and_then(|first| {
            let segments = files::segments(dir).ok()?;
            segments.into_iter().map(|segment| segment.first).find(|&other| other > first)
        });
        let head = match (first, following) {
            (Some(_), None) => read_head(dir)?,
            _ => None,
        };
        Ok(Input {
            files: vec![path.to_path_buf()],
            whole: first == Some(0),
            first,
            until: following,
            head,
            needs_head: false,
            dir: dir.to_path_buf(),
        })
    }

    /// Whether somebody is writing to it now: its last line may then be unfinished.
    pub fn is_live(&self) -> bool {
        let lock = File::open(self.dir.join(files::LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(fs::TryLockError::WouldBlock)))
    }
}

fn read_head(dir: &Path) -> Result<Option<Vec<u8>>> {
    let path = dir.join(head::FILE);
    match fs::read(&path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{}: cannot be read; check its permissions", path.display())),
    }
}

/// Longer than any record by far. A hole or a compressed nothing of a terabyte is not read into memory.
const MAX_LINE: u64 = 64 << 20;

/// The lines of one file.
pub struct Lines {
    source: Box<dyn BufRead>,
}

impl Lines {
    pub fn open(path: &Path) -> io::Result<Lines> {
        const BUFFER: usize = 1 << 18;
        let (file, compressed) = files::open_either(path)?;
        let source: Box<dyn BufRead> = match compressed {
            true => Box::new(BufReader::with_capacity(BUFFER, zstd::stream::read::Decoder::new(file)?)),
            false => Box::new(BufReader::with_capacity(BUFFER, file)),
        };
        Ok(Lines { source })
    }

    /// The next line with its newline, if it has one; `false` at the end.
    pub fn next(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        let read = (&mut self.source).take(MAX_LINE).read_until(b'\n', line)?;
        if read as u64 == MAX_LINE && line.last() != Some(&b'\n') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is longer than any record"));
        }
        Ok(read > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endless_line_is_not_read_into_memory() {
        let path = std::env::temp_dir().join(format!("rgt-hole-{}.jsonl", std::process::id()));
        let file = File::create(&path).unwrap();
        file.set_len(1 << 40).unwrap();
        let mut line = Vec::new();
        let error = Lines::open(&path).unwrap().next(&mut line).unwrap_err();
        fs::remove_file(&path).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(line.len() as u64 <= MAX_LINE);
    }
}
