//! Keys, chain and checkpoints: what makes a line evidence.

mod diagnose;
pub(crate) mod facts;
pub mod head;
mod input;
mod key;
mod node;
mod report;
pub mod tree;
pub mod verify;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Result, bail};

pub use key::SealKey;
pub(crate) use key::hex64;
pub use node::{NodeKey, verify_head};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// 64 hex digits; the key is those 32 bytes.
    #[default]
    Hex,
    /// The file's text is the key.
    Utf8,
}

impl FromStr for KeyEncoding {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyEncoding, String> {
        match text {
            "hex" => Ok(KeyEncoding::Hex),
            "utf8" => Ok(KeyEncoding::Utf8),
            other => Err(format!("seal.key_encoding {other:?} does not exist; `hex` and `utf8` do")),
        }
    }
}

/// `seal.*` of the configuration.
#[derive(Clone, Debug)]
pub struct SealConfig {
    /// `seal.mode`: only `static` exists.
    pub mode: String,
    /// `seal.key_file`; without it a key is generated once below `key_dir`.
    pub key_file: Option<PathBuf>,
    /// `seal.key_encoding`.
    pub key_encoding: KeyEncoding,
    /// Where the generated key and the node's signing key live.
    pub key_dir: PathBuf,
}

impl Default for SealConfig {
    fn default() -> Self {
        SealConfig {
            mode: "static".to_string(),
            key_file: None,
            key_encoding: KeyEncoding::Hex,
            key_dir: default_key_dir(),
        }
    }
}

impl SealConfig {
    /// Sets one `seal.*` key by its name without `seal.`.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "mode" => self.mode = value.to_string(),
            "key_file" => self.key_file = Some(PathBuf::from(value)),
            "key_encoding" => self.key_encoding = value.parse().map_err(anyhow::Error::msg)?,
            "key_dir" => self.key_dir = PathBuf::from(value),
            other => bail!(
                "configuration key seal.{other} does not exist; there are seal.mode, seal.key_file, \
                 seal.key_encoding and seal.key_dir"
            ),
        }
        self.check()
    }

    pub fn check(&self) -> Result<()> {
        match self.mode.as_str() {
            "static" => Ok(()),
            "ratchet" => bail!(
                "seal.mode=ratchet does not exist in this version: keys are not ratcheted forward yet; \
                 use seal.mode=static"
            ),
            other => bail!("seal.mode {other:?} does not exist; use seal.mode=static"),
        }
    }

    /// Where the generated key is, or will be.
    pub fn default_key_file(&self) -> PathBuf {
        self.key_dir.join("seal.key")
    }
}

/// `/var/lib/rgt/keys` for root, below the user's data directory for others.
pub fn default_key_dir() -> PathBuf {
    // SAFETY: geteuid takes nothing and cannot fail.
    if unsafe { libc::geteuid() } == 0 {
        return PathBuf::from("/var/lib/rgt/keys");
    }
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute());
    data.or_else(home).unwrap_or_else(|| PathBuf::from("/var/lib")).join("rgt/keys")
}
