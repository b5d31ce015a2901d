//! One path of a policy as parts, what it covers, and what its variable stands for.

use std::path::PathBuf;

use super::contents::Digest;
use super::problem::At;

const MAX_COMPONENT: usize = 255;
const MAX_PATH: usize = 4095;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Variable {
    Workspace,
    Home,
}

impl Variable {
    pub const ALL: [Variable; 2] = [Variable::Workspace, Variable::Home];

    pub const fn name(self) -> &'static str {
        match self {
            Variable::Workspace => "workspace",
            Variable::Home => "home",
        }
    }
}

/// What the variables stand for; fixed when the agent is registered, never from its environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    pub workspace: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

/// What a variable stands for in `check` and `test`, where no agent gives it a value.
const STAND_IN_WORKSPACE: &str = "/workspace";
const STAND_IN_HOME: &str = "/home/agent";

impl Variables {
    /// The same, with `/workspace` and `/home/agent` for what has no value: to check and to test with.
    pub fn or_stand_ins(&self) -> Variables {
        let or = |value: &Option<PathBuf>, stand_in: &str| value.clone().or_else(|| Some(PathBuf::from(stand_in)));
        Variables { workspace: or(&self.workspace, STAND_IN_WORKSPACE), home: or(&self.home, STAND_IN_HOME) }
    }

    pub fn get(&self, variable: Variable) -> Option<&PathBuf> {
        match variable {
            Variable::Workspace => self.workspace.as_ref(),
            Variable::Home => self.home.as_ref(),
        }
    }
}

/// One component.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Name(Vec<u8>),
    /// `*`: any one name.
    Any,
    /// A name with wildcards in it.
    Glob(Vec<Piece>),
    /// `**`: any number of names, none included.
    Deep,
    /// `@` at the start: what follows is the one name of an abstract unix socket.
    Abstract,
}

/// What a `Part::Glob` consists of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Piece {
    Byte(u8),
    /// `?`: any one byte.
    One,
    /// `*`: any number of bytes.
    Many,
    /// A bit for each byte; `!` is already applied.
    Class([u64; 4]),
}

#[derive(Clone, Debug)]
pub struct Pattern {
    pub(super) at: At,
    /// As written, with its braces written out.
    pub(super) text: String,
    pub(super) variable: Option<Variable>,
    /// What follows the variable or the root; a `Deep` at the end is `/**`.
    pub(super) parts: Vec<Part>,
    /// What the file is to hold; the parts are names then, from the root on.
    pub(super) digest: Option<Digest>,
}

impl Pattern {
    /// The parts from the root on, once the variable is known.
    pub(super) fn resolved(&self, variables: &Variables) -> Result<Vec<Part>, (String, String)> {
        let mut parts = Vec::new();
        if let Some(variable) = self.variable {
            let names = directory(variable, variables)?;
            parts.extend(names.into_iter().map(Part::Name));
        }
        parts.extend(self.parts.iter().cloned());
        let bytes: usize = parts.iter().map(|part| if let Part::Name(name) = part { name.len() + 1 } else { 1 }).sum();
        if bytes > MAX_PATH {
            let text = format!("the path has {bytes} bytes; the kernel knows none longer than {MAX_PATH}");
            return Err((text, "shorten it".to_owned()));
        }
        Ok(parts)
    }

    /// Whether it stands for names of abstract unix sockets, and for no place.
    pub(super) fn is_abstract(&self) -> bool {
        self.parts.first() == Some(&Part::Abstract)
    }

    /// The path of a pattern without wildcards; `@name` of an abstract socket.
    pub(super) fn literal(&self, variables: &Variables) -> Option<Vec<u8>> {
        if let [Part::Abstract, Part::Name(name)] = self.parts.as_slice() {
            return Some([b"@", name.as_slice()].concat());
        }
        let mut path = Vec::new();
        for part in self.resolved(variables).ok()? {
            let Part::Name(name) = part else { return None };
            path.push(b'/');
            path.extend_from_slice(&name);
        }
        if path.is_empty() {
            path.push(b'/');
        }
        Some(path)
    }

    /// The place of a file with a digest, which has neither variable nor wildcard.
    pub(super) fn pinned_place(&self) -> Option<String> {
        self.digest?;
        // What was written as text is text.
        String::from_utf8(self.literal(&Variables::default())?).ok()
    }

    /// Whether every path of `other` lies in `self`, whatever the variables stand for. `false` may also
    /// mean that it cannot be told.
    pub(super) fn covers(&self, other: &Pattern) -> bool {
        if self.is_abstract() != other.is_abstract() || self.digest.is_some() && self.digest != other.digest {
            return false;
        }
        if self.variable == other.variable {
            return parts_cover(&self.parts, &other.parts);
        }
        // Whatever the variable stands for, `**` at the start takes it in.
        if self.variable.is_some() || self.parts.first() != Some(&Part::Deep) {
            return false;
        }
        let other: Vec<Part> = std::iter::once(Part::Deep).chain(other.parts.clone()).collect();
        parts_cover(&self.parts, &other)
    }

    /// Whether a path lies in the pattern, told in the simplest way: what the table is tested against.
    #[cfg(test)]
    pub(super) fn matches_path(&self, variables: &Variables, path: &[u8]) -> bool {
        let Ok(parts) = self.resolved(variables) else { return false };
        let names: Vec<&[u8]> = super::place::components(path).collect();
        !self.is_abstract() && names_match(&parts, &names)
    }

    /// Likewise of an abstract socket's name.
    #[cfg(test)]
    pub(super) fn matches_abstract(&self, name: &[u8]) -> bool {
        self.is_abstract() && names_match(&self.parts[1..], &[name])
    }
}

/// The names of a variable's directory.
pub(super) fn directory(variable: Variable, variables: &Variables) -> Result<Vec<Vec<u8>>, (String, String)> {
    use std::os::unix::ffi::OsStrExt;

    let name = variable.name();
    let value = variables.get(variable).ok_or_else(|| {
        let hint = format!("give it (`--{name} DIR`), or write the directory itself");
        (format!("`${{{name}}}` has no value here"), hint)
    })?;
    let bytes = value.as_os_str().as_bytes();
    let absolute = bytes.starts_with(b"/") && !bytes.contains(&0);
    let plain = |part: &[u8]| part != b".." && part.len() <= MAX_COMPONENT;
    if !absolute || !bytes.split(|byte| *byte == b'/').all(plain) {
        let text = format!("the value of `${{{name}}}` is no absolute path without `..`: {}", value.display());
        return Err((text, "give the directory's absolute path".to_owned()));
    }
    Ok(super::place::components(bytes).map(<[u8]>::to_vec).collect())
}

/// Row by row: which beginnings of `inner` the outer parts so far can take in whole.
fn parts_cover(outer: &[Part], inner: &[Part]) -> bool {
    let mut taken = vec![false; inner.len() + 1];
    taken[0] = true;
    for part in outer {
        let mut next = vec![false; inner.len() + 1];
        if *part == Part::Deep {
            let first = taken.iter().position(|taken| *taken).unwrap_or(taken.len());
            next[first..].fill(true);
        } else {
            for (index, inner) in inner.iter().enumerate() {
                next[index + 1] = taken[index] && part_covers(part, inner);
            }
        }
        taken = next;
    }
    taken[inner.len()]
}

fn part_covers(outer: &Part, inner: &Part) -> bool {
    match (outer, inner) {
        (Part::Any, inner) => *inner != Part::Deep,
        (Part::Glob(pieces), Part::Name(name)) => name_matches(pieces, name),
        (outer, inner) => outer == inner,
    }
}

/// Whether a name is one of those the pieces stand for.
pub(super) fn name_matches(pieces: &[Piece], name: &[u8]) -> bool {
    let (mut piece, mut at) = (0, 0);
    // Where the last `*` stood, and how much of the name it has taken so far.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        let fits = match pieces.get(piece) {
            Some(Piece::Many) => {
                star = Some((piece, at));
                piece += 1;
                continue;
            }
            Some(Piece::One) => true,
            Some(Piece::Byte(byte)) => *byte == name[at],
            Some(Piece::Class(bits)) => bits[usize::from(name[at] >> 6)] >> (name[at] & 63) & 1 == 1,
            None => false,
        };
        match (&mut star, fits) {
            (_, true) => (piece, at) = (piece + 1, at + 1),
            (Some((many, taken)), false) => {
                *taken += 1;
                (piece, at) = (*many + 1, *taken);
            }
            (None, false) => return false,
        }
    }
    pieces[piece..].iter().all(|piece| *piece == Piece::Many)
}

#[cfg(test)]
fn names_match(parts: &[Part], names: &[&[u8]]) -> bool {
    match (parts.split_first(), names.split_first()) {
        (None, first) => first.is_none(),
        (Some((Part::Deep, after)), first) => {
            names_match(after, names) || first.is_some_and(|(_, rest)| names_match(parts, rest))
        }
        (Some(_), None) => false,
        (Some((part, after)), Some((name, rest))) => {
            let fits = match part {
                Part::Name(wanted) => wanted == name,
                Part::Glob(pieces) => name_matches(pieces, name),
                Part::Any | Part::Deep => true,
                Part::Abstract => false,
            };
            fits && names_match(after, rest)
        }
    }
}
