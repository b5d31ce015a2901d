//! Group commit: lines gather in a buffer and reach the newest segment in one write.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::files::{self, Files};
use crate::record::envelope::Category;

/// Written out when the buffer holds this much.
const BATCH: usize = 256 << 10;
/// When the disk takes nothing, so much is kept; then no more attempts can be recorded.
const MOST: usize = 16 << 20;
/// Beyond it, for what says that there were more, and how it ended.
const SPARE: usize = 1 << 20;

pub struct Writer {
    dir: PathBuf,
    files: Files,
    segment_bytes: u64,
    /// The newest segment; its file is made with its first line.
    first: u64,
    file: Option<File>,
    /// Its bytes, those still in the buffer included.
    length: u64,
    buffer: Vec<u8>,
    line_start: usize,
}

impl Writer {
    pub fn open(dir: &Path, files: Files, newest: Option<u64>, segment_bytes: u64, next_seq: u64) -> Result<Writer> {
        let mut writer = Writer {
            dir: dir.to_path_buf(),
            files,
            segment_bytes: segment_bytes.max(1),
            first: newest.unwrap_or(next_seq),
            file: None,
            length: 0,
            buffer: Vec::with_capacity(BATCH + (64 << 10)),
            line_start: 0,
        };
        if newest.is_some() {
            let path = writer.path();
            let file = files.open_segment(&path)?;
            writer.length = file.metadata().with_context(|| path.display().to_string())?.len();
            writer.file = Some(file);
        }
        Ok(writer)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(files::name(self.first))
    }

    pub fn is_full(&self) -> bool {
        self.length >= self.segment_bytes
    }

    /// Where the next line will stand.
    pub fn place(&self) -> (u64, u64) {
        (self.first, self.length)
    }

    /// Begins a new segment with the next line; the buffer must be flushed.
    pub fn next_segment(&mut self, first: u64) {
        (self.first, self.file, self.length) = (first, None, 0);
    }

    /// Before a line is made: is there room to keep it?
    pub fn make_room(&mut self, of: Category) -> Result<()> {
        if self.buffer.len() < BATCH {
            return Ok(());
        }
        let most = match of {
            Category::PolicyDecision | Category::PolicyBreach | Category::ToolInvocation => MOST,
            Category::IdentityAssertion | Category::SandboxEvent | Category::AuditChain => MOST + SPARE,
        };
        match self.flush() {
            Err(error) if self.buffer.len() >= most => Err(error),
            _ => Ok(()),
        }
    }

    /// The buffer, for one line to be written to.
    pub fn begin(&mut self) -> &mut Vec<u8> {
        self.line_start = self.buffer.len();
        &mut self.buffer
    }

    /// The line is whole.
    pub fn end(&mut self) {
        self.buffer.push(b'\n');
        self.length += (self.buffer.len() - self.line_start) as u64;
    }

    /// Whether what was made lately waits for the disk to take something again.
    pub fn is_stuck(&self) -> bool {
        self.buffer.len() >= MOST
    }

    pub fn flush(&mut self) -> Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let path = self.path();
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let file = self.files.open_segment(&path)?;
                files::sync_dir(&self.dir).with_context(|| self.dir.display().to_string())?;
                none.insert(file)
            }
        };
        let mut written = 0;
        let result = loop {
            match file.write(&self.buffer[written..]) {
                Ok(0) => break Err(ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
            if written == self.buffer.len() {
                break Ok(());
            }
        };
        // What did not fit stays, to the byte: the rest of a line must follow its beginning.
        self.buffer.drain(..written);
        result.with_context(|| {
            format!(
                "segment {}: {} bytes of records cannot be written; make room on the disk: they are kept and tried again",
                path.display(),
                self.buffer.len()
            )
        })
    }

    pub fn sync(&mut self) -> Result<()> {
        match &self.file {
            Some(file) => file
                .sync_data()
                .with_context(|| format!("segment {}: cannot be synced; check the disk", self.path().display())),
            None => Ok(()),
        }
    }
}
