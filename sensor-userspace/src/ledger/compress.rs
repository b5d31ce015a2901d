//! Sealed segments become `.jsonl.zst`, off the writer's thread.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;

use super::files::{Files, Segment, create_anew, open_own, sync_dir};

/// Compression happens beside the stream of records: cheap matters more than small.
const LEVEL: i32 = 3;

/// One thread: two at the same segment would spoil each other's work.
#[derive(Default)]
pub struct Compressor {
    queue: Option<Sender<PathBuf>>,
    thread: Option<JoinHandle<()>>,
    /// What was ever queued; it stays queued even where it fails.
    queued: HashSet<PathBuf>,
}

impl Compressor {
    pub fn start(&mut self, files: Files, segments: Vec<PathBuf>) {
        for path in segments {
            if !self.queued.insert(path.clone()) {
                continue;
            }
            if self.queue.is_none() {
                let (queue, work) = mpsc::channel::<PathBuf>();
                let run = move || work.iter().for_each(|path| attempt(files, &path));
                match std::thread::Builder::new().name("rgt-compress".to_string()).spawn(run) {
                    Ok(thread) => (self.queue, self.thread) = (Some(queue), Some(thread)),
                    Err(error) => {
                        tracing::warn!(%error, "no thread to compress segments; they stay .jsonl");
                        return;
                    }
                }
            }
            if let Some(queue) = &self.queue {
                // It only fails if the thread died, which leaves the uncompressed segment.
                let _ = queue.send(path);
            }
        }
    }

    /// Ends when everything queued is done.
    pub fn wait(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there leaves the uncompressed segment: nothing is lost.
            let _ = thread.join();
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        // The directory's lock is about to end, and with it our right to change anything there.
        self.wait();
    }
}

fn attempt(files: Files, path: &Path) {
    if let Err(error) = compress(files, path) {
        // The segment stays as it is, which every reader takes as well.
        let segment = path.file_name().unwrap_or_default().to_string_lossy();
        tracing::warn!(%segment, %error, "segment not compressed; it stays .jsonl");
    }
}

fn compress(files: Files, path: &Path) -> io::Result<()> {
    let with = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let temporary = with(".zst.tmp");
    let out = create_anew(&temporary)?;
    files.finish(&out)?;
    let mut encoder = zstd::stream::write::Encoder::new(out, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut segment = open_own(OpenOptions::new().read(true), path)?;
    let length = io::copy(&mut segment, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    // Read back before the original goes: its checksum is part of the frame.
    let mut text = zstd::stream::read::Decoder::new(File::open(&temporary)?)?;
    if io::copy(&mut text, &mut io::sink())? != length {
        return Err(io::Error::other("the compressed segment does not hold what the original does"));
    }
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
