//! One boot of the emulator: four serial ports, so that the command's output, its errors, the
//! kernel's messages and our own protocol never mix.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Options, Outcome};
use crate::command;

/// Never KVM: the firmware hangs in nested virtualisation, and counted instructions need emulation.
const QEMU: &str = "qemu-system-x86_64";
/// The slowest kernel boots in 22 s on an idle machine; a busy one may take five times that.
const BOOT: Duration = Duration::from_secs(180);
/// From the command's status to the end of the emulator.
const POWER_OFF: Duration = Duration::from_secs(20);
/// After a soft lockup the machine rarely recovers; it gets this long.
const LOCKED: Duration = Duration::from_secs(60);
const PORTS: [&str; 4] = ["console", "stdout", "stderr", "control"];

pub struct Machine<'a> {
    pub image: &'a Path,
    pub initrd: &'a Path,
    pub options: &'a Options,
    pub deadline: Duration,
    pub console: &'a Path,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct Times {
    pub boot: Duration,
    pub total: Duration,
}

enum Event {
    Kernel(String),
    Control(String),
}

impl Machine<'_> {
    pub fn run(&self) -> Result<(Outcome, Times)> {
        let sockets = Sockets::new()?;
        let started = Instant::now();
        let mut qemu = Killed(self.command(&sockets).spawn().with_context(|| format!("cannot run {QEMU}: `cargo xtask setup` installs qemu-system-x86"))?);
        let (sender, events) = channel();
        let readers = sockets.accept(&mut qemu.0, &sender, self)?;
        drop(sender);

        let mut watch = Watch::default();
        let ended = self.watch(&mut qemu.0, &events, started, &mut watch)?;
        qemu.end();
        for reader in readers {
            let _ = reader.join();
        }
        // What the kernel said last may have come after the last look.
        for event in events.try_iter() {
            watch.take(event, started, self.options.verbose);
        }
        let times = Times { boot: watch.ready.unwrap_or_default(), total: started.elapsed() };
        Ok((watch.outcome(ended), times))
    }

    fn command(&self, sockets: &Sockets) -> Command {
        let o = self.options;
        // The emulator must not outlive us, however we end.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", QEMU]);
        command.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "none", "-nic", "none"]);
        // Several virtual processors in threads of their own break the kernel's text patching.
        command.args(["-accel", "tcg,thread=single", "-cpu", &o.cpu, "-smp", &o.smp.to_string(), "-m", &o.memory.to_string()]);
        if o.icount {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        for port in PORTS {
            command.arg("-chardev").arg(format!("socket,id={port},path={}", sockets.path(port).display()));
            command.arg("-serial").arg(format!("chardev:{port}"));
        }
        // An Oops ends the machine at once: what runs after it proves nothing.
        let mut line = String::from("console=ttyS0,115200 8250.nr_uarts=4 panic=-1 oops=panic loglevel=5 random.trust_cpu=on");
        if let Some(lsm) = &o.lsm {
            line += &format!(" lsm={lsm}");
        }
        if let Some(append) = &o.append {
            line += &format!(" {append}");
        }
        command.arg("-kernel").arg(self.image).arg("-initrd").arg(self.initrd).arg("-append").arg(line);
        command.stdin(Stdio::null()).stdout(command::stderr());
        command
    }

    /// Follows one boot to its end; `true` if it was we who ended it for lack of time.
    fn watch(&self, qemu: &mut Child, events: &Receiver<Event>, started: Instant, watch: &mut Watch) -> Result<bool> {
        let mut ticker = Some(command::ticker(&format!("booting kernel {}", self.options.kernel)));
        loop {
            match events.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => watch.take(event, started, self.options.verbose),
                Err(RecvTimeoutError::Timeout) => {}
                // All ports closed: the emulator is gone.
                Err(RecvTimeoutError::Disconnected) => {
                    qemu.wait()?;
                    return Ok(false);
                }
            }
            if watch.ready.is_some() {
                ticker.take();
            }
            let late = match (watch.status, watch.ready) {
                (Some((_, at)), _) => at.elapsed() > POWER_OFF,
                (None, None) => started.elapsed() > BOOT.min(self.deadline),
                (None, Some(_)) => started.elapsed() > self.deadline || watch.locked.as_ref().is_some_and(|(_, at)| at.elapsed() > LOCKED),
            };
            if late {
                return Ok(true);
            }
        }
    }
}

/// What has been seen of one boot.
#[derive(Default)]
struct Watch {
    ready: Option<Duration>,
    status: Option<(u8, Instant)>,
    panic: Option<String>,
    oops: Option<String>,
    locked: Option<(String, Instant)>,
}

impl Watch {
    fn take(&mut self, event: Event, started: Instant, verbose: bool) {
        match event {
            Event::Control(line) => {
                if line == "RGT ready" {
                    self.ready = Some(started.elapsed());
                } else if let Some(status) = line.strip_prefix("RGT status ").and_then(|status| status.parse().ok()) {
                    self.status = Some((status, Instant::now()));
                }
            }
            Event::Kernel(line) => {
                if verbose {
                    eprintln!("kernel: {line}");
                }
                let place = match classify(&line) {
                    Some(Trouble::Panic) => &mut self.panic,
                    Some(Trouble::Oops) => &mut self.oops,
                    Some(Trouble::SoftLockup) => {
                        self.locked.get_or_insert((line, Instant::now()));
                        return;
                    }
                    Some(Trouble::Note) => {
                        eprintln!("vm: kernel: {line}");
                        return;
                    }
                    None => return,
                };
                place.get_or_insert(line);
            }
        }
    }

    /// The kernel's troubles count more than the command's status: it ran on a broken machine.
    fn outcome(self, out_of_time: bool) -> Outcome {
        if self.ready.is_none() {
            let cause = self.oops.or(self.panic).unwrap_or_else(|| if out_of_time { "no sign of life".into() } else { "the emulator ended".into() });
            return Outcome::NoBoot(cause);
        }
        match (self.oops, self.panic, self.locked, self.status) {
            (Some(line), ..) => Outcome::Oops(line),
            (_, Some(line), ..) => Outcome::Panic(line),
            (_, _, Some((line, _)), _) => Outcome::SoftLockup(line),
            (_, _, _, Some((status, _))) => Outcome::Exited(status),
            _ if out_of_time => Outcome::Hang,
            _ => Outcome::Died,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    Panic,
    Oops,
    SoftLockup,
    Note,
}

fn classify(line: &str) -> Option<Trouble> {
    let has = |word| line.contains(word);
    if has("soft lockup") {
        Some(Trouble::SoftLockup)
    } else if has("Kernel panic") {
        Some(Trouble::Panic)
    // A program's own fault is told as `traps: NAME[PID] general protection fault ip:…`.
    } else if has("Oops:") || has("BUG: ") || has("kernel BUG at") || has("general protection fault,") || has("general protection fault:") {
        Some(Trouble::Oops)
    } else if has("WARNING: ") || has("detected stall") || has("self-detected stall") || has("Out of memory: ") || has("blocked for more than") {
        Some(Trouble::Note)
    } else {
        None
    }
}

/// The emulator ends with us, whatever error we leave by.
struct Killed(Child);

impl Killed {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.end();
    }
}

/// The host's ends of the serial ports, in a directory of their own: a socket's path must be short.
struct Sockets {
    dir: PathBuf,
    listeners: Vec<UnixListener>,
}

impl Sockets {
    fn new() -> Result<Self> {
        let stamp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.subsec_nanos();
        let dir = std::env::temp_dir().join(format!("rgt-vm-{}-{stamp}", std::process::id()));
        std::fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let mut sockets = Self { dir, listeners: Vec::new() };
        for port in PORTS {
            let path = sockets.path(port);
            let listener = UnixListener::bind(&path).with_context(|| format!("{}: set TMPDIR to a shorter path", path.display()))?;
            listener.set_nonblocking(true)?;
            sockets.listeners.push(listener);
        }
        Ok(sockets)
    }

    fn path(&self, port: &str) -> PathBuf {
        self.dir.join(port)
    }

    /// Waits for the emulator to take up its ports, and starts a reader for each.
    fn accept(&self, qemu: &mut Child, events: &Sender<Event>, machine: &Machine) -> Result<Vec<JoinHandle<()>>> {
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
                    bail!("{QEMU} did not start ({status}); its own words are above");
                }
                if started.elapsed() > Duration::from_secs(60) {
                    bail!("{QEMU} did not take up its serial ports within 60 s");
                }
                std::thread::sleep(Duration::from_millis(10));
            };
            stream.set_nonblocking(false)?;
            let events = events.clone();
            readers.push(match *port {
                "stdout" => copy(stream, std::io::stdout(), events),
                "stderr" => copy(stream, std::io::stderr(), events),
                "console" => {
                    let log = std::fs::File::create(machine.console).with_context(|| machine.console.display().to_string())?;
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

fn lines(mut from: UnixStream, mut log: Option<std::fs::File>, events: Sender<Event>, event: fn(String) -> Event) -> JoinHandle<()> {
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

#[cfg(test)]
mod tests {
    use super::{Trouble, classify};

    #[test]
    fn kernel_troubles_are_told_from_a_programs() {
        for (line, trouble) in [
            ("Kernel panic - not syncing: Fatal exception", Some(Trouble::Panic)),
            ("Oops: int3: 0000 [#1] SMP", Some(Trouble::Oops)),
            ("BUG: kernel NULL pointer dereference, address: 8", Some(Trouble::Oops)),
            ("watchdog: BUG: soft lockup - CPU#0 stuck for 22s!", Some(Trouble::SoftLockup)),
            ("traps: a[7] general protection fault ip:1 sp:2 error:0", None),
            ("WARNING: CPU: 0 PID: 1 at kernel/x.c:1", Some(Trouble::Note)),
        ] {
            assert_eq!(classify(line), trouble, "{line}");
        }
    }
}
