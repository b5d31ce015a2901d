//! Proof, from time to time, that a denial denies: hooks can fall silent with no counter moving.

use std::fs;
use std::time::Instant;

use super::engine::Engine;
use super::source::EventSource;
use crate::attempt::Mode;
use crate::kernel::Standing;
use crate::record::Field;

/// Written to by whoever may: 0 silences every hook at once.
const FTRACE: &str = "/proc/sys/kernel/ftrace_enabled";
/// A child that is late, or a program that the kernel skipped once, is no silence.
const TRIES: u32 = 3;

pub(super) struct Canary {
    tried: Instant,
    /// What the load found: what holds again once denials deny again.
    sound: Standing,
    silent: bool,
}

impl Canary {
    pub fn new(standing: &Standing) -> Canary {
        Canary { tried: Instant::now(), sound: standing.clone(), silent: false }
    }
}

impl<S: EventSource> Engine<S> {
    /// Tries a denial if it is time, or if the kernel says that hooks are off; tells a change, loudly.
    pub(super) fn watch_denials(&mut self) {
        if self.canary.sound.mode == Mode::Observe {
            return;
        }
        let off = ftrace_is_off();
        let due = self.canary.tried.elapsed() >= self.options.config.canary;
        // While hooks are silent every look may be the one that finds them speaking.
        if !due && !self.canary.silent && !off {
            return;
        }
        self.canary.tried = Instant::now();
        match self.denied() {
            Ok(()) if self.canary.silent => self.tell_denials(None),
            Ok(()) => {}
            Err(why) if !self.canary.silent => {
                let why = if off {
                    format!("{why}; kernel.ftrace_enabled is 0: `sysctl kernel.ftrace_enabled=1`")
                } else {
                    why
                };
                self.tell_denials(Some(why));
            }
            Err(_) => {}
        }
    }

    pub(super) fn is_silent(&self) -> bool {
        self.canary.silent
    }

    fn denied(&mut self) -> Result<(), String> {
        let mut why = String::new();
        for _ in 0..TRIES {
            why = match self.source.try_denial() {
                Ok(None | Some(libc::EACCES)) => return Ok(()),
                Ok(Some(errno)) => format!("a denial did not deny (errno {errno})"),
                Err(error) => format!("a denial could not be tried: {error:#}"),
            };
        }
        Err(why)
    }

    /// `why`: denials do not deny any more. None: they do again.
    fn tell_denials(&mut self, why: Option<String>) {
        let standing = &mut self.desk.standing;
        *standing = self.canary.sound.clone();
        self.canary.silent = why.is_some();
        let reason = match why {
            Some(why) => {
                let reason = format!("NOTHING IS DENIED ANY MORE: {why}");
                tracing::error!("{reason}; records say `degraded` until a denial denies again");
                standing.degraded = true;
                standing.notes.push(reason.clone());
                reason
            }
            None => {
                tracing::warn!("a denial denies again");
                "a denial denies again".to_owned()
            }
        };
        let fields = [
            ("denies", Field::Bool(!self.canary.silent)),
            ("mode", Field::Str(self.desk.standing.mode.name())),
            ("degraded", Field::Bool(self.desk.standing.degraded)),
            ("reason", Field::Str(&reason)),
        ];
        self.desk.ledgers.each(|ledger| {
            let told = ledger.audit("enforcement", &fields);
            if let Err(error) = told.and_then(|_| ledger.flush(true)) {
                tracing::error!("ledger {}: {error:#}", ledger.dir().display());
            }
        });
    }
}

fn ftrace_is_off() -> bool {
    fs::read_to_string(FTRACE).is_ok_and(|value| value.trim() == "0")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::mpsc;
    use std::time::Duration;

    use serde_json::Value;

    use super::*;
    use crate::config::Config;
    use crate::daemon::Options;
    use crate::daemon::script::Script;
    use crate::ledger::Reader;

    #[test]
    fn silence_is_told_and_so_is_its_end() {
        let dir = std::env::temp_dir().join(format!("rgt-canary-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let mut config = Config { ledger_dir: dir.join("ledger"), canary: Duration::ZERO, ..Config::default() };
        config.seal.key_file = Some(dir.join("key"));
        fs::write(dir.join("key"), "ab".repeat(32)).unwrap();
        let denied = libc::EACCES;
        // Denied; skipped once; silent; silent still; denied again.
        let met = [denied, 0, denied, 0, 0, 0, 0, 0, 0, denied, denied];
        let options = Options { config: config.clone(), ephemeral: false, enforce_allowed: true };
        let (_commands, asked) = mpsc::channel();
        let script = Script::new(met);
        let mut engine = Engine::new(script, options, PathBuf::from("/nowhere"), asked).unwrap();
        for silent in [false, false, true, true, false, false] {
            engine.watch_denials();
            let standing = &engine.desk.standing;
            assert_eq!((engine.is_silent(), standing.degraded), (silent, silent));
            assert_eq!(standing.notes.len(), usize::from(silent));
        }
        assert!(engine.source.denials.is_empty());
        engine.state_file = dir.join("state.json");
        engine.end().unwrap();
        let mut reader = Reader::open(&config.ledger_dir).unwrap();
        let (mut line, mut told) = (Vec::new(), Vec::new());
        while reader.next_line(&mut line).unwrap().is_some() {
            let data = serde_json::from_slice::<Value>(&line).unwrap()["data"].take();
            if data["kind"] == "enforcement" {
                told.push((data["denies"] == true, data["degraded"] == true));
            }
        }
        assert_eq!(told, [(false, true), (true, false)]);
        fs::remove_dir_all(&dir).unwrap();
    }
}
