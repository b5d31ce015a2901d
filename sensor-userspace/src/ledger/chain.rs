//! The chain: who, where, the how-manieth, after what.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use super::files::{CHAIN, Files, read_own};
use super::recover::End;
use crate::record::RecordId;
use crate::record::canonical::{self, digits};
use crate::seal::head::replace;
use crate::seal::tree::{Root, Tree};
use crate::seal::{SealKey, hex64};

pub struct Chain {
    id: String,
    id_prefix: Arc<str>,
    node: String,
    boot: String,
    seq: u64,
    last: Root,
    tree: Tree,
    /// The chain object up to `prev`'s value; what follows changes with each line.
    object: Vec<u8>,
    constant: usize,
    /// The record's id.
    name: Vec<u8>,
}

impl Chain {
    /// Goes on where the ledger ends; a new ledger gets an id of its own, for good.
    pub fn resume(dir: &Path, node: &str, key: &SealKey, end: &End, files: Files) -> Result<Chain> {
        let boot = boot_id()?;
        let id = match (read_id(dir)?, &end.chain) {
            (Some(kept), Some(seen)) if kept != *seen => bail!(
                "ledger {}: {CHAIN} says chain {kept}, its last record says {seen}; \
                 restore the one that was there, or name a new directory with ledger.dir",
                dir.display()
            ),
            (Some(kept), _) => kept,
            (None, seen) => {
                let id = match seen {
                    Some(seen) => seen.clone(),
                    None => new_id(node, &boot)?,
                };
                let text = serde_json::json!({ "id": id, "node": node, "boot": boot }).to_string();
                replace(&dir.join(CHAIN), text.as_bytes(), |file| files.finish(file))?;
                id
            }
        };
        if id.len() != 16 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            bail!("ledger {}: {CHAIN} holds no chain id; restore it", dir.display());
        }
        let mut object = Vec::new();
        canonical::Object::write(&mut object, |chain| {
            chain.str("boot", &boot);
            chain.uint("epoch", 0);
            chain.str("id", &id);
            chain.plain("key_id", key.id().as_bytes());
            chain.str("node", node);
        });
        object.pop();
        object.extend_from_slice(br#","prev":""#);
        Ok(Chain {
            id_prefix: Arc::from(id.as_str()),
            node: node.to_string(),
            boot,
            seq: end.next.seq,
            last: end.last,
            tree: end.tree.clone(),
            constant: object.len(),
            object,
            name: Vec::new(),
            id,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn id_prefix(&self) -> &Arc<str> {
        &self.id_prefix
    }

    pub fn node(&self) -> &str {
        &self.node
    }

    pub fn boot(&self) -> &str {
        &self.boot
    }

    pub fn seq(&self) -> u64 {
        self.seq
    }

    pub fn last(&self) -> &Root {
        &self.last
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The next record's id and its chain object.
    pub fn next(&mut self) -> (&[u8], &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(self.id_prefix.as_bytes());
        self.name.push(b'-');
        digits(self.seq, &mut self.name);
        self.object.truncate(self.constant);
        self.object.extend_from_slice(&hex64(&self.last));
        self.object.extend_from_slice(br#"","seq":"#);
        digits(self.seq, &mut self.object);
        self.object.push(b'}');
        (&self.name, &self.object)
    }

    /// Takes in the finished line.
    pub fn advance(&mut self, line: &[u8]) -> RecordId {
        self.last = Sha256::digest(line).into();
        self.tree.push(&self.last);
        let id = RecordId { prefix: Arc::clone(&self.id_prefix), seq: self.seq, frozen: None };
        self.seq += 1;
        id
    }
}

fn read_id(dir: &Path) -> Result<Option<String>> {
    let path = dir.join(CHAIN);
    let text = match read_own(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(error).with_context(|| format!("{}: cannot be read; check its permissions", path.display()));
        }
    };
    let value: serde_json::Value = serde_json::from_slice(&text).with_context(|| {
        format!("{}: not readable; restore it, or delete it: the records name their chain too", path.display())
    })?;
    Ok(value.get("id").and_then(|id| id.as_str()).map(str::to_string))
}

/// Node, boot and ledger make the chain.
fn new_id(node: &str, boot: &str) -> Result<String> {
    let mut ledger = [0u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut ledger))
        .context("/dev/urandom: cannot be read; mount /dev")?;
    let digest = Sha256::new().chain_update(format!("rgt chain\n{node}\n{boot}\n")).chain_update(ledger).finalize();
    Ok(hex::encode(&digest[..8]))
}

fn boot_id() -> Result<String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).with_context(|| format!("{path}: cannot be read; mount /proc"))?;
    Ok(text.trim().to_string())
}

pub fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" | "(none)" => "localhost".to_string(),
        name => name.to_string(),
    }
}
