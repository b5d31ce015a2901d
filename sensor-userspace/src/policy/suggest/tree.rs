//! The places of one action as a tree of names, widened until a person can read what is left.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use super::attempts::Stat;
use super::names::{Dialect, literal, volatile};
use super::secrets::{Secrets, within};
use crate::policy::pattern::{Variable, Variables};
use crate::policy::place::components;

/// More names than this in one directory, or more lines below it, are all of it.
const SIBLINGS: usize = 8;
const LINES: usize = 16;
/// Deeper than this nothing is told apart.
const DEPTH: usize = 24;
/// … nor below names that are longer together; the language ends at 4,095 bytes.
const LENGTH: usize = 3000;
/// So many files of one directory may share a line.
const FOLDED: (usize, usize) = (3, 24);
/// Directories that hold so different things that all of one says too much, unless nothing else helps.
const BROAD: [&str; 14] = [
    "/", "/etc", "/var", "/var/lib", "/home", "/opt", "/srv", "/mnt", "/media", "/run", "/dev", "/sys", "/proc", "/usr",
];
/// What a distribution installs, and everybody may read.
const SYSTEM: [&str; 7] = ["/usr", "/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin"];

/// How places of an action are to be widened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The system's directories as a whole, and the workspace.
    Reading,
    /// The workspace as a whole.
    Writing,
    /// Each by its name as long as there is room.
    Programs,
    /// Each by its name, and never beyond the secret itself.
    Secrets,
}

#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    pub manner: Manner,
    pub dialect: Dialect,
    pub secrets: &'a Secrets,
    pub variables: &'a Variables,
}

#[derive(Debug, Default)]
struct Node {
    /// By the name as a pattern writes it; the path is that of one such name.
    children: BTreeMap<String, (Vec<u8>, Node)>,
    exact: Option<Stat>,
    /// All of it: `/**`.
    below: Option<Stat>,
    /// Its files stand on one line, in braces.
    folded: bool,
}

/// One line of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub text: String,
    /// The place that it begins at, without wildcards.
    pub place: Vec<u8>,
    /// It ends in `/**`.
    pub below: bool,
    pub stat: Stat,
}

pub struct Tree<'a> {
    ground: Ground<'a>,
    roots: BTreeMap<Option<Variable>, Node>,
}

fn add(to: &mut Option<Stat>, stat: &Stat) {
    to.get_or_insert_default().add(stat);
}

impl Node {
    fn widen(&mut self) {
        let mut all = self.below.take().unwrap_or_default();
        self.gather(&mut all);
        *self = Node { below: Some(all), ..Node::default() };
    }

    fn gather(&self, all: &mut Stat) {
        for stat in self.exact.iter().chain(&self.below) {
            all.add(stat);
        }
        self.children.values().for_each(|(_, child)| child.gather(all));
    }

    fn count(&self) -> usize {
        let own = usize::from(self.exact.is_some()) + usize::from(self.below.is_some());
        let all = self.children.values().map(|(_, child)| child.count()).sum::<usize>();
        own + all - if self.folded { self.files().saturating_sub(1) } else { 0 }
    }

    /// Children that are one line and nothing more.
    fn files(&self) -> usize {
        self.children.values().filter(|(_, child)| child.is_file()).count()
    }

    fn is_file(&self) -> bool {
        self.children.is_empty() && self.below.is_none()
    }

    fn reach(&mut self, way: &[String]) -> Option<&mut Node> {
        way.iter().try_fold(self, |node, name| node.children.get_mut(name).map(|(_, child)| child))
    }
}

impl<'a> Tree<'a> {
    pub fn new(ground: Ground<'a>) -> Tree<'a> {
        Tree { ground, roots: BTreeMap::new() }
    }

    /// The variable whose directory is the nearest above the path, and the rest of the names.
    fn split<'p>(&self, path: &'p [u8]) -> (Option<Variable>, Vec<&'p [u8]>) {
        let value = |variable: Variable| self.ground.variables.get(variable);
        let deep =
            |variable: &Variable| value(*variable).map_or(0, |value| components(value.as_os_str().as_bytes()).count());
        let holds =
            |variable: &Variable| value(*variable).is_some_and(|value| within(path, value.as_os_str().as_bytes()));
        let found = Variable::ALL.into_iter().rev().filter(holds).max_by_key(deep);
        (found, components(path).skip(found.as_ref().map_or(0, deep)).collect())
    }

    /// Whether everything below is taken as one at first sight.
    fn whole(&self, variable: Option<Variable>, path: &[u8]) -> bool {
        let manner = self.ground.manner;
        let work = matches!(manner, Manner::Reading | Manner::Writing);
        let system = manner == Manner::Reading && SYSTEM.iter().any(|place| path == place.as_bytes());
        work && variable == Some(Variable::Workspace) || system
    }

    /// A place that was attempted. `false`: no pattern can say it without saying far too much.
    #[must_use]
    pub fn insert(&mut self, path: &[u8], stat: &Stat) -> bool {
        let (variable, names) = self.split(path);
        let total = components(path).count();
        let mut at: Vec<u8> = Vec::new();
        components(path).take(total - names.len()).for_each(|name| push(&mut at, name));
        let mut way: Vec<(String, Vec<u8>)> = Vec::new();
        let mut below = self.whole(variable, &at);
        for (depth, name) in names.iter().enumerate() {
            if below {
                break;
            }
            let parent = if at.is_empty() { b"/" } else { at.as_slice() };
            let free = self.may_widen(parent);
            match self.written(parent, name, free && !self.is_broad(variable, parent)) {
                Some(text) if depth < DEPTH && at.len() < LENGTH || !free => {
                    push(&mut at, name);
                    way.push((text, at.clone()));
                    below = self.whole(None, &at);
                }
                _ if free && parent != b"/" => below = true,
                _ => return false,
            }
        }
        let mut node = self.roots.entry(variable).or_default();
        for (text, place) in way {
            if node.below.is_some() {
                break;
            }
            node = &mut node.children.entry(text).or_insert_with(|| (place, Node::default())).1;
        }
        match (below, node.below.is_some()) {
            (_, true) => add(&mut node.below, stat),
            (true, false) => {
                node.widen();
                // `widen` began with nothing: what it gathered counts, and this one.
                add(&mut node.below, stat);
            }
            (false, false) => add(&mut node.exact, stat),
        }
        true
    }

    /// As a pattern writes the name; none if it is to be told by its directory.
    fn written(&self, parent: &[u8], name: &[u8], free: bool) -> Option<String> {
        let Ground { manner, dialect, .. } = self.ground;
        let passing = (manner != Manner::Secrets).then(|| volatile(parent, name)).flatten();
        match passing {
            Some(glob) if dialect.wildcards => Some(glob),
            Some(_) if free || parent == b"/proc" => None,
            _ => literal(name, dialect).or_else(|| dialect.wildcards.then(|| "*".to_owned())),
        }
    }

    fn is_broad(&self, variable: Option<Variable>, path: &[u8]) -> bool {
        let home = self.ground.variables.home.as_ref();
        BROAD.iter().any(|place| path == place.as_bytes())
            || variable == Some(Variable::Home) && home.is_some_and(|home| within(home.as_os_str().as_bytes(), path))
    }

    /// Whether all below may be said without taking a secret in.
    fn may_widen(&self, path: &[u8]) -> bool {
        match self.ground.manner {
            Manner::Secrets => self.ground.secrets.of(path).is_some_and(|secret| secret.directory),
            _ => !self.ground.secrets.any_below(path),
        }
    }

    /// The pattern that covers the path, to count one more.
    pub fn covering(&mut self, path: &[u8]) -> Option<&mut Stat> {
        let (variable, names) = self.split(path);
        let skip = components(path).count() - names.len();
        let mut at: Vec<u8> = Vec::new();
        components(path).take(skip).for_each(|name| push(&mut at, name));
        let mut way = Vec::new();
        for name in &names {
            let parent = if at.is_empty() { b"/" } else { at.as_slice() };
            let Some(text) = self.written(parent, name, false) else { break };
            way.push(text);
            push(&mut at, name);
        }
        let whole = way.len() == names.len();
        let mut node = self.roots.get_mut(&variable)?;
        for text in way {
            if node.below.is_some() {
                return node.below.as_mut();
            }
            node = &mut node.children.get_mut(&text)?.1;
        }
        match node.below.is_some() {
            true => node.below.as_mut(),
            false if whole => node.exact.as_mut(),
            false => None,
        }
    }

    /// Many names in one directory become all of it.
    pub fn gather_siblings(&mut self) {
        if !matches!(self.ground.manner, Manner::Reading | Manner::Writing) {
            return;
        }
        for way in self.inner().into_iter().rev() {
            if way.crosses || way.broad {
                continue;
            }
            if let Some(node) = self.node(&way)
                && (node.children.len() > SIBLINGS || node.count() > LINES)
            {
                node.widen();
            }
        }
    }

    /// One line for the files of a directory, each still by its name.
    pub fn fold(&mut self) {
        if !self.ground.dialect.braces {
            return;
        }
        for way in self.inner() {
            if let Some(node) = self.node(&way) {
                let files = node.children.iter().filter(|(_, (_, child))| child.is_file());
                let length: usize = files.map(|(name, _)| name.len() + 1).sum();
                node.folded = (FOLDED.0..=FOLDED.1).contains(&node.files()) && length < LENGTH;
            }
        }
    }

    /// At most `limit` lines, widened where that says the least beyond what was seen.
    pub fn bound(&mut self, limit: usize) {
        if self.count() > limit {
            self.fold();
        }
        loop {
            let mut count = self.count();
            let mut ways = self.inner();
            ways.retain(|way| way.gain > 1 && (self.ground.manner != Manner::Secrets || !way.crosses));
            ways.sort_by_key(|way| (way.crosses, way.broad, Reverse(way.depth), Reverse(way.gain)));
            if count <= limit || ways.is_empty() {
                return;
            }
            for way in ways {
                if count <= limit {
                    break;
                }
                if let Some(node) = self.node(&way) {
                    count = count.saturating_sub(node.count().saturating_sub(1));
                    node.widen();
                }
            }
        }
    }

    pub fn count(&self) -> usize {
        self.roots.values().map(Node::count).sum()
    }

    fn node(&mut self, way: &Way) -> Option<&mut Node> {
        self.roots.get_mut(&way.variable)?.reach(&way.names)
    }

    /// Every directory, an outer one before those in it.
    fn inner(&self) -> Vec<Way> {
        let mut all = Vec::new();
        for (variable, node) in &self.roots {
            let place = variable.and_then(|variable| self.ground.variables.get(variable));
            let place = place.map_or(&b"/"[..], |place| place.as_os_str().as_bytes());
            self.walk(*variable, node, place, &mut Vec::new(), &mut all);
        }
        all
    }

    fn walk(&self, variable: Option<Variable>, node: &Node, place: &[u8], names: &mut Vec<String>, all: &mut Vec<Way>) {
        if node.children.is_empty() {
            return;
        }
        all.push(Way {
            variable,
            names: names.clone(),
            depth: components(place).count(),
            gain: node.count(),
            crosses: !self.may_widen(place),
            broad: self.is_broad(variable, place),
        });
        for (name, (place, child)) in &node.children {
            names.push(name.clone());
            self.walk(variable, child, place, names, all);
            names.pop();
        }
    }

    /// What is left, in the order of the names.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (variable, node) in &self.roots {
            let place = variable.and_then(|variable| self.ground.variables.get(variable));
            let place = place.map_or(&b"/"[..], |place| place.as_os_str().as_bytes());
            let text = variable.map(|variable| format!("${{{}}}", variable.name()));
            print(node, &text.unwrap_or_default(), place, &mut lines);
        }
        lines
    }
}

/// The way to a directory, and what it would cost to say all of it.
struct Way {
    variable: Option<Variable>,
    names: Vec<String>,
    depth: usize,
    gain: usize,
    crosses: bool,
    broad: bool,
}

fn push(path: &mut Vec<u8>, name: &[u8]) {
    path.push(b'/');
    path.extend_from_slice(name);
}

fn print(node: &Node, text: &str, place: &[u8], lines: &mut Vec<Line>) {
    let line = |text: String, below, stat: &Stat| Line { text, place: place.to_vec(), below, stat: stat.clone() };
    if let Some(stat) = &node.exact {
        let root = if text.is_empty() { "/" } else { text };
        lines.push(line(root.to_owned(), false, stat));
    }
    if let Some(stat) = &node.below {
        lines.push(line(format!("{text}/**"), true, stat));
    }
    let mut files: Vec<(&str, &Stat)> = Vec::new();
    for (name, (place, child)) in &node.children {
        match &child.exact {
            Some(stat) if node.folded && child.is_file() => files.push((name, stat)),
            _ => print(child, &format!("{text}/{name}"), place, lines),
        }
    }
    if !files.is_empty() {
        let mut all = Stat::default();
        files.iter().for_each(|(_, stat)| all.add(stat));
        // In braces a comma parts the names.
        let names: Vec<String> = files.iter().map(|(name, _)| name.replace(',', "\\,")).collect();
        lines.push(line(format!("{text}/{{{}}}", names.join(",")), false, &all));
    }
}
