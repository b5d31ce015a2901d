//! `head.json`: how far the ledger goes, signed, so that a cut tail is found offline.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::node::{NodeKey, verify_head, verify_text};
use super::tree::{Root, Tree};
use crate::ledger::files::{create_anew, read_own};

pub const FILE: &str = "head.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// `chain.id`.
    pub chain: String,
    pub node: String,
    /// Boot and key of the last line.
    pub boot: String,
    pub key_id: String,
    /// How many lines there were.
    pub tree_size: u64,
    pub root: String,
    pub public_key: String,
    pub signature: String,
    /// SHA-256 of the last line.
    pub last: String,
    /// Whether the ledger was closed here.
    pub closed: bool,
    /// What the tree needs to grow on.
    pub peaks: Vec<String>,
    /// Where the line after the last one stands: its segment and the bytes before it.
    pub segment: u64,
    pub offset: u64,
    pub time: String,
    /// The node's signature over this file as it stands, with this value empty.
    pub file_signature: String,
}

impl Head {
    pub fn sign(key: &NodeKey, chain: &str, node: &str, tree: &Tree) -> Head {
        let root = tree.root();
        Head {
            chain: chain.to_string(),
            node: node.to_string(),
            boot: String::new(),
            key_id: String::new(),
            tree_size: tree.size(),
            root: hex::encode(root),
            public_key: key.public_hex(),
            signature: key.sign(chain, tree.size(), &root),
            last: String::new(),
            closed: false,
            peaks: tree.peaks().iter().map(hex::encode).collect(),
            segment: 0,
            offset: 0,
            time: crate::record::time::format(crate::record::time::now()),
            file_signature: String::new(),
        }
    }

    /// Whether its signature holds.
    pub fn is_signed(&self) -> bool {
        root_of(&self.root)
            .is_some_and(|root| verify_head(&self.public_key, &self.signature, &self.chain, self.tree_size, &root))
    }

    /// The head in these bytes of a head file, if they are exactly what a node signed.
    pub fn authentic(text: &[u8]) -> Option<Head> {
        let head: Head = serde_json::from_slice(text).ok()?;
        let unsigned = Head { file_signature: String::new(), ..head.clone() };
        let signed = verify_text(&head.public_key, &head.file_signature, &unsigned.text().ok()?);
        let exact = head.text().ok()? == text;
        // No ledger is without its first line: a head over none says nothing, and any key could sign it.
        let over_lines = head.tree_size > 0;
        (signed && exact && over_lines && head.is_signed() && head.tree().is_some()).then_some(head)
    }

    /// The file's bytes.
    fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)?;
        text.push(b'\n');
        Ok(text)
    }

    /// The tree as it was; `None` if what is written here does not fit together.
    pub fn tree(&self) -> Option<Tree> {
        let peaks = self.peaks.iter().map(|peak| root_of(peak)).collect::<Option<_>>()?;
        let tree = Tree::resume(self.tree_size, peaks)?;
        (hex::encode(tree.root()) == self.root).then_some(tree)
    }

    /// The head in this ledger directory, `None` if there is none.
    pub fn read(dir: &Path) -> Result<Option<Head>> {
        let file = dir.join(FILE);
        let text = match read_own(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("{}: cannot be read; check its permissions", file.display()));
            }
        };
        let head = Head::authentic(&text)
            .with_context(|| format!("{}: it is not as its node signed it; restore it from a copy", file.display()))?;
        Ok(Some(head))
    }

    pub fn write(mut self, dir: &Path, key: &NodeKey, finish: impl Fn(&File) -> std::io::Result<()>) -> Result<()> {
        self.file_signature = String::new();
        self.file_signature = key.sign_text(&self.text()?);
        replace(&dir.join(FILE), &self.text()?, finish)
    }
}

pub fn root_of(text: &str) -> Option<Root> {
    let mut root = Root::default();
    hex::decode_to_slice(text, &mut root).ok().map(|()| root)
}

/// Replaces a file in one step: readers see the old or the new one, also after a crash.
pub(crate) fn replace(file: &Path, text: &[u8], finish: impl Fn(&File) -> std::io::Result<()>) -> Result<()> {
    let temporary = file.with_extension("tmp");
    let write = || {
        let mut out = create_anew(&temporary)?;
        finish(&out)?;
        out.write_all(text)?;
        out.sync_all()?;
        fs::rename(&temporary, file)
    };
    write().with_context(|| {
        format!("{}: cannot be written; check the disk's space and the directory's permissions", file.display())
    })
}
