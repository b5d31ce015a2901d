//! What is asked again and again on threads of its own, because nobody knows how long an answer takes. The last good
//! answer is kept. Nothing here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// What was not answered is asked again after this, or at the next refresh if that is sooner.
const RETRY: Duration = Duration::from_secs(5);
/// … and what can be had in a moment after this.
const SOON: Duration = Duration::from_millis(500);
/// An answer that takes longer is waited for by nobody; it counts when it comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// What no policy speaks of is kept so long: its policy may be about to be put in force.
const IDLE: Duration = Duration::from_secs(60);

/// What kind of thing is asked about, as messages have it.
#[derive(Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub names: &'static str,
    /// Of all agents' policies together.
    pub most: usize,
    /// Asked at once: each on a thread, as long as an answer takes.
    pub at_once: usize,
    /// What an operator does who has too many.
    pub instead: &'static str,
    /// What holds while there is no answer, and after there was one.
    pub unknown: &'static str,
    pub stale: &'static str,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// It can be had in a moment: whoever waits goes on waiting.
    NotYet(String),
    Failed(String),
}

/// For whom it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum For {
    /// Root, and the configuration.
    Operators,
    /// Who leaves half of the room to operators.
    Users,
}

type Found<V> = Result<V, Lack>;
/// Answers by what it is asked about, and by the last good answer.
type Ask<V> = Arc<dyn Fn(&str, Option<&V>) -> Found<V> + Send + Sync>;

pub struct Asked<V> {
    kind: Kind,
    things: BTreeMap<String, Thing<V>>,
    ask: Ask<V>,
    refresh: Duration,
    tell: Sender<(String, Found<V>)>,
    told: Receiver<(String, Found<V>)>,
}

struct Thing<V> {
    /// The last good answer.
    answer: Option<V>,
    /// Answered or given up on, once.
    settled: bool,
    asked: Option<Instant>,
    due: Instant,
    /// When it was first to be asked about.
    since: Instant,
    wanted: Instant,
    /// Said in the log.
    failing: bool,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Something is settled that was not.
    pub settled: bool,
    /// Something has another answer.
    pub changed: bool,
}

impl std::ops::BitOr for Moved {
    type Output = Moved;

    fn bitor(self, other: Moved) -> Moved {
        Moved { settled: self.settled || other.settled, changed: self.changed || other.changed }
    }
}

impl<V: Clone + Debug + PartialEq + Send + 'static> Asked<V> {
    pub fn new(kind: Kind, ask: Ask<V>, refresh: Duration) -> Asked<V> {
        let (tell, told) = mpsc::channel();
        Asked { kind, things: BTreeMap::new(), ask, refresh, tell, told }
    }

    /// Sees to it that these are asked about; whether each is settled.
    pub fn want(&mut self, names: &BTreeSet<&str>, whose: For, now: Instant) -> Result<bool> {
        let new = names.iter().filter(|name| !self.things.contains_key(**name)).count();
        let Kind { names: of, most, instead, .. } = self.kind;
        let most = if whose == For::Users { most / 2 } else { most };
        if new > 0 && self.things.len() + new > most {
            bail!(
                "{new} more {of} do not fit beside {} of other policies in force, {most} together: {instead}, or end other agents",
                self.things.len()
            );
        }
        for name in names {
            let known = self.things.entry((*name).to_owned()).or_insert_with(|| Thing {
                answer: None,
                settled: false,
                asked: None,
                due: now,
                since: now,
                wanted: now,
                failing: false,
            });
            known.wanted = now;
        }
        Ok(names.iter().all(|name| self.things.get(*name).is_some_and(|known| known.settled)))
    }

    /// The last good answer.
    pub fn answer(&self, name: &str) -> Option<&V> {
        self.things.get(name)?.answer.as_ref()
    }

    /// Last good answers, for the next daemon.
    pub fn known(&self) -> BTreeMap<String, V> {
        let good = self.things.iter().filter_map(|(name, known)| Some((name.clone(), known.answer.clone()?)));
        good.collect()
    }

    /// Takes up the last good answers of the daemon before; all are asked for again.
    pub fn take_up(&mut self, known: BTreeMap<String, V>, now: Instant) {
        for (name, answer) in known.into_iter().take(self.kind.most) {
            let answer = Some(answer);
            let thing = Thing { answer, settled: true, asked: None, due: now, since: now, wanted: now, failing: false };
            self.things.insert(name, thing);
        }
    }

    /// Whether somebody may be waiting for an answer.
    pub fn is_awaited(&self) -> bool {
        self.things.values().any(|known| !known.settled)
    }

    /// Takes answers in, and asks what is due.
    pub fn look(&mut self, now: Instant) -> Moved {
        let mut moved = Moved::default();
        while let Ok((name, found)) = self.told.try_recv() {
            let Some(known) = self.things.get_mut(&name) else { continue };
            let settled = known.settled;
            moved.changed |= known.take(&self.kind, &name, found, now, self.refresh);
            moved.settled |= known.settled != settled;
        }
        for (name, known) in &mut self.things {
            // Of one that others keep from being asked, too.
            if !known.settled && now.saturating_duration_since(known.since) >= PATIENCE {
                known.settled = true;
                moved.settled = true;
                known.say(&self.kind, name, &format!("no answer within {} s", PATIENCE.as_secs()));
            }
        }
        self.ask_what_is_due(now);
        moved
    }

    fn ask_what_is_due(&mut self, now: Instant) {
        let asked = self.things.values().filter(|known| known.asked.is_some()).count();
        let due = self.things.iter_mut().filter(|(_, known)| known.asked.is_none() && known.due <= now);
        // Whoever waits first, then who waits longest: those that fail again and again keep nobody out.
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, known)| (known.settled, known.due));
        for (name, known) in due.into_iter().take(self.kind.at_once.saturating_sub(asked)) {
            let (ask, tell, wanted) = (Arc::clone(&self.ask), self.tell.clone(), name.clone());
            let before = known.answer.clone();
            let spawned = std::thread::Builder::new().name(self.kind.name.to_owned()).spawn(move || {
                // What is asked about may be anything: no answer is lost, and nothing asked for ever.
                let found = catch_unwind(AssertUnwindSafe(|| ask(&wanted, before.as_ref())));
                let found = found.unwrap_or_else(|_| Err(Lack::Failed("looking at it has failed".to_owned())));
                // The daemon may have ended meanwhile.
                let _ = tell.send((wanted, found));
            });
            known.asked = Some(now);
            if let Err(error) = spawned {
                let _ = self.tell.send((name.clone(), Err(Lack::Failed(error.to_string()))));
            }
        }
    }

    /// Forgets what no policy in force speaks of any more.
    pub fn forget_but(&mut self, used: &BTreeSet<&str>, now: Instant) {
        self.things.retain(|name, known| {
            used.contains(name.as_str()) || now.duration_since(known.wanted) < IDLE || known.asked.is_some()
        });
    }
}

impl<V: Debug + PartialEq> Thing<V> {
    /// Whether it has another answer now.
    fn take(&mut self, kind: &Kind, name: &str, found: Found<V>, now: Instant, refresh: Duration) -> bool {
        self.asked = None;
        self.settled |= !matches!(found, Err(Lack::NotYet(_)));
        let answer = match found {
            Ok(answer) => answer,
            Err(Lack::NotYet(cause)) => {
                self.due = now + SOON;
                // Of what is waited for it is said in the end.
                if self.settled {
                    self.say(kind, name, &cause);
                }
                return false;
            }
            Err(Lack::Failed(cause)) => {
                self.due = now + RETRY.min(refresh);
                self.say(kind, name, &cause);
                return false;
            }
        };
        self.due = now + refresh;
        self.failing = false;
        if self.answer.as_ref() == Some(&answer) {
            return false;
        }
        tracing::info!("{} {name:?}: {answer:?}", kind.name);
        self.answer = Some(answer);
        true
    }

    /// Once until it is answered again.
    fn say(&mut self, kind: &Kind, name: &str, cause: &str) {
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        let holds = if self.answer.is_some() { kind.stale } else { kind.unknown };
        tracing::warn!("{} {name:?}: {cause}; {holds}", kind.name);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const MOST: usize = 100;
    const HOSTS: Kind = Kind {
        name: "host",
        names: "hosts",
        most: MOST,
        at_once: 8,
        instead: "",
        unknown: "none is known",
        stale: "it stands",
    };

    type Names = Asked<u32>;

    /// Somebody who answers what the test puts there.
    fn names(answers: &Arc<Mutex<Found<u32>>>, refresh: Duration) -> Names {
        let answers = Arc::clone(answers);
        Asked::new(HOSTS, Arc::new(move |_, _| answers.lock().unwrap().clone()), refresh)
    }

    fn until(names: &mut Names, now: Instant, mut done: impl FnMut(&Names, Moved) -> bool) -> Moved {
        for _ in 0..2_000 {
            let moved = names.look(now);
            if done(names, moved) {
                return moved;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("no answer came");
    }

    fn idle(names: &Names, _: Moved) -> bool {
        names.things.values().all(|known| known.asked.is_none())
    }

    fn answers_of(names: &Names) -> Vec<u32> {
        names.known().into_values().collect()
    }

    #[test]
    fn the_last_good_answer_stands() {
        let answers = Arc::new(Mutex::new(Err(Lack::Failed("no such host".to_owned()))));
        let mut names = names(&answers, Duration::from_secs(60));
        let (mut now, wanted) = (Instant::now(), BTreeSet::from(["a.example"]));
        assert!(!names.want(&wanted, For::Operators, now).unwrap());
        // Nothing was good yet.
        let moved = until(&mut names, now, |_, moved| moved.settled);
        assert!(!moved.changed && names.want(&wanted, For::Operators, now).unwrap());
        assert_eq!((answers_of(&names).len(), names.answer("a.example")), (0, None));
        // Asked again shortly after a failure, ...
        *answers.lock().unwrap() = Ok(1);
        assert_eq!(names.look(now + RETRY / 2), Moved::default());
        now += RETRY;
        until(&mut names, now, |_, moved| moved.changed);
        assert_eq!(answers_of(&names), [1]);
        // ... and at the interval after an answer.
        *answers.lock().unwrap() = Err(Lack::Failed("the network is down".to_owned()));
        names.look(now + RETRY);
        assert!(idle(&names, Moved::default()), "asked too soon");
        now += Duration::from_secs(60);
        names.look(now);
        until(&mut names, now, idle);
        assert_eq!(answers_of(&names), [1]);
        // The same is no change.
        *answers.lock().unwrap() = Ok(1);
        now += RETRY;
        names.look(now);
        assert!(!until(&mut names, now, idle).changed);
        assert_eq!(names.answer("a.example"), Some(&1));
    }

    #[test]
    fn who_answers_is_told_the_answer_before() {
        let (tell, told) = mpsc::channel();
        let tell = Mutex::new(tell);
        let ask = move |_: &str, before: Option<&u32>| {
            tell.lock().unwrap().send(before.copied()).unwrap();
            Ok(before.map_or(1, |before| before + 1))
        };
        let mut names = Asked::new(HOSTS, Arc::new(ask), Duration::from_secs(60));
        let now = Instant::now();
        names.take_up(BTreeMap::from([("a".to_owned(), 7)]), now);
        names.want(&BTreeSet::from(["a", "b"]), For::Operators, now).unwrap();
        let mut changes = 0;
        until(&mut names, now, |names, moved| {
            changes += u32::from(moved.changed);
            names.known().values().eq([&8, &1])
        });
        let mut before: Vec<_> = told.try_iter().collect();
        before.sort_unstable();
        assert_eq!((before, changes > 0), (vec![None, Some(7)], true));
    }

    #[test]
    fn what_comes_in_a_moment_is_waited_for() {
        let answers = Arc::new(Mutex::new(Err(Lack::NotYet("it has just changed".to_owned()))));
        let mut names = names(&answers, Duration::from_secs(60));
        let (now, wanted) = (Instant::now(), BTreeSet::from(["a"]));
        names.want(&wanted, For::Operators, now).unwrap();
        names.look(now);
        assert_eq!(until(&mut names, now, idle), Moved::default());
        assert!(names.is_awaited());
        *answers.lock().unwrap() = Ok(1);
        names.look(now + SOON);
        assert_eq!(until(&mut names, now + SOON, |_, moved| moved.changed), Moved { settled: true, changed: true });
        // Not for ever, however often it is asked again.
        *answers.lock().unwrap() = Err(Lack::NotYet("it has just changed".to_owned()));
        names.want(&BTreeSet::from(["b"]), For::Operators, now).unwrap();
        let mut later = now;
        while names.is_awaited() {
            later += SOON;
            assert!(later <= now + PATIENCE);
            names.look(later);
            until(&mut names, later, idle);
        }
    }

    #[test]
    fn who_dies_of_a_question_has_failed() {
        let ask = |_: &str, _: Option<&u32>| -> Found<u32> { panic!("as the test wants it") };
        let mut names = Asked::new(HOSTS, Arc::new(ask), Duration::from_secs(60));
        let now = Instant::now();
        names.want(&BTreeSet::from(["a"]), For::Operators, now).unwrap();
        assert_eq!(until(&mut names, now, |_, moved| moved.settled), Moved { settled: true, changed: false });
    }

    #[test]
    fn what_hangs_is_waited_for_no_longer_than_that() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let hang = move |_: &str, _: Option<&u32>| {
            let _ = gate.lock().unwrap().recv();
            Ok(9)
        };
        let mut names = Asked::new(HOSTS, Arc::new(hang), Duration::from_secs(60));
        let (now, wanted) = (Instant::now(), BTreeSet::from(["slow.example"]));
        names.want(&wanted, For::Operators, now).unwrap();
        assert_eq!(names.look(now), Moved::default());
        assert!(names.is_awaited());
        assert_eq!(names.look(now + PATIENCE), Moved { settled: true, changed: false });
        assert!(names.want(&wanted, For::Operators, now).unwrap() && !names.is_awaited());
        // It comes late, and counts.
        go.send(()).unwrap();
        until(&mut names, now + PATIENCE, |_, moved| moved.changed);
        assert_eq!(answers_of(&names), [9]);
    }

    #[test]
    fn so_many_names_and_those_that_are_used() {
        let answers = Arc::new(Mutex::new(Err(Lack::Failed("never".to_owned()))));
        let mut names = names(&answers, Duration::from_secs(60));
        let now = Instant::now();
        let all: Vec<String> = (0..MOST).map(|number| format!("h{number}.example")).collect();
        let wanted: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        assert!(names.want(&wanted, For::Users, now).is_err(), "half is the operators'");
        names.want(&wanted, For::Operators, now).unwrap();
        assert!(names.want(&BTreeSet::from(["more.example"]), For::Operators, now).is_err());
        assert!(names.want(&BTreeSet::from(["h7.example"]), For::Users, now).is_ok());
        names.look(now);
        assert!(names.things.values().filter(|known| known.asked.is_some()).count() <= HOSTS.at_once);
        until(&mut names, now, |names, _| !names.is_awaited());
        names.forget_but(&BTreeSet::from(["h7.example"]), now);
        assert_eq!(names.things.len(), MOST, "its policy may be about to be put in force");
        names.forget_but(&BTreeSet::from(["h7.example"]), now + IDLE);
        assert_eq!(names.things.keys().collect::<Vec<_>>(), ["h7.example"]);
    }
}
