//! Sealed segments become `.jsonl.zst`, off the writer's thread.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use super::files::{Files, Segment, sync_dir};

/// Compression happens beside the stream of records: cheap matters more than small.
const LEVEL: i32 = 3;

#[derive(Default)]
pub struct Compressor {
    running: Vec<JoinHandle<()>>,
}

impl Compressor {
    pub fn start(&mut self, files: Files, segments: Vec<PathBuf>) {
        if segments.is_empty() {
            return;
        }
        self.running.retain(|thread| !thread.is_finished());
        let work = move || {
            for path in segments {
                if let Err(error) = compress(files, &path) {
                    // The segment stays as it is, which every reader takes as well.
                    tracing::warn!(segment = %path.display(), %error, "segment not compressed; it stays .jsonl");
                }
            }
        };
        match std::thread::Builder::new().name("rgt-compress".to_string()).spawn(work) {
            Ok(thread) => self.running.push(thread),
            Err(error) => tracing::warn!(%error, "no thread to compress segments; they stay .jsonl"),
        }
    }

    pub fn wait(&mut self) {
        for thread in self.running.drain(..) {
            // A panic there leaves the uncompressed segment: nothing is lost.
            let _ = thread.join();
        }
    }
}

fn compress(files: Files, path: &Path) -> io::Result<()> {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let temporary = with(".zst.tmp");
    let out = File::create(&temporary)?;
    files.finish(&out)?;
    let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    io::copy(&mut File::open(path)?, &mut encoder)?;
    let mut out = encoder.finish()?;
    out.flush()?;
    out.sync_all()?;
    fs::rename(&temporary, with(".zst"))?;
    // The original goes only when the other is there to stay.
    if let Some(dir) = path.parent() {
        sync_dir(dir)?;
    }
    fs::remove_file(path)
}

/// Sealed segments large enough to be compressed; the newest is still being written.
pub fn due(segments: &[Segment], from_bytes: u64) -> Vec<PathBuf> {
    let sealed = segments.split_last().map_or(&[][..], |(_, sealed)| sealed);
    let large = |segment: &&Segment| fs::metadata(&segment.path).is_ok_and(|file| file.len() >= from_bytes);
    sealed.iter().filter(|segment| !segment.compressed).filter(large).map(|segment| segment.path.clone()).collect()
}
