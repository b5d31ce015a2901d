//! The recent actions of one run, kept in the very bytes in which records show them.

use std::collections::VecDeque;

use crate::attempt::{Attempt, End, Judgement};
use crate::record::canonical::Object;
use crate::record::time::TimeText;

/// `trajectory.length` may not be more.
pub const MAX_LENGTH: usize = 64;
/// Of an object's name, so many bytes are shown; `truncated: true` says that there were more.
pub const MAX_OBJECT: usize = 256;

#[derive(Clone, Debug)]
pub struct Trajectory {
    length: usize,
    /// The entries, joined by commas.
    window: Vec<u8>,
    /// The length of each entry in `window`, and whether its object's name was cut.
    entries: VecDeque<(usize, bool)>,
    /// How many entries in the window are cut.
    cut: usize,
}

impl Trajectory {
    pub fn new(length: usize) -> Result<Trajectory, String> {
        if length > MAX_LENGTH {
            return Err(format!(
                "trajectory.length {length}: more than {MAX_LENGTH} actions would make records too large; \
                 set 0 to {MAX_LENGTH}"
            ));
        }
        Ok(Trajectory { length, window: Vec::new(), entries: VecDeque::new(), cut: 0 })
    }

    /// The entries joined by commas, oldest first.
    pub fn window(&self) -> &[u8] {
        &self.window
    }

    /// Whether any object's name in the window is cut.
    pub fn truncated(&self) -> bool {
        self.cut > 0
    }

    /// Takes in an action once its own record is written.
    pub fn append(&mut self, attempt: &Attempt, judgement: &Judgement, time: &TimeText) {
        if self.length == 0 {
            return;
        }
        if self.entries.len() == self.length
            && let Some((oldest, cut)) = self.entries.pop_front()
        {
            self.cut -= usize::from(cut);
            let comma = usize::from(!self.entries.is_empty());
            self.window.drain(..oldest + comma);
        }
        if !self.entries.is_empty() {
            self.window.push(b',');
        }
        let start = self.window.len();
        let cut = write_entry(attempt, judgement, time, &mut self.window);
        self.cut += usize::from(cut);
        self.entries.push_back((self.window.len() - start, cut));
    }
}

/// Writes one entry; whether its object's name was cut.
fn write_entry(attempt: &Attempt, judgement: &Judgement, time: &TimeText, out: &mut Vec<u8>) -> bool {
    let name = attempt.object.as_ref().or(attempt.argument.as_ref());
    let cut = name.is_some_and(|name| name.len() > MAX_OBJECT);
    Object::write(out, |entry| {
        if let Some(name) = name {
            entry.str("object", &name[..name.len().min(MAX_OBJECT)]);
        }
        if let End::Returned(result) = attempt.end {
            entry.int("result", result);
        }
        entry.str("rule", &judgement.rule_id);
        if cut {
            entry.bool("truncated", true);
        }
        entry.plain("ts", time);
        entry.plain("verb", attempt.action.verb().as_bytes());
        entry.plain("verdict", judgement.verdict.name().as_bytes());
    });
    cut
}
