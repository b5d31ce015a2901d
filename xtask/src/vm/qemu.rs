//! One boot of the emulator: four serial ports, so that the command's output, its errors, the
//! kernel's messages and our own protocol never mix.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::ports::{PORTS, Sockets};
use super::watch::{Event, Watch};
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

impl Machine<'_> {
    pub fn run(&self) -> Result<(Outcome, Times)> {
        let sockets = Sockets::new()?;
        let started = Instant::now();
        let mut qemu = Killed(
            self.command(&sockets)
                .spawn()
                .with_context(|| format!("cannot run {QEMU}: `cargo xtask setup` installs qemu-system-x86"))?,
        );
        let (sender, events) = channel();
        let readers = sockets.accept(&mut qemu.0, &sender, self.console)?;
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
        command
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-vga", "none", "-nic", "none"]);
        // Several virtual processors in threads of their own break the kernel's text patching.
        command.args([
            "-accel",
            "tcg,thread=single",
            "-cpu",
            &o.cpu,
            "-smp",
            &o.smp.to_string(),
            "-m",
            &o.memory.to_string(),
        ]);
        if o.icount {
            command.args(["-icount", "shift=0,sleep=off"]);
        }
        for port in PORTS {
            command.arg("-chardev").arg(format!("socket,id={port},path={}", sockets.path(port).display()));
            command.arg("-serial").arg(format!("chardev:{port}"));
        }
        // An Oops ends the machine at once: what runs after it proves nothing.
        let mut line =
            String::from("console=ttyS0,115200 8250.nr_uarts=4 panic=-1 oops=panic loglevel=5 random.trust_cpu=on");
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
                (None, Some(_)) => {
                    started.elapsed() > self.deadline
                        || watch.locked.as_ref().is_some_and(|(_, at)| at.elapsed() > LOCKED)
                }
            };
            if late {
                return Ok(true);
            }
        }
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
