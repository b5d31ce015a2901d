//! Finds where a ledger ends, and moves aside what a crash left of a last line.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::files::{self, Files};
use super::reader::{Position, Reader};
use crate::record::envelope::Parts;
use crate::seal::SealKey;
use crate::seal::facts::{Facts, rebuild};
use crate::seal::head::{Head, root_of};
use crate::seal::tree::{Root, Tree};

/// The end of a ledger.
#[derive(Debug, Default)]
pub struct End {
    pub next: Position,
    pub last: Root,
    pub tree: Tree,
    /// Of the last line, when lines were read.
    pub chain: Option<String>,
    pub boot: Option<String>,
    pub key_id: Option<String>,
    pub torn: Option<Torn>,
    /// There are records, and no head that says how many there should be.
    pub headless: bool,
    /// Whoever wrote last did not come to close it.
    pub unclosed: bool,
}

#[derive(Debug)]
pub struct Torn {
    pub bytes: u64,
    pub file: String,
}

/// Reads on from the head file, or from the start without one, to the last line.
///
/// A head that another than `node` signed counts as none: anybody can sign one, over whatever he left.
pub fn find_end(dir: &Path, key: &SealKey, node: &str, files: Files) -> Result<End> {
    let segments = files::segments(dir)?;
    let head = Head::read(dir)?;
    let head = head.filter(|head| segments.is_empty() || head.public_key == node);
    let Some(newest) = segments.last() else {
        if let Some(head) = head {
            bail!(
                "ledger {}: its head says {} records, and no segment is there; restore them, or name a new directory",
                dir.display(),
                head.tree_size
            );
        }
        return Ok(End::default());
    };
    let newest = newest.first;
    let mut end = match head.as_ref().and_then(|head| head.tree().zip(root_of(&head.last)).map(|x| (head, x))) {
        Some((head, (tree, last))) => End {
            next: Position { seq: head.tree_size, segment: head.segment, offset: head.offset },
            last,
            tree,
            chain: Some(head.chain.clone()),
            boot: Some(head.boot.clone()),
            key_id: Some(head.key_id.clone()),
            torn: None,
            headless: false,
            unclosed: !head.closed,
        },
        None => End { headless: true, ..End::default() },
    };
    let mut reader = start(dir, &end, &segments)?;
    let mut line = Vec::new();
    let mut bad: Option<Position> = None;
    loop {
        let read = reader.next_line(&mut line).with_context(|| {
            format!("ledger {}: it is shorter than its head says, or broken; `rgt verify` tells which", dir.display())
        })?;
        let Some(at) = read else { break };
        match (check(&line, &end, key), bad) {
            (Some(seen), None) => {
                let digest: Root = Sha256::digest(&line).into();
                end.tree.push(&digest);
                end.unclosed = true;
                end.last = digest;
                end.next = reader.position();
                (end.chain, end.boot, end.key_id) = (Some(seen.0), Some(seen.1), Some(seen.2));
            }
            (None, None) => bad = Some(at),
            (_, Some(_)) if Parts::of(&line).is_none() => {}
            (_, Some(bad)) => bail!(
                "ledger {}: line {} of {} is not what was written, and lines follow it; \
                 `rgt verify` tells more, and another directory can be named with ledger.dir",
                dir.display(),
                bad.seq - bad.segment + 1,
                files::name(bad.segment)
            ),
        }
    }
    let position = reader.position();
    let cut = bad.or((!reader.partial().is_empty()).then_some(position));
    if let Some(cut) = cut {
        if cut.segment != newest {
            bail!(
                "ledger {}: {} ends in a line that is not whole, and segments follow it; `rgt verify` tells more",
                dir.display(),
                files::name(cut.segment)
            );
        }
        end.torn = Some(move_aside(dir, cut, files)?);
    }
    Ok(end)
}

fn start(dir: &Path, end: &End, segments: &[files::Segment]) -> Result<Reader> {
    let next = end.next;
    if next.seq == 0 {
        return Reader::open(dir);
    }
    let at = segments.iter().find(|segment| segment.first == next.segment);
    let long_enough = match at {
        // A segment that the head expects next need not have begun.
        None => next.offset == 0 && segments.last().is_some_and(|last| last.first < next.segment),
        Some(segment) if segment.compressed => true,
        Some(segment) => fs::metadata(&segment.path).is_ok_and(|file| file.len() >= next.offset),
    };
    if !long_enough {
        bail!(
            "ledger {}: it is shorter than the {} records of its head; \
             restore what is missing, or name another directory with ledger.dir",
            dir.display(),
            next.seq
        );
    }
    Reader::at(dir, next)
}

/// Chain, boot and key of a line that continues the ledger; `None` if it does not.
fn check(line: &[u8], end: &End, key: &SealKey) -> Option<(String, String, String)> {
    let parts = Parts::of(line)?;
    let facts = Facts::of(parts.data).ok()?;
    rebuild(&parts, &facts).ok()?;
    let linked = facts.seq == end.next.seq && facts.prev == hex::encode(end.last).as_bytes();
    let first = facts.seq == 0 && facts.prev.iter().all(|&digit| digit == b'0');
    if !linked && !first {
        return None;
    }
    // A line of an earlier key cannot be checked here; the chain holds it.
    let ours = facts.key_id == key.id().as_bytes();
    if ours && key.sign([parts.kind, parts.source, parts.time, parts.id, parts.data]) != *parts.signature {
        return None;
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Some((text(facts.chain), text(facts.boot), text(facts.key_id)))
}

/// Moves everything from `cut` on out of its segment.
fn move_aside(dir: &Path, cut: Position, files: Files) -> Result<Torn> {
    let path = dir.join(files::name(cut.segment));
    let name = format!("{}.{}.torn", files::name(cut.segment), cut.offset);
    let save = || -> io::Result<u64> {
        let mut segment = files::open_own(OpenOptions::new().read(true).write(true), &path)?;
        segment.seek(SeekFrom::Start(cut.offset))?;
        let mut rest = Vec::new();
        segment.read_to_end(&mut rest)?;
        // Append: an earlier crash may have torn a line at this very place.
        let mut options = OpenOptions::new();
        let mut out = files::open_own(options.create(true).append(true), &dir.join(&name))?;
        files.finish(&out)?;
        out.write_all(&rest)?;
        out.sync_all()?;
        segment.set_len(cut.offset)?;
        segment.sync_all()?;
        files::sync_dir(dir)?;
        Ok(rest.len() as u64)
    };
    let bytes = save().with_context(|| {
        format!("segment {}: its torn last line cannot be moved aside; make it writable", path.display())
    })?;
    Ok(Torn { bytes, file: name })
}
