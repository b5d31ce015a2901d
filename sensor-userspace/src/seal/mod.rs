//! Keys, canonical chain and checkpoints: what makes a line evidence.

use std::path::{Path, PathBuf};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyEncoding {
    /// 64 hex digits; the key is those 32 bytes.
    #[default]
    Hex,
    /// The file's text is the key.
    Utf8,
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
    pub fn set(&mut self, _key: &str, _value: &str) -> anyhow::Result<()> {
        anyhow::bail!("not built yet")
    }
}

/// `/var/lib/rgt/keys` for root, below the user's data directory for others.
pub fn default_key_dir() -> PathBuf {
    Path::new("/var/lib/rgt/keys").to_path_buf()
}
