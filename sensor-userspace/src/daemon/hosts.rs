//! What host names stand for: asked of the resolver on threads of its own, again and again, and the last good answer
//! kept. Nothing here waits.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::resolve;
use crate::policy::{Hosts, MAX_ADDRESSES, Policy};

/// Names of all agents' policies together.
const MAX_NAMES: usize = 1_024;
/// Asked at once: each on a thread, as long as the resolver takes.
const MAX_LOOKUPS: usize = 8;
/// A name that was not answered is asked again after this, or at the next refresh if that is sooner.
const RETRY: Duration = Duration::from_secs(5);
/// An answer that takes longer is waited for by nobody; it counts when it comes.
const PATIENCE: Duration = Duration::from_secs(5);
/// A name that no policy speaks of is kept so long: its policy may be about to be put in force.
const IDLE: Duration = Duration::from_secs(60);

type Found = Result<Vec<IpAddr>, String>;
type Ask = Arc<dyn Fn(&str) -> Found + Send + Sync>;

pub struct Names {
    names: BTreeMap<String, Name>,
    ask: Ask,
    refresh: Duration,
    tell: Sender<(String, Found)>,
    told: Receiver<(String, Found)>,
}

struct Name {
    /// The last good answer, in order; empty where there never was one.
    addresses: Vec<IpAddr>,
    /// Answered or given up on, once.
    settled: bool,
    asked: Option<Instant>,
    due: Instant,
    wanted: Instant,
    /// Said in the log.
    failing: bool,
}

/// What came of a look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// A name is settled that was not.
    pub settled: bool,
    /// A name stands for other addresses.
    pub changed: bool,
}

impl Names {
    pub fn new(refresh: Duration) -> Names {
        Names::asking(Arc::new(resolve::addresses), refresh)
    }

    fn asking(ask: Ask, refresh: Duration) -> Names {
        let (tell, told) = mpsc::channel();
        Names { names: BTreeMap::new(), ask, refresh, tell, told }
    }

    /// Sees to it that these names are asked for; whether each is settled.
    pub fn want(&mut self, names: &BTreeSet<&str>, now: Instant) -> Result<bool> {
        let new = names.iter().filter(|name| !self.names.contains_key(**name)).count();
        if self.names.len() + new > MAX_NAMES {
            bail!(
                "{new} more host names do not fit beside {} of other policies in force, {MAX_NAMES} together: \
                 write networks, or end other agents",
                self.names.len()
            );
        }
        for name in names {
            let known = self.names.entry((*name).to_owned()).or_insert_with(|| Name {
                addresses: Vec::new(),
                settled: false,
                asked: None,
                due: now,
                wanted: now,
                failing: false,
            });
            known.wanted = now;
        }
        Ok(names.iter().all(|name| self.names.get(*name).is_some_and(|known| known.settled)))
    }

    /// What the policy's names stand for now.
    pub fn addresses(&self, policy: &Policy) -> Hosts {
        let mut hosts = Hosts::default();
        for name in policy.host_names() {
            hosts.set(name, self.names.get(name).into_iter().flat_map(|known| known.addresses.iter().copied()));
        }
        hosts
    }

    /// Last good answers, for the next daemon.
    pub fn known(&self) -> BTreeMap<String, Vec<IpAddr>> {
        let good = self.names.iter().filter(|(_, known)| !known.addresses.is_empty());
        good.map(|(name, known)| (name.clone(), known.addresses.clone())).collect()
    }

    /// Takes up the last good answers of the daemon before; all are asked for again.
    pub fn take_up(&mut self, known: &BTreeMap<String, Vec<IpAddr>>, now: Instant) {
        for (name, addresses) in known.iter().take(MAX_NAMES) {
            let addresses = addresses.clone();
            let name_now = Name { addresses, settled: true, asked: None, due: now, wanted: now, failing: false };
            self.names.insert(name.clone(), name_now);
        }
    }

    /// Whether somebody may be waiting for an answer.
    pub fn are_asked(&self) -> bool {
        self.names.values().any(|known| !known.settled)
    }

    /// Takes answers in, and asks what is due.
    pub fn look(&mut self, now: Instant) -> Moved {
        let mut moved = Moved::default();
        while let Ok((name, found)) = self.told.try_recv() {
            let Some(known) = self.names.get_mut(&name) else { continue };
            moved.settled |= !known.settled;
            moved.changed |= known.take(&name, found, now, self.refresh);
        }
        for (name, known) in &mut self.names {
            // Of one that others keep from being asked, too.
            let since = known.asked.unwrap_or(known.due);
            if !known.settled && now.saturating_duration_since(since) >= PATIENCE {
                known.settled = true;
                moved.settled = true;
                known.say(name, &format!("no answer within {} s", PATIENCE.as_secs()));
            }
        }
        self.ask_what_is_due(now);
        moved
    }

    fn ask_what_is_due(&mut self, now: Instant) {
        let asked = self.names.values().filter(|known| known.asked.is_some()).count();
        let due = self.names.iter_mut().filter(|(_, known)| known.asked.is_none() && known.due <= now);
        // Whoever waits first, then who waits longest: those that fail again and again keep nobody out.
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(_, known)| (known.settled, known.due));
        for (name, known) in due.into_iter().take(MAX_LOOKUPS.saturating_sub(asked)) {
            let (ask, tell, wanted) = (Arc::clone(&self.ask), self.tell.clone(), name.clone());
            let spawned = std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
                let found = ask(&wanted);
                // The daemon may have ended meanwhile.
                let _ = tell.send((wanted, found));
            });
            known.asked = Some(now);
            if let Err(error) = spawned {
                let _ = self.tell.send((name.clone(), Err(error.to_string())));
            }
        }
    }

    /// Forgets names that no policy in force speaks of any more.
    pub fn forget_but(&mut self, used: &BTreeSet<&str>, now: Instant) {
        self.names.retain(|name, known| {
            used.contains(name.as_str()) || now.duration_since(known.wanted) < IDLE || known.asked.is_some()
        });
    }
}

impl Name {
    /// Whether it stands for other addresses now.
    fn take(&mut self, name: &str, found: Found, now: Instant, refresh: Duration) -> bool {
        self.asked = None;
        self.settled = true;
        let mut addresses = match found {
            Ok(addresses) if !addresses.is_empty() => addresses,
            Ok(_) => return self.fail(name, "it has no address", now, refresh),
            Err(cause) => return self.fail(name, &cause, now, refresh),
        };
        self.due = now + refresh;
        self.failing = false;
        addresses.sort_unstable();
        addresses.dedup();
        if addresses.len() > MAX_ADDRESSES {
            tracing::warn!("host {name}: {} addresses, of which {MAX_ADDRESSES} count", addresses.len());
            addresses.truncate(MAX_ADDRESSES);
        }
        if addresses == self.addresses {
            return false;
        }
        tracing::info!("host {name}: {addresses:?}");
        self.addresses = addresses;
        true
    }

    fn fail(&mut self, name: &str, cause: &str, now: Instant, refresh: Duration) -> bool {
        self.due = now + RETRY.min(refresh);
        self.say(name, cause);
        false
    }

    /// Once until it is answered again.
    fn say(&mut self, name: &str, cause: &str) {
        if std::mem::replace(&mut self.failing, true) {
            return;
        }
        match self.addresses.len() {
            0 => tracing::warn!("host {name}: {cause}; until it is known no rule that names it matches by it"),
            _ => tracing::warn!("host {name}: {cause}; its last addresses stand"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A resolver that says what the test puts there.
    fn names(answers: &Arc<Mutex<Found>>, refresh: Duration) -> Names {
        let answers = Arc::clone(answers);
        Names::asking(Arc::new(move |_| answers.lock().unwrap().clone()), refresh)
    }

    fn until(names: &mut Names, now: Instant, done: impl Fn(&Names, Moved) -> bool) -> Moved {
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
        names.names.values().all(|known| known.asked.is_none())
    }

    fn addresses(names: &Names) -> Vec<String> {
        names.known().values().flatten().map(ToString::to_string).collect()
    }

    #[test]
    fn the_last_good_answer_stands() {
        let answers = Arc::new(Mutex::new(Err("no such host".to_owned())));
        let mut names = names(&answers, Duration::from_secs(60));
        let (mut now, wanted) = (Instant::now(), BTreeSet::from(["a.example"]));
        assert!(!names.want(&wanted, now).unwrap());
        // Nothing was good yet.
        let moved = until(&mut names, now, |_, moved| moved.settled);
        assert!(!moved.changed && names.want(&wanted, now).unwrap());
        assert!(addresses(&names).is_empty());
        // Asked again shortly after a failure, ...
        *answers.lock().unwrap() = Ok(vec!["192.0.2.2".parse().unwrap(), "192.0.2.1".parse().unwrap()]);
        assert_eq!(names.look(now + RETRY / 2), Moved::default());
        now += RETRY;
        until(&mut names, now, |_, moved| moved.changed);
        assert_eq!(addresses(&names), ["192.0.2.1", "192.0.2.2"]);
        // ... and at the interval after an answer.
        *answers.lock().unwrap() = Err("the network is down".to_owned());
        names.look(now + RETRY);
        assert!(idle(&names, Moved::default()), "asked too soon");
        now += Duration::from_secs(60);
        names.look(now);
        until(&mut names, now, idle);
        assert_eq!(addresses(&names), ["192.0.2.1", "192.0.2.2"]);
        // The same in another order is no change, nor is nothing at all.
        *answers.lock().unwrap() = Ok(vec!["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()]);
        now += RETRY;
        names.look(now);
        assert!(!until(&mut names, now, idle).changed);
        *answers.lock().unwrap() = Ok(Vec::new());
        now += Duration::from_secs(60);
        names.look(now);
        assert!(!until(&mut names, now, idle).changed);
        assert_eq!(addresses(&names).len(), 2);
    }

    #[test]
    fn what_hangs_is_waited_for_no_longer_than_that() {
        let (go, gate) = mpsc::channel::<()>();
        let gate = Mutex::new(gate);
        let hang = move |_: &str| {
            let _ = gate.lock().unwrap().recv();
            Ok(vec!["192.0.2.9".parse().unwrap()])
        };
        let mut names = Names::asking(Arc::new(hang), Duration::from_secs(60));
        let (now, wanted) = (Instant::now(), BTreeSet::from(["slow.example"]));
        names.want(&wanted, now).unwrap();
        assert_eq!(names.look(now), Moved::default());
        assert!(names.are_asked());
        assert_eq!(names.look(now + PATIENCE), Moved { settled: true, changed: false });
        assert!(names.want(&wanted, now).unwrap() && !names.are_asked());
        // It comes late, and counts.
        go.send(()).unwrap();
        until(&mut names, now + PATIENCE, |_, moved| moved.changed);
        assert_eq!(addresses(&names), ["192.0.2.9"]);
    }

    #[test]
    fn so_many_names_and_those_that_are_used() {
        let answers = Arc::new(Mutex::new(Err("never".to_owned())));
        let mut names = names(&answers, Duration::from_secs(60));
        let now = Instant::now();
        let all: Vec<String> = (0..MAX_NAMES).map(|number| format!("h{number}.example")).collect();
        let wanted: BTreeSet<&str> = all.iter().map(String::as_str).collect();
        names.want(&wanted, now).unwrap();
        assert!(names.want(&BTreeSet::from(["more.example"]), now).is_err());
        names.look(now);
        assert!(names.names.values().filter(|known| known.asked.is_some()).count() <= MAX_LOOKUPS);
        until(&mut names, now, |names, _| !names.are_asked());
        names.forget_but(&BTreeSet::from(["h7.example"]), now);
        assert_eq!(names.names.len(), MAX_NAMES, "its policy may be about to be put in force");
        names.forget_but(&BTreeSet::from(["h7.example"]), now + IDLE);
        assert_eq!(names.names.keys().collect::<Vec<_>>(), ["h7.example"]);
    }
}
