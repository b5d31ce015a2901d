//! Whose the marks are: what the daemon that comes after this one must know.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sensor_common::contents::Identity;
use serde::{Deserialize, Serialize};

use super::approve::Approval;
use crate::attempt::Run;
use crate::config::STATE_DIR;
use crate::control::protocol::WantedMode;
use crate::kernel::AgentNo;
use crate::policy::{self, Content, Digest, Errors, Included, Policy, Variables};

const VERSION: u32 = 1;

/// A policy as it was read, with the files it includes: they may have changed since.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Written {
    /// What messages call it.
    pub name: String,
    pub text: String,
    pub includes: Included,
}

impl Written {
    pub fn parse(&self) -> Result<Policy, Errors> {
        policy::parse_given(&self.name, &self.text, &self.includes)
    }
}

/// One agent as it was registered.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Kept {
    pub number: AgentNo,
    pub run: Run,
    pub policy: Option<Written>,
    #[serde(with = "bytes::maybe")]
    pub workspace: Option<PathBuf>,
    #[serde(with = "bytes::maybe")]
    pub home: Option<PathBuf>,
    pub observe: bool,
    pub sets: Vec<String>,
    #[serde(with = "bytes")]
    pub ledger: PathBuf,
    pub own_ledger: bool,
    pub reader_gid: Option<u32>,
    #[serde(with = "bytes")]
    pub cgroup: PathBuf,
    /// The daemon made the cgroup.
    pub own: bool,
    pub root: Option<u32>,
    pub uid: u32,
    pub role: Option<String>,
    pub task: Option<String>,
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// Seconds since 1970.
    pub started: u64,
    /// By bit, as hooks set them; empty: in the policy's own order.
    #[serde(default)]
    pub labels: Vec<String>,
    /// What was asked for whatever the policy says of itself.
    #[serde(default)]
    pub wanted: Option<WantedMode>,
}

impl Kept {
    pub fn variables(&self) -> Variables {
        Variables { workspace: self.workspace.clone(), home: self.home.clone() }
    }
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
pub struct State {
    version: u32,
    /// Marks do not outlive the kernel that holds them.
    boot: String,
    /// Where filesystems stood, by the numbers that events bear; in hexadecimal.
    places: Vec<String>,
    /// What host names stood for.
    #[serde(default)]
    pub hosts: BTreeMap<String, Vec<IpAddr>>,
    /// What files held.
    #[serde(default)]
    files: BTreeMap<String, Read>,
    pub agents: Vec<Kept>,
}

/// `Content`, as text.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
struct Read {
    number: u64,
    seconds: u64,
    nanoseconds: u32,
    generation: u32,
    device: u32,
    sha256: String,
}

pub fn path() -> PathBuf {
    Path::new(STATE_DIR).join("state.json")
}

impl State {
    pub fn new() -> State {
        State { version: VERSION, boot: boot(), ..State::default() }
    }

    /// What an earlier daemon of this boot left; empty where there was none.
    pub fn read(path: &Path) -> Result<State> {
        let way_out = || {
            format!(
                "the state of the daemon before, {}; what it governed stays as it is. Restore the file, or end enforcement with `sudo rgt unload`",
                path.display()
            )
        };
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(State::new()),
            Err(error) => return Err(error).with_context(way_out),
        };
        let about: Versioned = serde_json::from_slice(&text).with_context(way_out)?;
        if about.boot != boot() {
            return Ok(State::new());
        }
        if about.version != VERSION {
            return Err(anyhow::anyhow!("version {}, not {VERSION}", about.version)).with_context(way_out);
        }
        serde_json::from_slice(&text).with_context(way_out)
    }

    /// Replaces the file as a whole: whenever a daemon is killed, one state or the other is there.
    pub fn write(&self, path: &Path) -> Result<()> {
        let fresh = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            file.sync_all()?;
            fs::rename(&fresh, path)?;
            File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
        };
        write().with_context(|| format!("cannot write the daemon's state, {}", path.display()))
    }

    pub fn places(&self) -> Vec<Vec<u8>> {
        // An odd one keeps its number.
        self.places.iter().map(|place| hex::decode(place).unwrap_or_default()).collect()
    }

    pub fn files(&self) -> BTreeMap<String, Content> {
        let content = |read: &Read| {
            let Read { number, seconds, nanoseconds, generation, device, ref sha256 } = *read;
            let mut digest = Digest::default();
            // What is no digest is one that nobody has read.
            hex::decode_to_slice(sha256, &mut digest).ok()?;
            let identity = Identity { number, seconds, nanoseconds, generation, device, reserved: 0 };
            Some(Content { identity, digest })
        };
        self.files.iter().filter_map(|(place, read)| Some((place.clone(), content(read)?))).collect()
    }

    pub fn set_files(&mut self, files: BTreeMap<String, Content>) {
        let read = |content: Content| {
            let Identity { number, seconds, nanoseconds, generation, device, .. } = content.identity;
            Read { number, seconds, nanoseconds, generation, device, sha256: hex::encode(content.digest) }
        };
        self.files = files.into_iter().map(|(place, content)| (place, read(content))).collect();
    }

    pub fn set_places(&mut self, places: &[Vec<u8>]) {
        self.places = places.iter().map(hex::encode).collect();
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: u32,
    boot: String,
}

/// Nobody's marks are left: the file says so by not being there.
pub fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::error!("{}: {error}", path.display());
    }
}

fn boot() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id");
    id.map(|id| id.trim().to_owned()).unwrap_or_default()
}

/// Paths are bytes, and JSON is text: what is no text is written in hexadecimal.
mod bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize, Serialize)]
    #[serde(untagged)]
    pub enum Written {
        Text(String),
        Bytes { hex: String },
    }

    fn write(path: &Path) -> Written {
        match path.to_str() {
            Some(text) => Written::Text(text.to_owned()),
            None => Written::Bytes { hex: hex::encode(path.as_os_str().as_bytes()) },
        }
    }

    fn read<E: serde::de::Error>(written: Written) -> Result<PathBuf, E> {
        match written {
            Written::Text(text) => Ok(PathBuf::from(text)),
            Written::Bytes { hex } => {
                let bytes = hex::decode(hex).map_err(E::custom)?;
                Ok(PathBuf::from(OsString::from_vec(bytes)))
            }
        }
    }

    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        write(path).serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<PathBuf, D::Error> {
        Written::deserialize(from).and_then(read)
    }

    pub mod maybe {
        use super::*;

        pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
            path.as_deref().map(write).serialize(to)
        }

        pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Option<PathBuf>, D::Error> {
            Option::<Written>::deserialize(from)?.map(read).transpose()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::*;
    use crate::daemon::approve::Ends;

    fn odd() -> PathBuf {
        PathBuf::from(OsString::from_vec(b"/a\xff b".to_vec()))
    }

    fn kept() -> Kept {
        Kept {
            number: 7,
            run: Run {
                agent_id: "a".to_owned(),
                run_id: "r".to_owned(),
                instance: "i".to_owned(),
                trace_id: "t".to_owned(),
                principal: "uid:0".to_owned(),
                environment: None,
                container: None,
            },
            policy: Some(Written {
                name: "p.yaml".to_owned(),
                text: "version: 1\n".to_owned(),
                includes: vec![("q.yaml".to_owned(), String::new())],
            }),
            workspace: Some(odd()),
            home: None,
            observe: true,
            sets: vec!["risk.profile=article".to_owned()],
            ledger: odd(),
            own_ledger: true,
            reader_gid: Some(4),
            cgroup: PathBuf::from("/c"),
            own: true,
            root: Some(3),
            uid: 1000,
            role: None,
            task: Some("t".to_owned()),
            approvals: vec![
                Approval { name: "deploy".to_owned(), ends: None, record: Some("0-1".to_owned()) },
                Approval { name: "hot".to_owned(), ends: Some(Ends { up: 5, wall: u64::MAX }), record: None },
            ],
            started: 5,
            labels: vec!["secret".to_owned()],
            wanted: Some(WantedMode::Enforce),
        }
    }

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("rgt-state-{name}-{}", std::process::id()))
    }

    #[test]
    fn a_state_comes_back_as_it_was() {
        let path = file("whole");
        let mut state = State::new();
        state.set_places(&[Vec::new(), b"/mnt/\xff".to_vec()]);
        state.agents.push(kept());
        state.write(&path).unwrap();
        let read = State::read(&path).unwrap();
        assert_eq!(read, state);
        assert_eq!(read.places(), [b"".to_vec(), b"/mnt/\xff".to_vec()]);
        remove(&path);
        assert_eq!(State::read(&path).unwrap(), State::new());
    }

    #[test]
    fn marks_of_another_boot_are_nobodys() {
        let path = file("boot");
        let mut state = State::new();
        state.agents.push(kept());
        state.boot = "another".to_owned();
        // Nor does its version matter.
        state.version = 99;
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).unwrap(), State::new());
        remove(&path);
    }

    #[test]
    fn a_broken_state_is_an_error_with_a_way_out() {
        let path = file("broken");
        fs::write(&path, "{\"version\":1,").unwrap();
        let error = format!("{:#}", State::read(&path).unwrap_err());
        assert!(error.contains("rgt unload") && error.contains("rgt-state-broken"), "{error}");
        fs::write(&path, format!("{{\"version\":2,\"boot\":\"{}\"}}", boot())).unwrap();
        assert!(format!("{:#}", State::read(&path).unwrap_err()).contains("version 2"));
        remove(&path);
    }
}
