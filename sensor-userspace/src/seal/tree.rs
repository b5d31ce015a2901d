//! The RFC 6962 Merkle tree over a chain's lines.
//!
//! Its entries are the lines' SHA-256 digests, the values that `prev` holds: so a line is hashed
//! once for both. A leaf is SHA-256(0x00, entry), a node SHA-256(0x01, left, right).

use sha2::{Digest, Sha256};

pub type Root = [u8; 32];

/// A tree that only grows; it keeps one hash a level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    /// Roots of the complete subtrees, largest first: one for each bit set in `size`.
    peaks: Vec<Root>,
}

impl Tree {
    /// A tree as it was left; `None` if that cannot be.
    pub fn resume(size: u64, peaks: Vec<Root>) -> Option<Tree> {
        (peaks.len() == size.count_ones() as usize).then_some(Tree { size, peaks })
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn peaks(&self) -> &[Root] {
        &self.peaks
    }

    pub fn push(&mut self, entry: &Root) {
        let mut hash: Root = Sha256::new().chain_update([0]).chain_update(entry).finalize().into();
        // As in adding one: each trailing bit set is a subtree of the size just completed.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                hash = node(&left, &hash);
            }
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    pub fn root(&self) -> Root {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => Sha256::digest([]).into(),
            Some(&last) => peaks.fold(last, |right, left| node(left, &right)),
        }
    }
}

fn node(left: &Root, right: &Root) -> Root {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition in RFC 6962, section 2.1, as it stands there.
    fn mth(entries: &[Root]) -> Root {
        match entries {
            [] => Sha256::digest([]).into(),
            [one] => Sha256::new().chain_update([0]).chain_update(one).finalize().into(),
            _ => {
                let mut split = 1;
                while split * 2 < entries.len() {
                    split *= 2;
                }
                node(&mth(&entries[..split]), &mth(&entries[split..]))
            }
        }
    }

    #[test]
    fn grows_as_the_rfc_defines_it() {
        let entries: Vec<Root> = (0..70u8).map(|n| Sha256::digest([n]).into()).collect();
        let mut tree = Tree::default();
        for n in 0..=entries.len() {
            assert_eq!(tree.root(), mth(&entries[..n]), "size {n}");
            let again = Tree::resume(tree.size(), tree.peaks().to_vec());
            assert_eq!(again.as_ref(), Some(&tree));
            if let Some(entry) = entries.get(n) {
                tree.push(entry);
            }
        }
    }
}
