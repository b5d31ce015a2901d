//! What files hold, by SHA-256: `/usr/bin/git@sha256:…` is the file of that place while it holds that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sensor_common::action::Action;
use sensor_common::contents::Identity;
use sha2::{Digest as _, Sha256};

use super::compiled::Table;
use super::language::{Fallback, Policy, SetId};
use super::lists::Lists;
use super::object::Object;
use super::pattern::Pattern;
use super::problem::{At, Report};

pub type Digest = [u8; 32];

/// Stands between a place and the digest of what it is to hold.
const MARK: &str = "@sha256:";
const DIGITS: usize = 64;

/// Pinned places of one policy: each is looked at again and again.
const MAX_PINNED: usize = 256;

/// A file as it was read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Content {
    pub identity: Identity,
    pub digest: Digest,
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { number, seconds, nanoseconds, .. } = self.identity;
        write!(f, "sha256:{}, inode {number} as changed at {seconds}.{nanoseconds:09}", hex::encode(self.digest))
    }
}

impl Content {
    /// All that makes it another.
    pub(super) fn update(&self, hash: &mut Sha256) {
        let Identity { number, seconds, nanoseconds, generation, device, .. } = self.identity;
        hash.update(number.to_le_bytes());
        hash.update(seconds.to_le_bytes());
        [nanoseconds, generation, device].iter().for_each(|part| hash.update(part.to_le_bytes()));
        hash.update(self.digest);
    }

    pub fn at(&self, place: &str) -> String {
        joined(place, &self.digest)
    }
}

/// A place and what its file is to hold, as a policy has it.
pub(super) fn joined(place: &str, digest: &Digest) -> String {
    format!("{place}{MARK}{}", hex::encode(digest))
}

/// By place; none: nobody has read it.
pub type Contents = BTreeMap<String, Option<Content>>;

/// What a file in a pinned place holds when something is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Holds {
    /// What the table says.
    #[default]
    AsRead,
    This(Digest),
    /// It was changed since it was read, or cannot be.
    Unknown,
}

impl Holds {
    /// As a case or a question gives it; without a digest it says nothing of it.
    pub fn of(digest: Option<Digest>) -> Holds {
        digest.map_or(Holds::AsRead, Holds::This)
    }
}

/// What a walk is told of the file that it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// The action does not go by it.
    NotAsked,
    Unknown,
    This(Digest),
}

/// Whether what the object's file holds can matter to the action.
pub(super) fn goes_by_contents(action: Action) -> bool {
    matches!(action, Action::ProcExec | Action::FileMapExec)
}

/// A place as written and the digest behind it, if there is one; else what is wrong and the way out.
pub fn split(text: &str) -> Result<(&str, Option<Digest>), (String, String)> {
    let escaped = |place: &str| (place.len() - place.trim_end_matches('\\').len()) % 2 == 1;
    // At the start it would be an abstract socket's name.
    let found = text.rsplit_once(MARK).filter(|(place, _)| !place.is_empty() && !escaped(place));
    let Some((place, digits)) = found else { return Ok((text, None)) };
    let mut digest = Digest::default();
    if digits.len() != DIGITS || hex::decode_to_slice(digits, &mut digest).is_err() {
        let cause = format!("behind `{MARK}` stand {DIGITS} hexadecimal digits");
        return Err((cause, "write what `sha256sum` says".to_owned()));
    }
    Ok((place, Some(digest)))
}

impl Policy {
    /// Places of which some rule asks what the file holds.
    pub fn pinned(&self) -> BTreeSet<String> {
        self.sets.iter().flatten().filter_map(Pattern::pinned_place).collect()
    }
}

/// Each pinned place is looked at again and again: their number is bounded.
pub(super) fn too_many(policy: &Policy, report: &mut Report) {
    let places = policy.pinned().len();
    if places > MAX_PINNED {
        let text = format!("{places} files with a digest, more than the limit of {MAX_PINNED}");
        report.error(At::TOP, text, "name directories that the agent cannot write to");
    }
}

/// What is unknown is let by, and contents are unknown whenever somebody has touched a file.
pub(super) fn warn(policy: &Policy, report: &mut Report) {
    let mut patterns = policy.sets.iter().flatten();
    let pinned = patterns.find(|pattern| pattern.digest.is_some());
    if let (Some(pattern), Fallback::Allow) = (pinned, policy.on_unknown) {
        let text = "`on_unknown: allow` lets by what a file with a digest would be refused, once it has changed";
        report.warning(pattern.at, text, "say `on_unknown: deny`");
    }
}

/// Only what runs goes by its contents: told of a digest in another place.
pub(super) fn only_what_runs(sets: &[SetId], lists: &Lists, report: &mut Report) -> Option<()> {
    let mut patterns = sets.iter().flat_map(|set| &lists.sets[*set]);
    let Some(pattern) = patterns.find(|pattern| pattern.digest.is_some()) else { return Some(()) };
    let text = format!("`{}`: only what runs goes by what it holds", pattern.text);
    report.error(pattern.at, text, "give it to `exe:`, or to a rule of `proc.exec` and `file.map_exec` alone");
    None
}

/// Whether a digest stands behind the place.
pub(super) fn is_pinned(text: &str) -> bool {
    matches!(split(text), Ok((_, Some(_))))
}

impl Table {
    /// Whether some rule asks what the file holds that lies there.
    pub fn is_pinned(&self, object: Object<'_>) -> bool {
        let Object::Path(path) = object else { return false };
        std::str::from_utf8(path).is_ok_and(|path| self.contents.contains_key(path))
    }

    /// What the file at a pinned place holds.
    pub(super) fn held_at(&self, path: &[u8], holds: Holds) -> Held {
        let read = || self.contents.get(std::str::from_utf8(path).ok()?).copied().flatten();
        match holds {
            Holds::AsRead => read().map_or(Held::Unknown, |content| Held::This(content.digest)),
            Holds::This(digest) => Held::This(digest),
            Holds::Unknown => Held::Unknown,
        }
    }
}
