//! The node's Ed25519 key: whoever holds an HMAC key can forge, but not this signature.

use std::fmt;

use anyhow::Result;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::SealConfig;
use super::key::secret_file;
use super::tree::Root;

pub struct NodeKey {
    key: SigningKey,
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeKey({})", self.public_hex())
    }
}

impl NodeKey {
    /// The node's key, made when it is not there yet.
    pub fn load_or_make(config: &SealConfig) -> Result<NodeKey> {
        let seed = secret_file(&config.key_dir.join("node.key"), "node key")?;
        Ok(NodeKey { key: SigningKey::from_bytes(&seed) })
    }

    pub fn public_hex(&self) -> String {
        hex::encode(self.key.verifying_key().as_bytes())
    }

    /// Signs a tree head.
    pub fn sign(&self, chain: &str, size: u64, root: &Root) -> String {
        self.sign_text(&message(chain, size, root))
    }

    pub fn sign_text(&self, text: &[u8]) -> String {
        hex::encode(self.key.sign(text).to_bytes())
    }
}

/// What a tree head's signature is over.
fn message(chain: &str, size: u64, root: &Root) -> Vec<u8> {
    format!("rgt tree head\n{chain}\n{size}\n{}", hex::encode(root)).into_bytes()
}

/// Whether `signature` is that key's over this tree head.
pub fn verify_head(public: &str, signature: &str, chain: &str, size: u64, root: &Root) -> bool {
    verify_text(public, signature, &message(chain, size, root))
}

/// Whether `signature` is that key's over this text; both in hex.
pub fn verify_text(public: &str, signature: &str, text: &[u8]) -> bool {
    let mut key = [0; 32];
    let mut bytes = [0; 64];
    if hex::decode_to_slice(public, &mut key).is_err()
        || hex::decode_to_slice(signature, &mut bytes).is_err()
        // Capital digits would be a second spelling of the same signature.
        || hex::encode(bytes) != signature
    {
        return false;
    }
    VerifyingKey::from_bytes(&key).is_ok_and(|key| key.verify_strict(text, &Signature::from_bytes(&bytes)).is_ok())
}
