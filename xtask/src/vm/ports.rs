//! The serial ports of the VM as sockets of this machine, each with a thread that reads it.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::watch::Event;

/// In the guest's order: ttyS0 to ttyS3.
pub const PORTS: [&str; 4] = ["console", "stdout", "stderr", "control"];
const START: Duration = Duration::from_secs(60);

/// The host's ends of the serial ports, in a directory of their own: a socket's path must be short.
pub struct Sockets {
    dir: PathBuf,
    listeners: Vec<UnixListener>,
}

impl Sockets {
    pub fn new() -> Result<Self> {
        let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        let dir = std::env::temp_dir().join(format!("rgt-vm-{}-{stamp}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let mut sockets = Self { dir, listeners: Vec::new() };
        for port in PORTS {
            let path = sockets.path(port);
            let listener = UnixListener::bind(&path)
                .with_context(|| format!("{}: set TMPDIR to a shorter path", path.display()))?;
            listener.set_nonblocking(true)?;
            sockets.listeners.push(listener);
        }
        Ok(sockets)
    }

    pub fn path(&self, port: &str) -> PathBuf {
        self.dir.join(port)
    }

    /// Waits for the emulator to take up its ports, and starts a reader for each.
    pub fn accept(&self, qemu: &mut Child, events: &Sender<Event>, console: &Path) -> Result<Vec<JoinHandle<()>>> {
        let started = Instant::now();
        let mut readers = Vec::new();
        for (port, listener) in PORTS.iter().zip(&self.listeners) {
            let stream = loop {
                match listener.accept() {
                    Ok((stream, _)) => break stream,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error.into()),
                }
                if let Some(status) = qemu.try_wait()? {
                    bail!("the emulator did not start ({status}); its own words are above");
                }
                if started.elapsed() > START {
                    bail!("the emulator did not take up its serial ports within {} s", START.as_secs());
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            stream.set_nonblocking(false)?;
            let events = events.clone();
            readers.push(match *port {
                "stdout" => copy(stream, std::io::stdout(), events),
                "stderr" => copy(stream, std::io::stderr(), events),
                "console" => {
                    let log = std::fs::File::create(console).with_context(|| console.display().to_string())?;
                    lines(stream, Some(log), events, Event::Kernel)
                }
                _ => lines(stream, None, events, Event::Control),
            });
        }
        Ok(readers)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// Passes bytes on as they come. `_alive` tells the watcher, by its end, that the port has closed.
fn copy(mut from: UnixStream, mut to: impl Write + Send + 'static, _alive: Sender<Event>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let _alive = _alive;
        let mut buffer = [0; 16384];
        let mut broken = false;
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            // A reader of ours that went away must not stop the command in the VM.
            broken |= !broken && to.write_all(&buffer[..count]).and_then(|()| to.flush()).is_err();
        }
    })
}

fn lines(
    mut from: UnixStream,
    mut log: Option<std::fs::File>,
    events: Sender<Event>,
    event: fn(String) -> Event,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut line = Vec::new();
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if let Some(log) = &mut log {
                let _ = log.write_all(&buffer[..count]);
            }
            for &byte in &buffer[..count] {
                match byte {
                    b'\n' => {
                        let _ = events.send(event(String::from_utf8_lossy(&line).into_owned()));
                        line.clear();
                    }
                    b'\r' => {}
                    byte => line.push(byte),
                }
            }
        }
        if !line.is_empty() {
            let _ = events.send(event(String::from_utf8_lossy(&line).into_owned()));
        }
    })
}
