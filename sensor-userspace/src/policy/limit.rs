//! How often, how much, or of how many objects a rule holds, and how the daemon counts where no hook does.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use sensor_common::table::{self, counted};
use sha2::{Digest, Sha256};

use super::object::Object;

/// `limit:` of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    pub most: u64,
    pub of: Counted,
    /// The rule holds beyond it, not within.
    pub beyond: bool,
    /// None: in the whole run.
    pub per: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Attempts,
    Bytes,
    Objects,
}

impl Counted {
    pub const ALL: [(&'static str, Counted); 3] =
        [("attempts", Counted::Attempts), ("bytes", Counted::Bytes), ("objects", Counted::Objects)];

    fn number(self) -> u8 {
        match self {
            Counted::Attempts => counted::ATTEMPTS,
            Counted::Bytes => counted::BYTES,
            Counted::Objects => counted::OBJECTS,
        }
    }
}

impl Limit {
    /// As the kernel has it, for the rule of this index and name.
    pub(super) fn compiled(&self, rule: usize, name: &str) -> table::Limit {
        let seconds = self.per.map_or(0, |per| per.as_secs() as u32);
        let (of, beyond) = (self.of.number(), self.beyond.into());
        let identity = Sha256::digest(format!("{name} {} {of} {beyond} {seconds}", self.most));
        let id = identity.iter().take(8).fold(0, |id, byte| id << 8 | u64::from(*byte));
        table::Limit { id, most: self.most, seconds, rule: rule as u16, of, beyond }
    }
}

/// `beyond 20 attempts per 60s`
pub(super) fn limit_text(limit: &table::Limit) -> String {
    let side = if limit.beyond != 0 { "beyond" } else { "within" };
    let of = match (limit.of, limit.most) {
        (counted::BYTES, 1) => "byte",
        (counted::BYTES, _) => "bytes",
        (counted::OBJECTS, 1) => "object",
        (counted::OBJECTS, _) => "objects",
        (_, 1) => "attempt",
        _ => "attempts",
    };
    let per = match limit.seconds {
        0 => "run".to_owned(),
        seconds if seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        seconds if seconds % 60 == 0 => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    };
    format!("{side} {} {of} per {per}", limit.most)
}

/// An attempt that a limit counts: it, and what tells the attempt's object from others; none where nothing does.
pub type Counting = (table::Limit, Option<u64>);

pub(super) fn counting(limit: table::Limit, object: Object<'_>) -> Counting {
    // What has no name is one with all others.
    let object = match object {
        Object::Nameless(_) | Object::OtherSocket => Object::None,
        object => object,
    };
    let known = (!object.is_unknown()).then_some(object);
    (limit, known.map(|object| BuildHasherDefault::<DefaultHasher>::new().hash_one(object)))
}

/// Which limits an attempt exceeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limits<'a> {
    /// A bit for each of the policy's.
    Given(u32),
    /// By what was counted so far. Where the attempt falls (in seconds), and how many bytes it sends.
    Counted { tally: &'a Tally, seconds: u64, bytes: u64 },
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Limits::Given(0)
    }
}

impl Limits<'_> {
    /// Whether the attempt exceeds the limit, which is the policy's `index`th.
    /// None: it cannot be told.
    pub(super) fn exceeded(&self, index: usize, attempt: &Counting) -> Option<bool> {
        match self {
            Limits::Given(bits) => Some(bits >> index & 1 == 1),
            Limits::Counted { tally, seconds, bytes } => tally.exceeds(attempt, *seconds, *bytes),
        }
    }
}

/// What one run has done, as far as limits ask: the daemon's own count, of what no hook has judged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By limit: the window at hand.
    windows: HashMap<u64, Window>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Window {
    number: u64,
    count: u64,
    met: HashSet<u64>,
}

fn number(limit: &table::Limit, seconds: u64) -> u64 {
    seconds.checked_div(limit.seconds.into()).unwrap_or(0)
}

impl Tally {
    fn exceeds(&self, (limit, object): &Counting, seconds: u64, bytes: u64) -> Option<bool> {
        let nothing = Window::default();
        let window = self.windows.get(&limit.id).filter(|window| window.number == number(limit, seconds));
        let window = window.unwrap_or(&nothing);
        Some(match limit.of {
            // One that is unknown may be any.
            counted::OBJECTS => !window.met.contains(&(*object)?) && window.count >= limit.most,
            counted::BYTES => window.count.saturating_add(bytes) > limit.most,
            _ => window.count >= limit.most,
        })
    }

    /// The attempt has come to the limit.
    pub fn count(&mut self, (limit, object): &Counting, seconds: u64, bytes: u64) {
        let number = number(limit, seconds);
        let window = self.windows.entry(limit.id).or_default();
        if number < window.number {
            // It comes late: its window has ended.
            return;
        }
        if number > window.number {
            *window = Window { number, ..Window::default() };
        }
        window.count = match limit.of {
            counted::OBJECTS => {
                let is_new = |object: u64| window.count < limit.most && window.met.insert(object);
                window.count + u64::from(object.is_some_and(is_new))
            }
            counted::BYTES => window.count.saturating_add(bytes),
            _ => window.count.saturating_add(1),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(most: u64, of: Counted, per: Option<u64>) -> table::Limit {
        Limit { most, of, beyond: false, per: per.map(Duration::from_secs) }.compiled(3, "R")
    }

    /// How many of these attempts, at a second each with that many bytes, are within.
    fn within(limit: table::Limit, attempts: &[(u64, Object<'_>, u64)]) -> usize {
        let mut tally = Tally::default();
        let is_within = |(seconds, object, bytes): &&(u64, Object<'_>, u64)| {
            let attempt = counting(limit, *object);
            let exceeds = tally.exceeds(&attempt, *seconds, *bytes);
            tally.count(&attempt, *seconds, *bytes);
            exceeds == Some(false)
        };
        attempts.iter().filter(is_within).count()
    }

    #[test]
    fn what_is_counted_is_counted_by_window() {
        let (a, b, c) = (Object::Path(b"/a"), Object::Path(b"/b"), Object::Path(b"/c"));
        let run = [(0, a, 10), (5, a, 10), (9, b, 10), (10, c, 10), (11, a, 10)];
        assert_eq!(within(limit(3, Counted::Attempts, None), &run), 3);
        assert_eq!(within(limit(2, Counted::Attempts, Some(10)), &run), 4);
        assert_eq!(within(limit(30, Counted::Bytes, None), &run), 3);
        assert_eq!(within(limit(29, Counted::Bytes, Some(10)), &run), 4);
        assert_eq!(within(limit(2, Counted::Objects, None), &run), 4);
        assert_eq!(within(limit(1, Counted::Objects, Some(10)), &run), 3);
        assert_eq!(within(limit(9, Counted::Objects, None), &[(0, Object::Unknown, 0)]), 0, "it may be any");
    }

    #[test]
    fn a_limit_is_known_by_all_that_it_says() {
        let one = limit(3, Counted::Attempts, None);
        let others = [
            limit(4, Counted::Attempts, None),
            limit(3, Counted::Objects, None),
            limit(3, Counted::Attempts, Some(1)),
            Limit { most: 3, of: Counted::Attempts, beyond: true, per: None }.compiled(3, "R"),
            Limit { most: 3, of: Counted::Attempts, beyond: false, per: None }.compiled(3, "S"),
        ];
        assert!(others.iter().all(|other| other.id != one.id));
        // Wherever it stands.
        assert_eq!(Limit { most: 3, of: Counted::Attempts, beyond: false, per: None }.compiled(4, "R").id, one.id);
        assert_eq!(limit_text(&others[2]), "within 3 attempts per 1s");
        assert_eq!(limit_text(&others[3]), "beyond 3 attempts per run");
        assert_eq!(limit_text(&limit(1, Counted::Objects, Some(7200))), "within 1 object per 2h");
    }
}
