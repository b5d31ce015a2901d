//! From what was attempted to rules, one a purpose.

use std::collections::{BTreeMap, BTreeSet};

use sensor_common::action::Action;

use super::attempts::{Observed, Stat, Thing};
use super::names::Dialect;
use super::network::To;
use super::secrets::{Secret, Secrets, within};
use super::tree::{Ground, Line, Manner, Tree};
use crate::policy::pattern::Variables;

/// Most places of a rule that were there, and most that were only looked for.
const DONE: usize = 28;
const TRIED: usize = 12;
/// A place that so many actions share gets a rule of its own.
const SHARED: usize = 3;

#[derive(Clone, Debug)]
pub struct Path {
    pub line: Line,
    /// It was never there, or never allowed.
    pub in_vain: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Rule {
    pub id: String,
    pub description: String,
    pub deny: bool,
    /// A person should look at each line.
    pub marked: bool,
    pub actions: Vec<Action>,
    pub paths: Vec<Path>,
    /// All but these.
    pub not: bool,
    pub to: Vec<To>,
    /// What the rule cannot say and a reader wants to know.
    pub notes: Vec<String>,
}

/// What no rule can name, and came to nothing anyway.
pub type LeftOut = BTreeSet<(Action, Thing)>;

pub struct Maker<'a> {
    pub observed: &'a Observed,
    pub variables: &'a Variables,
    pub dialect: Dialect,
}

/// Id and description of an action's rule.
fn purpose(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::ProcExec => ("RUN", "Programs that it runs"),
        Action::FileRead => ("READ", "Files that it reads"),
        Action::DirList => ("LIST", "Directories that it lists"),
        Action::FileWrite => ("WRITE", "Files that it writes"),
        Action::FileCreate => ("CREATE", "What it makes"),
        Action::FileDelete => ("DELETE", "What it deletes, renames away or replaces"),
        Action::FileRename => ("RENAME", "What it renames"),
        Action::FileLink => ("LINK", "What it links"),
        Action::FileAttr => ("ATTRIBUTES", "Whose mode, owner or attributes it changes"),
        Action::FileMapExec => ("MAP", "What it maps as code"),
        _ => ("OTHER", "What it does besides"),
    }
}

const ORDER: [Action; 10] = [
    Action::ProcExec,
    Action::FileRead,
    Action::DirList,
    Action::FileWrite,
    Action::FileCreate,
    Action::FileDelete,
    Action::FileRename,
    Action::FileLink,
    Action::FileAttr,
    Action::FileMapExec,
];

impl Maker<'_> {
    pub fn rules(&self) -> (Vec<Rule>, LeftOut) {
        let secrets = Secrets::new(self.variables);
        let mut left_out = LeftOut::new();
        let (mut hidden, mut open) = (Vec::new(), Vec::new());
        for action in ORDER {
            let (secret, plain) = self.places(action, &secrets, &mut left_out);
            hidden.push((action, secret));
            open.push((action, plain));
        }
        let mut rules = grouped(hidden);
        for rule in &mut rules {
            rule.id = format!("SECRETS_{}", rule.id);
            rule.description = format!("Secrets: {}.", lower(&rule.description));
            rule.marked = true;
        }
        let shared = self.shared(&mut open);
        let rest: Vec<Rule> = shared.into_iter().chain(grouped(open)).collect();
        rules.extend(self.guard(&secrets, &rest));
        rules.extend(rest);
        rules.extend(self.nameless());
        rules.extend(self.network());
        rules.extend(self.single());
        let mut taken = BTreeSet::new();
        for rule in &mut rules {
            let id = rule.id.clone();
            let mut number = 2;
            while !taken.insert(rule.id.clone()) {
                rule.id = format!("{id}_{number}");
                number += 1;
            }
        }
        (rules, left_out)
    }

    pub(super) fn of(&self, action: Action) -> impl Iterator<Item = (&Thing, &Stat)> {
        let all = self.observed.things.range((action, Thing::Place(Vec::new()))..);
        all.take_while(move |((each, _), _)| *each == action).map(|((_, thing), stat)| (thing, stat))
    }

    /// The lines of an action: its secrets', and the others.
    fn places(&self, action: Action, secrets: &Secrets, left_out: &mut LeftOut) -> (Vec<Path>, Vec<Path>) {
        let manner = match action {
            Action::ProcExec => Manner::Programs,
            Action::FileRead | Action::DirList | Action::FileMapExec => Manner::Reading,
            _ => Manner::Writing,
        };
        let tree = |manner| {
            let Maker { variables, dialect, .. } = *self;
            Tree::new(Ground { manner, dialect, secrets, variables })
        };
        let (mut done, mut tried) = (tree(manner), tree(manner));
        let (mut hidden, mut probed) = (tree(Manner::Secrets), tree(Manner::Secrets));
        let mut in_vain = Vec::new();
        for (thing, stat) in self.of(action) {
            let Thing::Place(path) = thing else {
                if stat.in_vain() && !runs_nameless(action, thing) {
                    left_out.insert((action, thing.clone()));
                }
                continue;
            };
            let said = match (secrets.of(path), stat.in_vain()) {
                (Some(_), false) => hidden.insert(path, stat),
                (Some(_), true) => probed.insert(path, stat),
                (None, false) => done.insert(path, stat),
                (None, true) => {
                    in_vain.push((thing, path.clone(), stat.clone()));
                    true
                }
            };
            if !said && stat.in_vain() {
                left_out.insert((action, thing.clone()));
            }
            if let Some(twin) = twin(path) {
                let led = Stat { led: true, ..stat.clone() };
                match stat.in_vain() {
                    true => in_vain.push((thing, twin, led)),
                    false => {
                        let _ = done.insert(&twin, &led);
                    }
                }
            }
        }
        done.gather_siblings();
        done.bound(DONE);
        for (thing, path, stat) in in_vain {
            match done.covering(&path) {
                Some(known) => known.add(&stat),
                None if !tried.insert(&path, &stat) && !stat.led => {
                    left_out.insert((action, thing.clone()));
                }
                None => {}
            }
        }
        tried.gather_siblings();
        tried.fold();
        tried.bound(TRIED);
        hidden.bound(DONE);
        probed.bound(TRIED);
        (paths(&hidden, &probed), paths(&done, &tried))
    }

    /// Takes the places out that many actions share: where it works.
    fn shared(&self, open: &mut [(Action, Vec<Path>)]) -> Vec<Rule> {
        let mut users: BTreeMap<String, Vec<Action>> = BTreeMap::new();
        for (action, paths) in open.iter().filter(|(action, _)| *action != Action::ProcExec) {
            for path in paths {
                users.entry(path.line.text.clone()).or_default().push(*action);
            }
        }
        users.retain(|_, actions| actions.len() >= SHARED);
        let mut groups: BTreeMap<Vec<Action>, Vec<Path>> = BTreeMap::new();
        for (action, paths) in open.iter_mut() {
            for path in paths.extract_if(.., |path| *action != Action::ProcExec && users.contains_key(&path.line.text))
            {
                let group = groups.entry(users[&path.line.text].clone()).or_default();
                match group.iter_mut().find(|known| known.line.text == path.line.text) {
                    None => group.push(path),
                    Some(known) => {
                        known.line.stat.add(&path.line.stat);
                        known.in_vain &= path.in_vain;
                    }
                }
            }
        }
        let rule = |(actions, mut paths): (Vec<Action>, Vec<Path>)| {
            paths.sort_by(|one, other| (one.in_vain, &one.line.text).cmp(&(other.in_vain, &other.line.text)));
            let all = |test: &dyn Fn(&[u8]) -> bool| paths.iter().all(|path| test(&path.line.place));
            let (id, description) = if paths.iter().all(|path| path.line.text.starts_with("${workspace}")) {
                ("WORKSPACE", "Where it works")
            } else if all(&|place| [&b"/tmp"[..], b"/var/tmp", b"/dev/shm"].iter().any(|outer| within(place, outer))) {
                ("TEMPORARY", "Its temporary files")
            } else {
                ("PLACES", "Where it does several things")
            };
            Rule { id: id.to_owned(), description: format!("{description}."), actions, paths, ..Rule::default() }
        };
        let mut rules: Vec<Rule> = groups.into_iter().map(rule).collect();
        rules.sort_by_key(|rule| rule.id != "WORKSPACE");
        rules
    }

    /// Denies the secrets that a wide line below would take in and that were not named above.
    fn guard(&self, secrets: &Secrets, rules: &[Rule]) -> Option<Rule> {
        let mut found: BTreeSet<Secret> = secrets.expected().cloned().collect();
        for (_, thing) in self.observed.things.keys() {
            if let Thing::Place(path) = thing {
                found.extend(secrets.of(path));
            }
        }
        let lines = || rules.iter().flat_map(|rule| &rule.paths).map(|path| &path.line);
        let covered = |secret: &Secret| lines().any(|line| line.below && within(&secret.path, &line.place));
        found.retain(covered);
        // One line says of all of them what would else be said of each.
        let anywhere = self.dialect.wildcards && lines().any(|line| line.below);
        if anywhere {
            found.retain(|secret| !secrets.by_name(secret));
        }
        let (variables, dialect) = (self.variables, self.dialect);
        let mut tree = Tree::new(Ground { manner: Manner::Secrets, dialect, secrets, variables });
        let stat = Stat::default();
        for secret in &found {
            // What cannot be written was not reached by name either.
            let _ = tree.insert(&secret.path, &stat);
        }
        let directory = |line: &Line| found.iter().any(|secret| secret.directory && secret.path == line.place);
        let mut paths: Vec<Path> = tree.lines().into_iter().map(|line| Path { line, in_vain: false }).collect();
        for path in &mut paths {
            if !path.line.below && directory(&path.line) {
                path.line.text.push_str("/**");
            }
        }
        if anywhere {
            let line = |text| Line { text, place: b"/".to_vec(), below: false, stat: stat.clone() };
            paths.extend(Secrets::anywhere().map(line).map(|line| Path { line, in_vain: false }));
        }
        (!paths.is_empty()).then(|| Rule {
            id: "NO_OTHER_SECRETS".to_owned(),
            description: "Stands before the wide places below: what they hold of secrets stays shut.".to_owned(),
            deny: true,
            actions: ORDER.to_vec(),
            paths,
            ..Rule::default()
        })
    }
}

/// `{ not: … }` covers what has no file name for these alone.
pub(super) fn runs_nameless(action: Action, thing: &Thing) -> bool {
    matches!(action, Action::ProcExec | Action::FileMapExec) && matches!(thing, Thing::Nameless(_))
}

/// Where the same object stands for a hook that follows links, of those that every system has.
fn twin(path: &[u8]) -> Option<Vec<u8>> {
    let first = path.get(1..)?.split(|byte| *byte == b'/').next()?;
    match first {
        b"bin" | b"sbin" | b"lib" | b"lib32" | b"lib64" | b"libx32" => Some([b"/usr", path].concat()),
        b"proc" => ["/proc/self", "/proc/thread-self"].iter().find_map(|own| {
            let rest = path.strip_prefix(own.as_bytes())?;
            // Any process's number: the pattern says all of them.
            (rest.is_empty() || rest.starts_with(b"/")).then(|| [b"/proc/1", rest].concat())
        }),
        _ => None,
    }
}

fn paths(done: &Tree<'_>, tried: &Tree<'_>) -> Vec<Path> {
    let path = |in_vain| move |line| Path { line, in_vain };
    let (done, tried) = (done.lines().into_iter().map(path(false)), tried.lines().into_iter().map(path(true)));
    done.chain(tried).collect()
}

/// A rule for each action; actions with the same places share one.
fn grouped(all: Vec<(Action, Vec<Path>)>) -> Vec<Rule> {
    let texts = |paths: &[Path]| -> Vec<String> { paths.iter().map(|path| path.line.text.clone()).collect() };
    let mut rules: Vec<Rule> = Vec::new();
    for (action, paths) in all.into_iter().filter(|(_, paths)| !paths.is_empty()) {
        let (id, description) = purpose(action);
        if let Some(rule) = rules.iter_mut().find(|rule| texts(&rule.paths) == texts(&paths)) {
            rule.actions.push(action);
            rule.id = format!("{}_{id}", rule.id);
            rule.description = format!("{}; {}.", rule.description.trim_end_matches('.'), lower(description));
            for (known, path) in rule.paths.iter_mut().zip(&paths) {
                known.line.stat.add(&path.line.stat);
                known.in_vain &= path.in_vain;
            }
            continue;
        }
        rules.push(Rule {
            id: id.to_owned(),
            description: format!("{description}."),
            actions: vec![action],
            paths,
            ..Rule::default()
        });
    }
    rules
}

fn lower(sentence: &str) -> String {
    let mut chars = sentence.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
