//! From a `Policy` to the table that the kernel and the daemon both judge by.

use std::collections::HashMap;

use sensor_common::action::Action;
use sensor_common::guard::NONE_IN_FORCE;
use sensor_common::table::{
    self, Candidate, MAX_ALWAYS, MAX_LIMITS, MAX_OFFERED, MAX_RULES, MAX_SETS, SET, WRITTEN_UNPINS,
};
use sha2::{Digest, Sha256};

use super::address::{Destination, Host};
use super::automaton::{Globs, PROGRAM_ROOT, ROOT};
use super::compiled::{Table, TableRule, effect_number};
use super::contents::Contents;
use super::hosts::{Hosts, destinations};
use super::kernel_rule::{is_leveled, kernel_rule};
use super::lane::Lanes;
use super::language::{AddressTest, PathTest, Policy, Rule, SetId};
use super::limit::Counted;
use super::networks::Network;
use super::numbers::Numbered;
use super::pattern::{Part, Variables};
use super::problem::{At, Errors, Report};
use super::read_rule::may_have_place;
use super::words::verbs;

/// What concerns a file as a whole is told here.
const TOP: At = At::TOP;
/// Rules named in an error that concerns many.
const NAMED: usize = 3;

impl Policy {
    /// Puts the variables' values in and builds the table. No host name stands for anything, and no file was read.
    pub fn compile(&self, variables: &Variables) -> Result<Table, Errors> {
        self.compile_with(variables, &Hosts::default(), &Contents::new())
    }

    /// The same, with what host names stand for, and what files hold.
    pub fn compile_with(&self, variables: &Variables, hosts: &Hosts, contents: &Contents) -> Result<Table, Errors> {
        let mut report = self.report();
        let mut compiler =
            Compiler { policy: self, variables, hosts, contents, report: &mut report, sets: HashMap::new() };
        let mut table = compiler.table();
        let mut identity = Sha256::new();
        identity.update(self.hash.as_bytes());
        compiler.automaton(&mut table, &mut identity);
        compiler.networks(&mut table, &mut identity);
        compiler.by_action(&mut table);
        report.finish()?;
        table.identity = identity.finalize().into();
        Ok(table)
    }
}

struct Compiler<'a> {
    policy: &'a Policy,
    variables: &'a Variables,
    hosts: &'a Hosts,
    contents: &'a Contents,
    report: &'a mut Report,
    /// Number of each distinct list that a `not:` or an `exe:` names.
    sets: HashMap<Listed<'a>, u32>,
}

#[derive(PartialEq, Eq, Hash)]
enum Listed<'a> {
    Paths(&'a [SetId]),
    Programs(&'a [SetId]),
    /// Destinations are not shared between rules.
    Addresses(usize),
    /// Of a level of sensitivity.
    OfLevel(usize),
}

fn candidate(rule: u32) -> Candidate {
    Candidate { rule, low: 0, high: u16::MAX, protocol: 0 }
}

/// A rule, or a set, of this destination's ports.
fn candidate_to(rule: u32, to: &Destination) -> Candidate {
    let (low, high) = to.ports;
    Candidate { rule, low, high, protocol: to.protocol.unwrap_or(0).into() }
}

/// Of these actions those whose object may have a place.
fn placed(actions: u32) -> u32 {
    verbs(actions).filter(|action| may_have_place(*action)).fold(0, |bits, action| bits | action.bit())
}

impl<'a> Compiler<'a> {
    fn table(&mut self) -> Table {
        let policy = self.policy;
        let mut kernel = table::Policy {
            default_effect: effect_number(policy.default.verdict()),
            on_unknown: effect_number(policy.on_unknown.verdict()),
            observe: policy.observe.into(),
            // No policy asks for no guard.
            relaxed: if policy.rules.is_empty() { NONE_IN_FORCE } else { 0 },
            ..table::Policy::default()
        };
        if policy.rules.len() > MAX_RULES {
            let text = format!("{} rules, more than the limit of {MAX_RULES}", policy.rules.len());
            self.report.error(TOP, text, "put places that are treated alike into one rule's list");
        }
        let mut tests = Vec::with_capacity(policy.rules.len());
        let mut rules = Vec::with_capacity(policy.rules.len());
        let mut limits = 0;
        for (index, rule) in policy.rules.iter().enumerate() {
            let set = match (&rule.path, &rule.to) {
                (PathTest::NotIn(sets), _) => self.set(Listed::Paths(sets)),
                (_, AddressTest::NotIn(_)) => self.set(Listed::Addresses(index)),
                (PathTest::In(sets), _) if is_leveled(rule) => self.set(Listed::Paths(sets)),
                (_, AddressTest::In(_)) if is_leveled(rule) => self.set(Listed::Addresses(index)),
                _ => 0,
            };
            match rule.path {
                PathTest::Any => {}
                PathTest::In(_) | PathTest::NotIn(_) => kernel.walks |= rule.actions,
                PathTest::Written(_) => kernel.written |= rule.actions,
            }
            let programs = match rule.exe.sets() {
                [] => 0,
                sets => {
                    kernel.programs |= rule.actions;
                    self.set(Listed::Programs(sets))
                }
            };
            let limit = self.limit(index, rule, &mut kernel, limits);
            limits += u32::from(limit != 0);
            tests.push(kernel_rule(rule, set, programs, limit));
            rules.push(self.told(rule));
        }
        kernel.count = tests.len() as u32;
        self.levels(&mut kernel);
        if self.sets.len() > MAX_SETS {
            let count = self.sets.len();
            let text = format!("{count} different lists are named by `not:` and `exe:`; at most {MAX_SETS} can be");
            self.report.error(TOP, text, "give rules with like lists one list in `lists:`");
        }
        Table {
            name: policy.name.clone(),
            hash: policy.hash.clone(),
            kernel,
            tests,
            rules,
            labels: policy.labels.clone(),
            facts: policy.facts.clone(),
            ..Table::allow_all()
        }
    }

    /// Gives the levels their sets, where a rule asks for one.
    fn levels(&mut self, kernel: &mut table::Policy) {
        let policy = self.policy;
        let asking = policy.rules.iter().filter(|rule| is_leveled(rule));
        kernel.leveled = asking.fold(0, |bits, rule| bits | rule.actions);
        if kernel.leveled == 0 {
            return;
        }
        kernel.walks |= placed(kernel.leveled);
        for (number, level) in policy.levels.iter().enumerate() {
            // More sets than fit are an error.
            if !level.paths.is_empty() {
                kernel.level_places[number] = self.set(Listed::Paths(&level.paths)) as u16 + 1;
            }
            if !level.to.is_empty() {
                kernel.level_addresses[number] = self.set(Listed::OfLevel(number)) as u16 + 1;
            }
        }
    }

    /// Puts the rule's limit behind the `count` that there are: its number, 0 where it has none.
    fn limit(&mut self, index: usize, rule: &Rule, kernel: &mut table::Policy, count: u32) -> u32 {
        let Some(limit) = rule.when.limit else { return 0 };
        let Some(free) = kernel.limits.get_mut(count as usize) else {
            self.report.enter_rule(Some(rule.id.clone()));
            let text = format!("more than {MAX_LIMITS} rules of one policy have a `limit`");
            self.report.error(rule.at, text, "give rules that are counted alike one rule");
            return 0;
        };
        *free = limit.compiled(index, &rule.id);
        if limit.of == Counted::Objects {
            kernel.objects |= rule.actions;
            // An object's place is what tells it from others.
            kernel.walks |= placed(rule.actions);
        }
        count + 1
    }

    fn set(&mut self, listed: Listed<'a>) -> u32 {
        let next = self.sets.len() as u32;
        *self.sets.entry(listed).or_insert(next)
    }

    fn told(&self, rule: &Rule) -> TableRule {
        let texts = |sets: &[SetId]| -> Vec<String> {
            sets.iter().flat_map(|set| &self.policy.sets[*set]).map(|pattern| pattern.text.clone()).collect()
        };
        let mut places = texts(rule.path.sets());
        places.extend(destinations(rule).iter().map(|to| self.destination_told(to)));
        places.extend(
            Numbered::ALL
                .into_iter()
                .filter(|kind| rule.actions & kind.action().bit() != 0)
                .flat_map(|kind| kind.names(rule.number.named())),
        );
        TableRule {
            id: rule.id.clone(),
            description: rule.description.clone(),
            severity: rule.severity,
            tags: rule.tags.clone(),
            timeout: rule.timeout,
            places,
            programs: texts(rule.exe.sets()),
            risk: rule.risk,
            lasts: rule.labels.iter().filter_map(|set| Some((set.label, set.lasts?))).collect(),
        }
    }

    /// As written; a name that stands for nothing says so.
    fn destination_told(&self, to: &Destination) -> String {
        match to.name() {
            Some(name) if self.hosts.of(name).is_empty() => format!("{} (no address known)", to.text),
            _ => to.text.clone(),
        }
    }

    fn automaton(&mut self, table: &mut Table, identity: &mut Sha256) {
        let policy = self.policy;
        for (set, pattern) in
            policy.sets.iter().enumerate().flat_map(|(set, all)| all.iter().map(move |one| (set, one)))
        {
            if let Err((cause, hint)) = pattern.resolved(self.variables) {
                self.report.enter_rule(self.user_of(set));
                self.report.error(pattern.at, format!("path `{}`: {cause}", pattern.text), hint);
            }
        }
        table.lanes = Lanes::of(self.variables);
        for (index, rule) in policy.rules.iter().enumerate() {
            if let (PathTest::In(sets), false) = (&rule.path, is_leveled(rule)) {
                for pattern in sets.iter().flat_map(|set| &policy.sets[*set]) {
                    table.automaton.add(ROOT, pattern, candidate(index as u32));
                }
            }
        }
        for (listed, number) in &self.sets {
            let (root, sets) = match listed {
                Listed::Paths(sets) => (ROOT, *sets),
                Listed::Programs(sets) => (PROGRAM_ROOT, *sets),
                Listed::Addresses(_) | Listed::OfLevel(_) => continue,
            };
            for pattern in sets.iter().flat_map(|set| &policy.sets[*set]) {
                table.automaton.add(root, pattern, candidate(SET | number));
            }
        }
        table.kernel.lanes = table.automaton.lanes;
        self.pin(table, identity);
        for state in &mut table.automaton.states {
            for list in [&mut state.below, &mut state.exact] {
                list.sort_by_key(|candidate| candidate.rule);
                list.dedup();
                if list.len() > MAX_OFFERED as usize {
                    let text = format!(
                        "{} speak of one and the same path; at most {MAX_OFFERED} rules may",
                        named(list.iter().map(|each| rule_name(policy, each.rule)))
                    );
                    self.report.error(TOP, text, "give the path to fewer rules");
                }
            }
        }
        if let Err(globs) = table.automaton.finish() {
            let with = self.rules_with(&globs);
            let text = format!("the wildcards of {with} overlap in too many ways to be judged at one glance");
            self.report.error(TOP, text, "use fewer `*` within one name, or name directories instead");
        }
    }

    /// Puts in what was read of the files in pinned places.
    fn pin(&mut self, table: &mut Table, identity: &mut Sha256) {
        let pinned = self.policy.pinned();
        if pinned.is_empty() {
            return;
        }
        table.kernel.written |= WRITTEN_UNPINS;
        let read = |place: String| {
            let content = self.contents.get(&place).copied().flatten();
            (place, content)
        };
        table.contents = pinned.into_iter().map(read).collect();
        table.automaton.pin(&table.contents);
        // The text is the same whatever they hold.
        for (place, content) in &table.contents {
            identity.update(place);
            identity.update([0, u8::from(content.is_some())]);
            content.iter().for_each(|content| content.update(identity));
        }
    }

    /// Rules that use some of these globs.
    fn rules_with(&self, globs: &Globs) -> String {
        let uses = |sets: &[SetId]| {
            sets.iter().flat_map(|set| &self.policy.sets[*set]).flat_map(|pattern| &pattern.parts).any(
                |part| match part {
                    Part::Glob(pieces) => globs.contains(pieces),
                    _ => false,
                },
            )
        };
        let rules = self.policy.rules.iter().filter(|rule| uses(rule.path.sets()) || uses(rule.exe.sets()));
        named(rules.map(|rule| rule.id.clone()))
    }

    /// A rule that uses the set, to name in an error.
    fn user_of(&self, set: SetId) -> Option<String> {
        let uses = |rule: &&Rule| rule.path.sets().contains(&set) || rule.exe.sets().contains(&set);
        let user = self.policy.rules.iter().find(uses);
        user.map(|rule| rule.id.clone())
    }

    fn networks(&mut self, table: &mut Table, identity: &mut Sha256) {
        let mut hosts = Hosts::default();
        for (index, rule) in self.policy.rules.iter().enumerate() {
            let rule_or_set = match &rule.to {
                AddressTest::NotIn(_) => SET | self.sets[&Listed::Addresses(index)],
                AddressTest::In(_) if is_leveled(rule) => SET | self.sets[&Listed::Addresses(index)],
                _ => index as u32,
            };
            for to in destinations(rule) {
                let candidate = candidate_to(rule_or_set, to);
                match &to.host {
                    Host::Net { address, prefix } => {
                        table.networks.add(Network::new(*address, *prefix), candidate);
                    }
                    Host::Name(name) => {
                        for address in self.hosts.of(name) {
                            table.networks.add(Network::new(*address, 128), candidate);
                        }
                        table.answered.entry(name.clone()).or_default().push(candidate);
                        hosts.copy(name, self.hosts);
                    }
                }
            }
        }
        for (number, level) in self.policy.levels.iter().enumerate() {
            let Some(set) = self.sets.get(&Listed::OfLevel(number)) else { continue };
            for to in &level.to {
                let Host::Net { address, prefix } = &to.host else { continue };
                table.networks.add(Network::new(*address, *prefix), candidate_to(SET | set, to));
            }
        }
        if !hosts.is_empty() {
            // The text is the same whatever its names stand for.
            identity.update(format!("{hosts:?}"));
        }
        table.kernel.hosts = (!hosts.is_empty()).into();
        table.named = hosts.by_address();
        table.hosts = hosts;
        table.networks.finish();
        for (name, list) in &mut table.answered {
            list.sort_by_key(|candidate| (candidate.rule, candidate.low));
            list.dedup();
            if list.len() > MAX_OFFERED as usize {
                let rules = named(list.iter().map(|each| rule_name(self.policy, each.rule)));
                let text = format!("{rules} speak of the host {name}; at most {MAX_OFFERED} rules may speak of one");
                self.report.error(TOP, text, "give hosts that are treated alike to one rule");
            }
        }
        for (network, list) in &table.networks.offered {
            if list.len() > MAX_OFFERED as usize {
                let text = format!(
                    "{} speak of addresses around {}; at most {MAX_OFFERED} rules may speak of one",
                    named(list.iter().map(|each| rule_name(self.policy, each.rule))),
                    std::net::Ipv6Addr::from(network.address).to_canonical()
                );
                self.report.error(TOP, text, "give networks that are treated alike to one rule");
            }
        }
    }

    fn by_action(&mut self, table: &mut Table) {
        for action in Action::ALL {
            let of_action = |wanted: &dyn Fn(u8) -> bool| -> Vec<Candidate> {
                let rules = table.tests.iter().enumerate();
                let wanted = rules.filter(|(_, rule)| rule.actions & action.bit() != 0 && wanted(rule.object));
                wanted.map(|(index, _)| candidate(index as u32)).collect()
            };
            let always = of_action(&|object| !matches!(object, table::object::IN | table::object::TO));
            let mut unknown = of_action(&|_| true);
            if always.len() > MAX_ALWAYS as usize {
                let text = format!(
                    "{} speak of every `{}`, or of all outside of something; at most {MAX_ALWAYS} rules may",
                    named(always.iter().map(|each| rule_name(self.policy, each.rule))),
                    action.verb()
                );
                self.report.error(TOP, text, "give them paths, or put their conditions together");
            }
            // Past these the policy's own word on unknown objects holds.
            let rest = unknown.iter().skip(MAX_ALWAYS as usize).filter_map(|each| table.tests.get(each.rule as usize));
            if rest.into_iter().any(|rule| rule.object != table::object::ANY || rule.levels != 0) {
                table.kernel.unasked |= action.bit();
            }
            unknown.truncate(MAX_ALWAYS as usize);
            table.always[*action as usize] = always;
            table.unknown[*action as usize] = unknown;
        }
    }
}

fn rule_name(policy: &Policy, rule: u32) -> String {
    match policy.rules.get(rule as usize) {
        Some(rule) => rule.id.clone(),
        None => "a list under `not:` or `exe:`".to_owned(),
    }
}

/// `A, B, C and 61 more`
fn named(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<String> = names.collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match more {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}
