//! From a ledger's lines to what was attempted: each action once, on the object that it was judged on.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use sensor_common::action::Action;
use serde::Deserialize;

use crate::attempt::End;
use crate::policy::object::Object;
use crate::policy::place::resolve;
use crate::policy::{Host, exact, has_address, has_place};
use crate::record::canonical::decode;

/// What an action was attempted on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Thing {
    Place(Vec<u8>),
    /// `memfd:x`, `pipe:`: no rule of a path speaks of it.
    Nameless(Vec<u8>),
    /// As it was written; where that leads cannot be told.
    Unknown(Vec<u8>),
    /// Of an action without a place: an address, or whatever the call took.
    Said(Vec<u8>),
}

impl Thing {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Thing::Place(bytes) | Thing::Nameless(bytes) | Thing::Unknown(bytes) | Thing::Said(bytes) => bytes,
        }
    }

    fn of(path: Option<Vec<u8>>, written: &[u8]) -> Thing {
        match Object::of(path.as_deref()) {
            Object::Path(path) => Thing::Place(path.to_vec()),
            Object::Nameless(name) => Thing::Nameless(name.to_vec()),
            _ => Thing::Unknown(written.to_vec()),
        }
    }

    /// As the judge takes it.
    pub fn object(&self, action: Action) -> Object<'_> {
        match self {
            Thing::Place(path) => Object::Path(path),
            Thing::Nameless(name) => Object::Nameless(name),
            Thing::Unknown(_) => Object::Unknown,
            Thing::Said(_) if !has_address(action) => Object::None,
            // The record does not say by which protocol; no pattern that is suggested asks.
            Thing::Said(text) => match std::str::from_utf8(text).ok().map(exact) {
                Some(Ok((Host::Net { address, .. }, port, protocol))) => {
                    Object::Address { address, port, protocol }.reached_by(action)
                }
                _ => Object::OtherSocket,
            },
        }
    }
}

/// How often something was attempted, and how it went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    pub count: u64,
    /// Of these, how many came to nothing.
    pub failed: u64,
    /// How many the policy of the time denied.
    pub denied: u64,
    /// `2026-11-03T10:00:00`
    pub first: String,
    pub last: String,
    /// A record of it.
    pub id: String,
    /// Nobody attempted this itself: a link of the system's leads here.
    pub led: bool,
}

impl Stat {
    pub fn add(&mut self, other: &Stat) {
        if self.count == 0 {
            *self = other.clone();
            return;
        }
        self.count += other.count;
        self.failed += other.failed;
        self.denied += other.denied;
        self.led &= other.led;
        if other.first < self.first {
            self.first.clone_from(&other.first);
        }
        if other.last > self.last {
            self.last.clone_from(&other.last);
        }
    }

    /// It never went through.
    pub fn in_vain(&self) -> bool {
        self.failed == self.count
    }
}

/// All that was read.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    pub attempts: u64,
    pub things: BTreeMap<(Action, Thing), Stat>,
    pub agents: BTreeSet<String>,
    pub runs: BTreeSet<String>,
    pub uids: BTreeSet<u32>,
    pub first: String,
    pub last: String,
    /// Lines that are no record; a ledger that verifies has none.
    pub strange: u64,
    /// Of each run, the directory that its first relative name started from.
    pub started_in: BTreeMap<String, Vec<u8>>,
}

/// Which records count.
#[derive(Clone, Debug, Default)]
pub struct Chosen {
    pub agent: Option<String>,
    pub run: Option<String>,
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    data: Data<'a>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, default)]
    agent_id: Cow<'a, str>,
    #[serde(borrow, default)]
    run_id: Cow<'a, str>,
    #[serde(borrow, default)]
    timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    judged: Cow<'a, str>,
    #[serde(borrow, default)]
    policy_verdict: Cow<'a, str>,
    end: Option<String>,
    outcome_of: Option<String>,
    action_attempted: Option<Attempted>,
}

#[derive(Deserialize)]
struct Attempted {
    syscall: Option<String>,
    verb: String,
    #[serde(default)]
    actions: Vec<String>,
    argument: Option<String>,
    argument2: Option<String>,
    directory: Option<String>,
    directory2: Option<String>,
    object: Option<String>,
    object2: Option<String>,
    result: Option<i64>,
    credentials: Option<Credentials>,
}

#[derive(Deserialize)]
struct Credentials {
    uid: u32,
}

fn plain(text: &str) -> String {
    String::from_utf8_lossy(&decode(text.as_bytes())).into_owned()
}

impl Observed {
    /// The date that most times have: it need not be said with each.
    pub fn day(&self) -> &str {
        self.first.get(..10).unwrap_or_default()
    }

    /// Takes in one line of a ledger.
    pub fn line(&mut self, line: &[u8], chosen: &Chosen) {
        let Ok(Line { id, data }) = serde_json::from_slice::<Line<'_>>(line) else {
            self.strange += 1;
            return;
        };
        let Some(attempted) = data.action_attempted.filter(|action| action.syscall.is_some()) else {
            return;
        };
        let (agent, run) = (plain(&data.agent_id), plain(&data.run_id));
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        if !is(&chosen.agent, &agent) || !is(&chosen.run, &run) {
            return;
        }
        let time = data.timestamp.get(..19).unwrap_or(&data.timestamp).to_owned();
        let refused = attempted.result.is_some_and(|result| End::Returned(result).is_refused());
        // An outcome is the same attempt, but what it meant is known better now.
        let once = u64::from(data.outcome_of.is_none());
        let stat = Stat {
            count: 1,
            failed: u64::from(refused || data.end.as_deref() == Some("killed")),
            denied: u64::from(data.policy_verdict == "DENY"),
            first: time.clone(),
            last: time.clone(),
            id: id.into_owned(),
            led: false,
        };
        self.attempts += once;
        if self.first.is_empty() || time < self.first {
            self.first.clone_from(&time);
        }
        if time > self.last {
            self.last = time;
        }
        if let (Some(directory), Some(argument)) = (&attempted.directory, &attempted.argument)
            && !argument.starts_with('/')
            && directory.starts_with('/')
        {
            self.started_in.entry(run.clone()).or_insert_with(|| decode(directory.as_bytes()));
        }
        self.uids.extend(attempted.credentials.as_ref().map(|who| who.uid));
        self.agents.insert(agent);
        self.runs.insert(run);
        for key in meant(&attempted, data.judged == "kernel") {
            match (self.things.get_mut(&key), once) {
                (Some(known), 1) => known.add(&stat),
                (Some(known), _) => {
                    // What was counted as under way came to nothing.
                    known.failed = (known.failed + stat.failed).min(known.count);
                }
                (None, _) => {
                    self.things.insert(key, stat.clone());
                }
            }
        }
    }
}

/// Each action of the attempt with its object, as the daemon judges it.
fn meant(attempted: &Attempted, by_kernel: bool) -> Vec<(Action, Thing)> {
    let bytes = |text: &Option<String>| text.as_ref().map(|text| decode(text.as_bytes()));
    let (argument, argument2) = (bytes(&attempted.argument), bytes(&attempted.argument2));
    let (object, object2) = (bytes(&attempted.object), bytes(&attempted.object2));
    let resolved = |argument: &Option<Vec<u8>>, base: &Option<String>| {
        let base = bytes(base).unwrap_or_default();
        // A record leaves out the base that an absolute name does not need.
        argument.as_ref().and_then(|argument| resolve(&base, argument))
    };
    let written = resolved(&argument, &attempted.directory);
    let written2 = resolved(&argument2, &attempted.directory2);
    let (first, second) = if by_kernel {
        (object.clone(), object2.clone().or(written2))
    } else {
        (written.or(object.clone()), written2.or(object2.clone()))
    };
    let said = argument.clone().or_else(|| object.clone()).unwrap_or_default();
    let first = Thing::of(first, &said);
    let second =
        (argument2.is_some() || object2.is_some()).then(|| Thing::of(second, argument2.as_deref().unwrap_or_default()));
    let verbs = match attempted.actions.as_slice() {
        [] => std::slice::from_ref(&attempted.verb),
        actions => actions,
    };
    let mut all = Vec::new();
    for action in verbs.iter().filter_map(|verb| Action::from_verb(verb)) {
        if !has_place(action) {
            all.push((action, Thing::Said(said.clone())));
            continue;
        }
        let syscall = attempted.syscall.as_deref().unwrap_or_default();
        let (on_first, on_second) = operands(syscall, action, by_kernel);
        let second = second.as_ref().filter(|_| on_second);
        if on_first || second.is_none() {
            all.push((action, first.clone()));
        }
        all.extend(second.map(|second| (action, second.clone())));
    }
    all
}

/// Which of a call's two objects an action applies to. The record names each action once.
fn operands(syscall: &str, action: Action, by_kernel: bool) -> (bool, bool) {
    match (syscall, action) {
        // The old name goes, and so does what stood at the new one.
        ("rename" | "renameat" | "renameat2", Action::FileDelete) => (true, true),
        ("rename" | "renameat" | "renameat2" | "link" | "linkat", Action::FileCreate) => (false, true),
        ("rename" | "renameat" | "renameat2" | "link" | "linkat", _) => (true, false),
        // What a symbolic link says is text; the link itself stands at the second name.
        ("symlink" | "symlinkat", _) => (false, true),
        // Where a call has one name, a second object is what a later hook met: a script's interpreter.
        _ => (true, by_kernel),
    }
}
