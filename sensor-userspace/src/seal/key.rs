//! The HMAC key: read or made, wiped when dropped, never shown.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result, bail};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{KeyEncoding, SealConfig};

type HmacSha256 = Hmac<Sha256>;

/// More than any sensible key: protects from reading a device or a log as one.
const MAX_KEY_FILE: u64 = 64 << 10;

/// A sealing key.
#[derive(Clone)]
pub struct SealKey {
    mac: HmacSha256,
    id: String,
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealKey({})", self.id)
    }
}

impl SealKey {
    pub fn new(key: &[u8]) -> Result<SealKey> {
        let Ok(mac) = HmacSha256::new_from_slice(key) else {
            bail!("a sealing key of {} bytes cannot be used; use 32", key.len());
        };
        let digest = Sha256::new().chain_update(b"rgt key id\n").chain_update(key).finalize();
        Ok(SealKey { mac, id: hex::encode(&digest[..8]) })
    }

    /// The first 16 hex digits of SHA-256 over `rgt key id`, a newline and the key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The hex signature of a record's parts.
    pub fn sign(&self, parts: [&[u8]; 5]) -> [u8; 64] {
        let mut mac = self.mac.clone();
        for (n, part) in parts.into_iter().enumerate() {
            if n > 0 {
                mac.update(b"\n");
            }
            mac.update(part);
        }
        hex64(&mac.finalize().into_bytes().into())
    }

    /// The key that a configuration names; the generated one is made when it is not there yet.
    pub fn load_or_make(config: &SealConfig) -> Result<SealKey> {
        config.check()?;
        match &config.key_file {
            Some(file) => SealKey::load(file, config.key_encoding),
            None => {
                let secret = secret_file(&config.default_key_file(), "sealing key")?;
                SealKey::new(secret.as_slice())
            }
        }
    }

    pub fn load(file: &Path, encoding: KeyEncoding) -> Result<SealKey> {
        let text = read_secret(file)
            .with_context(|| format!("seal.key_file {}: cannot be read; name a readable file", file.display()))?;
        match encoding {
            KeyEncoding::Hex => SealKey::new(decode_hex(&text, file)?.as_slice()),
            KeyEncoding::Utf8 => {
                let text = trim_newline(&text);
                if text.is_empty() || std::str::from_utf8(text).is_err() {
                    bail!(
                        "seal.key_file {}: with seal.key_encoding=utf8 the file must hold the key as UTF-8 text",
                        file.display()
                    );
                }
                SealKey::new(text)
            }
        }
    }
}

/// 64 hex digits of 32 bytes.
pub(crate) fn hex64(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = [0; 64];
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    out
}

fn trim_newline(text: &[u8]) -> &[u8] {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn read_secret(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Sized before reading, so that no copy of the key is left behind by a growing buffer.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE as usize));
    File::open(file)?.take(MAX_KEY_FILE).read_to_end(&mut text)?;
    Ok(text)
}

fn decode_hex(text: &[u8], file: &Path) -> Result<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0u8; 32]);
    if hex::decode_to_slice(trim_newline(text), key.as_mut()).is_err() {
        bail!(
            "key file {}: it must hold 64 hex digits and nothing else (`head -c32 /dev/urandom | xxd -p -c64`); \
             for a key that is text, set seal.key_encoding=utf8",
            file.display()
        );
    }
    Ok(key)
}

/// Reads the 32 secret bytes in `file`, or makes it, readable by its owner alone.
pub(super) fn secret_file(file: &Path, what: &str) -> Result<Zeroizing<[u8; 32]>> {
    match read_secret(file) {
        Ok(text) => return decode_hex(&text, file),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error)
                .with_context(|| format!("{what} {}: cannot be read; run as the user who made it", file.display()));
        }
    }
    make_secret(file).with_context(|| {
        format!(
            "{what} {}: cannot be made; make its directory writable or name another with seal.key_dir",
            file.display()
        )
    })?;
    // Read back: another process may have been first, and both must use the same key.
    let text = read_secret(file).with_context(|| format!("{what} {}", file.display()))?;
    decode_hex(&text, file)
}

fn make_secret(file: &Path) -> Result<()> {
    let dir = file.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mut secret = Zeroizing::new([0u8; 32]);
    File::open("/dev/urandom")?.read_exact(secret.as_mut())?;
    let mut text = Zeroizing::new(hex::encode(secret.as_slice()).into_bytes());
    text.push(b'\n');
    let temporary = file.with_extension(format!("new-{}", std::process::id()));
    // One that a killed process of the same number left behind.
    let _ = fs::remove_file(&temporary);
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    out.write_all(&text)?;
    out.sync_all()?;
    // `link` never replaces: of two that start at once, the first one's key stays.
    let linked = fs::hard_link(&temporary, file);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error.into()),
        _ => Ok(()),
    }
}
