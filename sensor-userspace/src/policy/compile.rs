//! From a `Policy` to the table that the kernel and the daemon both judge by.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use sensor_common::table::{self, MAX_PLACES, MAX_RULES, MAX_SETS, Place, PlaceKey};

use super::language::{AddressTest, Effect, PathTest, Policy, Rule, When};
use super::pattern::{Part, Pattern, Variables};
use super::place;
use super::problem::{At, Errors, Report};
use crate::attempt::{Severity, Verdict};

const SEEDS_TRIED: usize = 8;
/// What concerns a file as a whole is told here.
const TOP: At = At::TOP;

/// What userspace keeps of a rule beside the kernel's form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRule {
    pub id: String,
    pub description: Option<String>,
    pub severity: Severity,
    pub tags: Vec<String>,
    pub timeout: Option<Duration>,
    /// The rule's places as written, variables and all.
    pub places: Vec<String>,
}

/// A compiled policy.
#[derive(Clone, Debug)]
pub struct Table {
    pub name: String,
    /// Hex SHA-256 of the policy's text.
    pub hash: String,
    /// What the kernel gets; `generation` is whoever loads it to set.
    pub kernel: table::Policy,
    /// In the order of `kernel.rules`.
    pub rules: Vec<TableRule>,
    /// Every place that a rule names, once, sorted.
    pub places: Vec<(Vec<u8>, Place)>,
    seed: u64,
    by_hash: HashMap<u64, Place>,
}

impl Policy {
    /// Puts the variables' values in and builds the table.
    pub fn compile(&self, variables: &Variables) -> Result<Table, Errors> {
        let mut report = self.report();
        let mut places: BTreeMap<Vec<u8>, Place> = BTreeMap::new();
        for (index, set) in self.sets.iter().enumerate() {
            for pattern in set {
                match pattern.resolved(variables).and_then(plain) {
                    Ok((path, below)) => {
                        let place = places.entry(path).or_default();
                        let sets = if below { &mut place.below } else { &mut place.exact };
                        *sets |= 1_u64.checked_shl(index as u32).unwrap_or(0);
                    }
                    Err((cause, hint)) => {
                        report.enter_rule(self.user_of(index));
                        report.error(pattern.at, format!("path `{}`: {cause}", pattern.text), hint);
                    }
                }
            }
        }
        report.enter_rule(None);
        self.tell_what_the_table_lacks(&mut report);
        if places.len() > MAX_PLACES as usize {
            let text = format!("{} places, more than the limit of {MAX_PLACES}", places.len());
            report.error(TOP, text, "name directories with `/dir/**` instead of their files");
        }
        report.finish()?;
        let mut kernel = table::Policy {
            rules: [table::Rule::default(); MAX_RULES],
            count: 0,
            default_effect: effect_number(self.default.verdict()),
            on_unknown: effect_number(self.on_unknown.verdict()),
            observe: self.observe.into(),
            reserved: 0,
            generation: 0,
        };
        // `parse` refuses more than MAX_RULES, and nothing else makes rules.
        for (slot, rule) in kernel.rules.iter_mut().zip(&self.rules) {
            *slot = kernel_rule(rule);
            kernel.count += 1;
        }
        let mut table = Table {
            name: self.name.clone(),
            hash: self.hash.clone(),
            kernel,
            rules: self.rules.iter().map(|rule| self.table_rule(rule)).collect(),
            places: places.into_iter().collect(),
            seed: 0,
            by_hash: HashMap::new(),
        };
        // Random, so that nobody can prepare a name that meets a place's hash. Two of the table's own
        // places that meet are as good as impossible, and the next seed parts them.
        if (0..SEEDS_TRIED).any(|_| table.reseed(RandomState::new().hash_one(table.seed))) {
            return Ok(table);
        }
        let mut report = self.report();
        let text =
            format!("two of its places have the same hash under each of {SEEDS_TRIED} seeds");
        report.error(TOP, text, "rename one of the directories, or name their parent");
        report.finish()?;
        Ok(table)
    }

    /// What the language can say and this table cannot hold.
    fn tell_what_the_table_lacks(&self, report: &mut Report) {
        let hint = "leave it out of what is enforced";
        if self.rules.len() > MAX_RULES || self.sets.len() > MAX_SETS {
            let text = format!("more than {MAX_RULES} rules or {MAX_SETS} distinct lists of paths");
            report.error(TOP, text, hint);
        }
        for rule in &self.rules {
            let plain = rule.effect != Effect::Watch
                && matches!(rule.to, AddressTest::Any)
                && rule.when == When::default()
                && rule.labels.is_empty()
                && (rule.risk, rule.errno) == (0, None);
            if !plain {
                report.enter_rule(Some(rule.id.clone()));
                let text = "`watch`, `to`, conditions and consequences are not enforced yet";
                report.error(rule.at, text, hint);
            }
        }
        report.enter_rule(None);
    }

    /// A rule that uses the set, to name in an error.
    fn user_of(&self, set: usize) -> Option<String> {
        let user = self.rules.iter().find(|rule| match &rule.path {
            PathTest::Any => false,
            PathTest::In(sets) | PathTest::NotIn(sets) => sets.contains(&set),
        });
        user.map(|rule| rule.id.clone())
    }

    fn table_rule(&self, rule: &Rule) -> TableRule {
        let sets = match &rule.path {
            PathTest::Any => &[][..],
            PathTest::In(sets) | PathTest::NotIn(sets) => sets,
        };
        let used = self.sets.iter().enumerate().filter(|(index, _)| sets.contains(index));
        let text = |pattern: &Pattern| pattern.text.clone();
        TableRule {
            id: rule.id.clone(),
            description: rule.description.clone(),
            severity: rule.severity,
            tags: rule.tags.clone(),
            timeout: rule.timeout,
            places: used.flat_map(|(_, set)| set.iter().map(text)).collect(),
        }
    }
}

impl Table {
    /// The table of no policy: everything is allowed, by `RULE_DEFAULT`.
    pub fn allow_all() -> Table {
        let kernel = table::Policy {
            rules: [table::Rule::default(); MAX_RULES],
            count: 0,
            default_effect: table::effect::ALLOW,
            on_unknown: table::effect::ALLOW,
            observe: 0,
            reserved: 0,
            generation: 0,
        };
        let Policy { name, hash, .. } = Policy::allow_all();
        Table {
            name,
            hash,
            kernel,
            rules: Vec::new(),
            places: Vec::new(),
            seed: 0,
            by_hash: HashMap::new(),
        }
    }

    /// Judges by this seed from now on. `false`, and nothing changed, if two places of the table have the
    /// same hash under it: take another.
    #[must_use]
    pub fn reseed(&mut self, seed: u64) -> bool {
        let mut by_hash = HashMap::with_capacity(self.places.len());
        for (path, place) in &self.places {
            if by_hash.insert(place::path_hash(seed, path), *place).is_some() {
                return false;
            }
        }
        self.seed = seed;
        self.by_hash = by_hash;
        true
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// What goes into the kernel's map of places under policy number `policy`.
    pub fn kernel_places(
        &self,
        seed: u64,
        policy: u64,
    ) -> impl Iterator<Item = (PlaceKey, Place)> + '_ {
        self.places.iter().map(move |(path, place)| {
            (PlaceKey { policy, path: place::path_hash(seed, path) }, *place)
        })
    }

    /// The sets that a path lies in.
    pub(super) fn sets_of(&self, path: &[u8]) -> u64 {
        let mut sets = 0;
        let mut last = Place::default();
        for hash in place::walk(self.seed, path) {
            last = self.by_hash.get(&hash).copied().unwrap_or_default();
            sets |= last.below;
        }
        sets | last.exact
    }
}

/// The path, and whether all below it belongs to it.
fn plain(mut parts: Vec<Part>) -> Result<(Vec<u8>, bool), (String, String)> {
    let below = parts.pop_if(|part| *part == Part::Deep).is_some();
    let mut path = Vec::new();
    for part in parts {
        let Part::Name(name) = part else {
            let text = "wildcards inside a path are not enforced yet".to_owned();
            return Err((text, "name the directories, or `/dir/**` for all below one".to_owned()));
        };
        path.push(b'/');
        path.extend_from_slice(&name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Ok((path, below))
}

fn kernel_rule(rule: &Rule) -> table::Rule {
    let bits = |sets: &[usize]| sets.iter().fold(0_u64, |bits, set| bits | 1 << set);
    let (object, sets) = match &rule.path {
        PathTest::Any => (table::object::ANY, 0),
        PathTest::In(sets) => (table::object::IN, bits(sets)),
        PathTest::NotIn(sets) => (table::object::NOT_IN, bits(sets)),
    };
    table::Rule {
        actions: rule.actions,
        effect: match rule.effect {
            Effect::Deny => table::effect::DENY,
            Effect::Challenge => table::effect::CHALLENGE,
            Effect::Allow | Effect::Watch => table::effect::ALLOW,
        },
        observe: rule.observe.into(),
        object,
        otherwise_allow: (rule.otherwise.verdict() == Verdict::Allow).into(),
        sets,
    }
}

pub(super) fn effect_number(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Allow => table::effect::ALLOW,
        Verdict::Deny => table::effect::DENY,
        Verdict::Challenge => table::effect::CHALLENGE,
    }
}

/// What is not an effect is a corrupt table, and fails closed.
pub(super) fn verdict_of(effect: u8) -> Verdict {
    match effect {
        table::effect::ALLOW => Verdict::Allow,
        table::effect::CHALLENGE => Verdict::Challenge,
        _ => Verdict::Deny,
    }
}
