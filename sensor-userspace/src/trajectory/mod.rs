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
    /// The length of each entry in `window`.
    entries: VecDeque<usize>,
    actions: u64,
}

impl Trajectory {
    pub fn new(length: usize) -> Result<Trajectory, String> {
        if length > MAX_LENGTH {
            return Err(format!(
                "trajectory.length {length}: more than {MAX_LENGTH} actions would make records too large; \
                 set 0 to {MAX_LENGTH}"
            ));
        }
        Ok(Trajectory { length, window: Vec::new(), entries: VecDeque::new(), actions: 0 })
    }

    /// The entries joined by commas, oldest first.
    pub fn window(&self) -> &[u8] {
        &self.window
    }

    /// Whether the run had more actions before than the window shows.
    pub fn truncated(&self) -> bool {
        self.actions > self.entries.len() as u64
    }

    /// Takes in an action once its own record is written.
    pub fn append(&mut self, attempt: &Attempt, judgement: &Judgement, time: &TimeText) {
        self.actions += 1;
        if self.length == 0 {
            return;
        }
        if self.entries.len() == self.length
            && let Some(oldest) = self.entries.pop_front()
        {
            let comma = usize::from(!self.entries.is_empty());
            self.window.drain(..oldest + comma);
        }
        if !self.entries.is_empty() {
            self.window.push(b',');
        }
        let start = self.window.len();
        write_entry(attempt, judgement, time, &mut self.window);
        self.entries.push_back(self.window.len() - start);
    }
}

fn write_entry(attempt: &Attempt, judgement: &Judgement, time: &TimeText, out: &mut Vec<u8>) {
    let name = attempt.object.as_ref().or(attempt.argument.as_ref());
    Object::write(out, |entry| {
        if let Some(name) = name {
            entry.str("object", &name[..name.len().min(MAX_OBJECT)]);
        }
        if let End::Returned(result) = attempt.end {
            entry.int("result", result);
        }
        entry.str("rule", &judgement.rule_id);
        if name.is_some_and(|name| name.len() > MAX_OBJECT) {
            entry.bool("truncated", true);
        }
        entry.plain("ts", time);
        entry.plain("verb", attempt.action.verb().as_bytes());
        entry.plain("verdict", judgement.verdict.name().as_bytes());
    });
}
