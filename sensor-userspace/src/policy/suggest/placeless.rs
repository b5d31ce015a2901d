//! Rules for what has no place: addresses, single verbs, programs that are no files.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use sensor_common::action::{Action, Class};

use super::attempts::{Stat, Thing};
use super::network::{self, To};
use super::rules::{Maker, Path, Rule, runs_nameless};
use super::tree::Line;
use super::write::{readable, times};
use crate::policy::{has_address, has_place};

/// Of what a rule cannot name, so much is shown.
const SHOWN: usize = 12;

impl Maker<'_> {
    /// Programs that are no files: `memfd:` and the like.
    pub(super) fn nameless(&self) -> Option<Rule> {
        let run = [Action::ProcExec, Action::FileMapExec].into_iter();
        let actions: Vec<Action> =
            run.filter(|action| self.of(*action).any(|(thing, _)| runs_nameless(*action, thing))).collect();
        let (mut stat, mut names) = (Stat::default(), BTreeSet::new());
        for (thing, each) in actions.iter().flat_map(|action| self.of(*action)) {
            if let Thing::Nameless(name) = thing {
                stat.add(each);
                names.insert(name.clone());
            }
        }
        let line = Line { text: "/**".to_owned(), place: b"/".to_vec(), below: true, stat };
        (!actions.is_empty()).then(|| Rule {
            id: "RUN_NAMELESS".to_owned(),
            description: "Programs that are no files; nobody can say later what they were.".to_owned(),
            marked: true,
            actions,
            paths: vec![Path { line, in_vain: false }],
            not: true,
            notes: shown(names.iter().map(Vec::as_slice)),
            ..Rule::default()
        })
    }

    pub(super) fn network(&self) -> Vec<Rule> {
        let mut rules = Vec::new();
        let groups: [(&str, &str, &[Action]); 2] = [
            ("CONNECT", "Where it connects and sends.", &[Action::NetConnect, Action::NetSend]),
            ("BIND", "Where it lets others connect.", &[Action::NetBind]),
        ];
        let (mut local, mut denied) = (Vec::new(), Vec::new());
        let mut sockets = BTreeMap::<String, Stat>::new();
        for (id, description, group) in groups {
            let seen = |action: &Action| self.of(*action).next().is_some();
            let actions: Vec<Action> = group.iter().copied().filter(seen).collect();
            let mut destinations: Vec<(SocketAddr, &Stat)> = Vec::new();
            for (action, (thing, stat)) in
                actions.iter().flat_map(|action| self.of(*action).map(move |each| (action, each)))
            {
                match network::parse(thing.bytes()) {
                    Some(address) => {
                        destinations.push((address, stat));
                        if address.ip().is_unspecified() && *action != Action::NetBind {
                            // The system takes it for its own loopback.
                            destinations.push((SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()), stat));
                        }
                    }
                    None => {
                        let name = String::from_utf8_lossy(thing.bytes()).into_owned();
                        let name = if name.is_empty() { "(whoever it is connected to)".to_owned() } else { name };
                        sockets.entry(name).or_default().add(stat);
                        if !local.contains(action) {
                            local.push(*action);
                        }
                    }
                }
            }
            let to = network::patterns(destinations.into_iter());
            if !to.is_empty() {
                rules.push(Rule {
                    id: id.to_owned(),
                    description: description.to_owned(),
                    actions: actions.clone(),
                    to,
                    ..Rule::default()
                });
                denied.extend(actions);
            }
        }
        denied.retain(|action| local.contains(action));
        let notes = shown(sockets.keys().map(String::as_bytes));
        if !self.dialect.destinations {
            for rule in &mut rules {
                rule.notes.push(
                    "This version cannot put destinations into force: every one is allowed. These were seen:"
                        .to_owned(),
                );
                rule.notes.extend(rule.to.drain(..).map(|to| to.text));
                rule.marked = true;
                if rule.actions.iter().any(|action| local.contains(action)) {
                    rule.notes.extend(notes.iter().cloned());
                    local.retain(|action| !rule.actions.contains(action));
                }
            }
        } else if !denied.is_empty() {
            let every = To { text: "*".to_owned(), stat: Stat::default() };
            rules.push(Rule {
                id: "NO_OTHER_DESTINATIONS".to_owned(),
                description: "Stands before the rule below, which speaks of sockets without an address.".to_owned(),
                deny: true,
                actions: denied,
                to: vec![every],
                ..Rule::default()
            });
        }
        if !local.is_empty() {
            rules.push(Rule {
                id: "LOCAL_SOCKETS".to_owned(),
                description: "Sockets of this machine: no rule names them one by one.".to_owned(),
                actions: local,
                notes,
                ..Rule::default()
            });
        }
        rules
    }

    /// What has no object that a rule could name.
    pub(super) fn single(&self) -> Vec<Rule> {
        let (mut usual, mut privileged) = (Rule::default(), Rule::default());
        for action in Action::ALL.iter().filter(|action| !has_place(**action) && !has_address(**action)) {
            let mut all = Stat::default();
            self.of(*action).for_each(|(_, stat)| all.add(stat));
            if all.count > 0 {
                let rule = match action.class() {
                    Class::PrivilegedAdministration => &mut privileged,
                    _ => &mut usual,
                };
                rule.actions.push(*action);
                rule.notes.push(format!("{}: {}", action.verb(), times(&all, self.observed.day())));
            }
        }
        usual.id = "OTHER".to_owned();
        usual.description = "What has no place.".to_owned();
        privileged.id = "PRIVILEGED".to_owned();
        privileged.description = "What changes the machine or other processes.".to_owned();
        privileged.marked = true;
        [usual, privileged].into_iter().filter(|rule| !rule.actions.is_empty()).collect()
    }
}

fn shown<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<String> {
    let all: Vec<String> = names.map(readable).collect();
    let more = all.len().saturating_sub(SHOWN);
    let mut lines: Vec<String> = all.into_iter().take(SHOWN).collect();
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}
