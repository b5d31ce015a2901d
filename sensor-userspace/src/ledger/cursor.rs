//! A sink's place in the ledger: `cursors/NAME.json`.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::files::read_own;
use super::place::Place;
use super::reader::{Position, Reader};
use crate::seal::head::replace;

pub struct Cursor {
    dir: PathBuf,
    path: PathBuf,
    /// Held: `path` leads through it.
    _cursors: Place,
    position: Option<Position>,
}

impl Cursor {
    /// The cursor of this name over the ledger in `dir`; it may be new.
    pub fn open(dir: &Path, name: &str) -> Result<Cursor> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || name.starts_with('.') || !name.bytes().all(harmless) {
            bail!("cursor {name:?}: the name cannot be a file's; use letters, digits and - _ .");
        }
        let cursors = dir.join("cursors");
        let held = fs::create_dir_all(&cursors).and_then(|()| Place::open(&cursors));
        let held = held.with_context(|| {
            format!("{}: cannot be made; check the ledger directory's permissions", cursors.display())
        })?;
        let path = held.path().join(format!("{name}.json"));
        let position = match read_own(&path) {
            Ok(text) => Some(serde_json::from_slice(&text).with_context(|| {
                format!(
                    "cursor {}.json: not readable as a position; delete it to deliver from the start",
                    cursors.join(name).display()
                )
            })?),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cursor {}: cannot be read; check its permissions", cursors.join(name).display())
                });
            }
        };
        Ok(Cursor { dir: dir.to_path_buf(), path, _cursors: held, position })
    }

    /// The next line to deliver; `None` before the first commit.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// A reader that goes on where this cursor is; from the first line when it is new.
    pub fn reader(&self) -> Result<Reader> {
        match self.position {
            Some(next) => Reader::at(&self.dir, next),
            None => Reader::open(&self.dir),
        }
    }

    /// Persists the place in one step: a crash leaves the old one or the new one.
    pub fn commit(&mut self, next: Position) -> Result<()> {
        replace(&self.path, &serde_json::to_vec(&next)?, |_| Ok(()))?;
        self.position = Some(next);
        Ok(())
    }
}
