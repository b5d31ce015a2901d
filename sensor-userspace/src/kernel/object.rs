//! The kernel object as it is loaded: its maps by name, and what is said where something is refused.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};

use aya::{
    Ebpf,
    maps::{Array, HashMap as KernelMap, Map, lpm_trie::LpmTrie},
    programs::RawTracePoint,
};
use thiserror::Error;

use super::{policies, standing::Standings};

pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/rgt-ebpf.o"));

#[derive(Debug, Error)]
pub enum LoadError {
    #[error("this rgt was built without its kernel side; build it with `cargo xtask build`")]
    NoObject,
    // Loaded without them, programs would read their fields at the places of some other kernel.
    #[error(
        "the kernel's types (/sys/kernel/btf/vmlinux) cannot be read: {0}; boot a kernel built with \
         CONFIG_DEBUG_INFO_BTF, as distributions' are"
    )]
    NoBtf(String),
    #[error("{what}: {cause}; `rgt doctor` says what this kernel lacks")]
    Refused { what: String, cause: String },
}

pub(super) fn refused<E: std::error::Error>(what: impl Into<String>) -> impl FnOnce(E) -> LoadError {
    let what = what.into();
    move |error| {
        // The innermost cause is the kernel's own word.
        let mut cause = error.to_string();
        let mut inner = std::error::Error::source(&error);
        while let Some(source) = inner {
            cause = format!("{cause}: {source}");
            inner = source.source();
        }
        LoadError::Refused { what, cause }
    }
}

pub(super) fn missing(what: String) -> LoadError {
    LoadError::Refused { what, cause: "missing from the kernel object".to_owned() }
}

/// Programs keep their maps by descriptor: only once all are loaded may a map be taken.
pub(super) fn take(bpf: &mut Ebpf, name: &str) -> Result<Map, LoadError> {
    bpf.take_map(name).ok_or_else(|| missing(format!("map {name}")))
}

pub(super) fn borrow<'a>(bpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Map, LoadError> {
    bpf.map_mut(name).ok_or_else(|| missing(format!("map {name}")))
}

/// Loads a raw tracepoint's program, attached to nothing yet.
pub(super) fn load_raw_tracepoint(bpf: &mut Ebpf, name: &str) -> Result<OwnedFd, LoadError> {
    let what = format!("program {name}");
    let program = bpf.program_mut(name).ok_or_else(|| missing(what.clone()))?;
    let program: &mut RawTracePoint = program.try_into().map_err(refused(&what))?;
    program.load().map_err(refused(format!("loading {what}")))?;
    let number = program.fd().map_err(refused(&what))?.as_fd().try_clone_to_owned();
    number.map_err(refused(what))
}

/// Writes the only entry of a map.
pub(super) fn set<T: aya::Pod>(bpf: &mut Ebpf, name: &str, value: T) -> Result<(), LoadError> {
    let mut map: Array<_, T> = Array::try_from(borrow(bpf, name)?).map_err(refused(format!("map {name}")))?;
    map.set(0, value, 0).map_err(refused(format!("filling map {name}")))
}

/// Descriptor of any kind of map.
pub(super) fn descriptor(map: &Map) -> Option<RawFd> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::Queue(data)
        | Map::LpmTrie(data)
        | Map::RingBuf(data) => Some(data.fd().as_fd().as_raw_fd()),
        _ => None,
    }
}

pub(super) fn standings(bpf: &mut Ebpf) -> Result<Standings, LoadError> {
    match take(bpf, "GOVERNED")? {
        Map::Array(data) => Standings::map(data).map_err(refused("mapping the agents' standing")),
        _ => Err(LoadError::Refused { what: "map GOVERNED".into(), cause: "is no array".into() }),
    }
}

pub(super) fn policy_maps(bpf: &mut Ebpf) -> Result<policies::Maps, LoadError> {
    Ok(policies::Maps {
        policies: Array::try_from(take(bpf, "POLICIES")?).map_err(refused("map POLICIES"))?,
        rules: Array::try_from(take(bpf, "RULES")?).map_err(refused("map RULES"))?,
        states: Array::try_from(take(bpf, "STATES")?).map_err(refused("map STATES"))?,
        edges: KernelMap::try_from(take(bpf, "EDGES")?).map_err(refused("map EDGES"))?,
        candidates: Array::try_from(take(bpf, "CANDIDATES")?).map_err(refused("map CANDIDATES"))?,
        cells: Array::try_from(take(bpf, "CELLS")?).map_err(refused("map CELLS"))?,
        networks: LpmTrie::try_from(take(bpf, "NETWORKS")?).map_err(refused("map NETWORKS"))?,
        hosts: KernelMap::try_from(take(bpf, "HOSTS")?).map_err(refused("map HOSTS"))?,
    })
}
