//! What one boot has told so far, and what it means: ready, a status, or the kernel's troubles.

use std::time::{Duration, Instant};

use super::Outcome;

/// One line from a port that is read by line.
pub enum Event {
    Kernel(String),
    Control(String),
}

/// What has been seen of one boot.
#[derive(Default)]
pub struct Watch {
    pub ready: Option<Duration>,
    pub status: Option<(u8, Instant)>,
    panic: Option<String>,
    oops: Option<String>,
    pub locked: Option<(String, Instant)>,
}

impl Watch {
    pub fn take(&mut self, event: Event, started: Instant, verbose: bool) {
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
    pub fn outcome(self, out_of_time: bool) -> Outcome {
        if self.ready.is_none() {
            let cause = self
                .oops
                .or(self.panic)
                .unwrap_or_else(|| if out_of_time { "no sign of life".into() } else { "the emulator ended".into() });
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
    } else if has("Oops:")
        || has("BUG: ")
        || has("kernel BUG at")
        || has("general protection fault,")
        || has("general protection fault:")
    {
        Some(Trouble::Oops)
    } else if has("WARNING: ")
        || has("detected stall")
        || has("self-detected stall")
        || has("Out of memory: ")
        || has("blocked for more than")
    {
        Some(Trouble::Note)
    } else {
        None
    }
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
