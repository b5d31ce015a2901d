//! The files of a policy: its own, and those it includes, in the order in which their rules count.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use super::problem::{At, Report};
use super::yaml::{self, Entry, Kind, Node};

const MAX_FILES: usize = 256;
const MAX_DEPTH: usize = 16;

/// Gives the text of a file, or says why it cannot be read.
pub(super) type Open<'a> = dyn FnMut(&Path) -> Result<String, String> + 'a;

pub(super) struct File {
    /// 0 is the policy's own.
    pub number: u16,
    pub at: At,
    pub entries: Vec<Entry>,
}

pub(super) struct Files<'a, 'b> {
    pub open: &'a mut Open<'b>,
    /// Includes before what includes them.
    pub files: Vec<File>,
    /// In the order in which they were read.
    pub texts: Vec<String>,
    taken: HashSet<PathBuf>,
}

impl<'a, 'b> Files<'a, 'b> {
    pub fn new(open: &'a mut Open<'b>) -> Files<'a, 'b> {
        Files { open, files: Vec::new(), texts: Vec::new(), taken: HashSet::new() }
    }

    /// Takes in the policy's own text and all that it includes.
    pub fn read(&mut self, name: &str, text: &str, report: &mut Report) -> Option<()> {
        let path = plain(Path::new(name));
        self.taken.insert(path.clone());
        self.take(0, text.to_owned(), &mut vec![path], report)
    }

    fn take(&mut self, number: u16, text: String, way: &mut Vec<PathBuf>, report: &mut Report) -> Option<()> {
        let root = yaml::read(&text, number, report);
        self.texts.push(text);
        let root = root?;
        let Node { at, kind: Kind::Map(entries) } = root else {
            let cause = format!("a policy is a map of keys, this is {}", root.describe());
            report.error(root.at, cause, "begin with `version: 1`");
            return None;
        };
        let included = entries.iter().find(|entry| entry.key == "include");
        let nodes = match included.map(|entry| &entry.value) {
            None => &[],
            Some(Node { kind: Kind::List(nodes), .. }) => nodes.as_slice(),
            Some(node) => std::slice::from_ref(node),
        };
        let mut sound = Some(());
        for node in nodes {
            let Some(name) = node.text() else {
                let text = format!("`include` names files, this is {}", node.describe());
                report.error(node.at, text, "write `include: [common.yaml]`");
                continue;
            };
            sound = sound.and(self.include(name, node.at, way, report));
        }
        self.files.push(File { number, at, entries });
        sound
    }

    fn include(&mut self, name: &str, at: At, way: &mut Vec<PathBuf>, report: &mut Report) -> Option<()> {
        let from = way.last().and_then(|file| file.parent()).unwrap_or(Path::new(""));
        let path = plain(&from.join(name));
        if way.contains(&path) {
            let text = format!("`{name}` includes this file in turn");
            report.error(at, text, "move what both need into a third file");
            return None;
        }
        // What two of the included files both include counts once, where it came first.
        if !self.taken.insert(path.clone()) {
            return Some(());
        }
        if self.taken.len() > MAX_FILES || way.len() == MAX_DEPTH {
            let text = format!("more than {MAX_FILES} files included, or nested more than {MAX_DEPTH} deep");
            report.error(at, text, "put their rules together");
            return None;
        }
        match (self.open)(&path) {
            Ok(text) => {
                let number = report.add_file(&path.to_string_lossy());
                way.push(path);
                let sound = self.take(number, text, way, report);
                way.pop();
                sound
            }
            Err(cause) => {
                let text = format!("cannot include `{}`: {cause}", path.display());
                report.error(at, text, "name a policy file, relative to this one");
                None
            }
        }
    }
}

/// Without `.`, and without the `..` that a name before it takes away.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if matches!(plain.components().next_back(), Some(Component::Normal(_))) => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Reads a file of text that is no larger than a policy may be.
pub fn read_text(path: &Path) -> Result<String, String> {
    use std::io::Read;

    let limit = yaml::MAX_BYTES;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() > limit {
        return Err(format!("it has more than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| format!("it is not UTF-8 at byte {}", error.utf8_error().valid_up_to()))
}
