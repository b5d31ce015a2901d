//! Wildcards within one name: an automaton over bytes for all the globs that a place of the tree has.
//!
//! The globs are merged into a tree first, so that what they share is there once; determinising that stays
//! small unless globs with several stars overlap, and those meet the budget.

use std::collections::{BTreeMap, HashMap};

use super::pattern::Piece;

/// States of one automaton; a state's number has 16 bits.
const MAX_STATES: usize = 16_384;
/// Steps of work for one automaton: what takes longer would not fit either.
const MAX_WORK: usize = 20_000_000;

/// Takes a name to the globs that match it. State 0 is dead, state 1 the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByteAutomaton {
    pub class_of: Vec<u8>,
    pub classes: usize,
    pub rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Globs that match a name which ends here, by their position.
    pub matches: Vec<u32>,
    /// Next state by class.
    pub next: Vec<u16>,
}

/// The globs do not fit an automaton of bounded size.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A node of the merged globs.
#[derive(Default)]
struct Node {
    next: BTreeMap<[u64; 4], usize>,
    /// Behind a star, and whether this is one.
    star: Option<usize>,
    loops: bool,
    matches: Vec<u32>,
}

fn bytes_of(piece: &Piece) -> [u64; 4] {
    match piece {
        Piece::Byte(byte) => {
            let mut set = [0; 4];
            set[usize::from(byte / 64)] = 1 << (byte % 64);
            set
        }
        Piece::Class(set) => *set,
        Piece::One | Piece::Many => [u64::MAX; 4],
    }
}

fn holds(set: &[u64; 4], byte: u8) -> bool {
    set[usize::from(byte / 64)] & (1 << (byte % 64)) != 0
}

fn merge(globs: &[Vec<Piece>]) -> Vec<Node> {
    let mut nodes = vec![Node::default()];
    for (which, glob) in globs.iter().enumerate() {
        let mut at = 0;
        for piece in glob {
            let found = match piece {
                Piece::Many if nodes[at].loops => Some(at),
                Piece::Many => nodes[at].star,
                _ => nodes[at].next.get(&bytes_of(piece)).copied(),
            };
            at = found.unwrap_or_else(|| {
                let new = nodes.len();
                let many = matches!(piece, Piece::Many);
                nodes.push(Node { loops: many, ..Node::default() });
                if many {
                    nodes[at].star = Some(new);
                } else {
                    nodes[at].next.insert(bytes_of(piece), new);
                }
                new
            });
        }
        nodes[at].matches.push(which as u32);
    }
    nodes
}

/// Bytes that no glob tells apart are one class.
fn classes(nodes: &[Node]) -> (Vec<u8>, Vec<u8>) {
    let mut sets: Vec<[u64; 4]> = nodes.iter().flat_map(|node| node.next.keys().copied()).collect();
    sets.sort_unstable();
    sets.dedup();
    let mut class_of = vec![0_u8; 256];
    let mut known: HashMap<Vec<bool>, u8> = HashMap::new();
    let mut sample = Vec::new();
    for byte in 0..=255_u8 {
        let signature: Vec<bool> = sets.iter().map(|set| holds(set, byte)).collect();
        let next = known.len() as u8;
        class_of[usize::from(byte)] = *known.entry(signature).or_insert_with(|| {
            sample.push(byte);
            next
        });
    }
    (class_of, sample)
}

/// Adds a node, and what stands behind a star that may take nothing.
fn reach(nodes: &[Node], node: usize, set: &mut Vec<usize>) {
    if !set.contains(&node) {
        set.push(node);
        if let Some(star) = nodes[node].star {
            reach(nodes, star, set);
        }
    }
}

impl ByteAutomaton {
    pub fn new(globs: &[Vec<Piece>]) -> Result<ByteAutomaton, TooLarge> {
        let nodes = merge(globs);
        let (class_of, sample) = classes(&nodes);
        let mut work = 0;
        let mut known: HashMap<Vec<usize>, u16> = HashMap::new();
        let mut sets: Vec<Vec<usize>> = Vec::new();
        let mut start = Vec::new();
        reach(&nodes, 0, &mut start);
        start.sort_unstable();
        // State 0 is the empty set.
        for set in [Vec::new(), start] {
            known.insert(set.clone(), sets.len() as u16);
            sets.push(set);
        }
        let mut rows = Vec::new();
        while let Some(set) = sets.get(rows.len()).cloned() {
            let mut row = Row::default();
            for byte in &sample {
                let mut next = Vec::new();
                for &node in &set {
                    let from = &nodes[node];
                    work += 1 + from.next.len();
                    if from.loops {
                        reach(&nodes, node, &mut next);
                    }
                    for (bytes, to) in &from.next {
                        if holds(bytes, *byte) {
                            reach(&nodes, *to, &mut next);
                        }
                    }
                }
                if work > MAX_WORK || sets.len() > MAX_STATES {
                    return Err(TooLarge);
                }
                next.sort_unstable();
                let number = *known.entry(next).or_insert_with_key(|next| {
                    sets.push(next.clone());
                    (sets.len() - 1) as u16
                });
                row.next.push(number);
            }
            row.matches = set.iter().flat_map(|node| nodes[*node].matches.iter().copied()).collect();
            row.matches.sort_unstable();
            rows.push(row);
        }
        Ok(ByteAutomaton { class_of, classes: sample.len(), rows })
    }

    /// Globs that match the name, by their position.
    pub fn matches(&self, name: &[u8]) -> &[u32] {
        let mut state = 1;
        for byte in name {
            state = usize::from(self.rows[state].next[usize::from(self.class_of[usize::from(*byte)])]);
        }
        &self.rows[state].matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `*`, `?` and plain bytes alone.
    fn glob(text: &str) -> Vec<Piece> {
        let piece = |byte| match byte {
            b'*' => Piece::Many,
            b'?' => Piece::One,
            byte => Piece::Byte(byte),
        };
        text.bytes().map(piece).collect()
    }

    #[test]
    fn names_match_as_globs_say() {
        let globs = ["*.rs", "a*b", "a?c", "*", "abc"].map(glob);
        let automaton = ByteAutomaton::new(&globs).unwrap();
        for (name, expected) in [
            ("main.rs", vec![0, 3]),
            ("ab", vec![1, 3]),
            ("axxb", vec![1, 3]),
            ("abc", vec![2, 3, 4]),
            (".rs", vec![0, 3]),
            ("rs", vec![3]),
            ("a.rsb", vec![1, 3]),
        ] {
            assert_eq!(automaton.matches(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn many_suffixes_stay_small() {
        let globs: Vec<_> = (0..1_000).map(|n| glob(&format!("*.ext{n}"))).collect();
        let automaton = ByteAutomaton::new(&globs).unwrap();
        assert!(automaton.rows.len() < 3_000, "{}", automaton.rows.len());
        assert_eq!(automaton.matches(b"x.ext77"), [77]);
    }

    #[test]
    fn stars_that_overlap_are_refused() {
        let globs: Vec<_> = (0..200).map(|n| glob(&format!("*a{n}*b{n}*c{n}*"))).collect();
        assert_eq!(ByteAutomaton::new(&globs), Err(TooLarge));
    }
}
