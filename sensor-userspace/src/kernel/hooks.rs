//! Hooks that can say no: one body each, carried as an LSM program or, where `bpf` is not in the kernel's
//! LSM list, as fmod_ret on the `security_*` function of the same name.
//!
//! aya knows no fmod_ret, so both are loaded from the same object by hand.

use std::{
    collections::{HashMap, HashSet},
    io,
    os::fd::{AsFd as _, OwnedFd, RawFd},
};

use aya_obj::{
    Object, ProgramSection,
    btf::{Btf, BtfFeatures, BtfKind},
};

use super::{pins::Pins, sys};
use crate::attempt::Mode;

const TRACING: u32 = 26;
const LSM: u32 = 29;
const MODIFY_RETURN: u32 = 26;
const LSM_MAC: u32 = 27;

pub struct Hooks {
    /// Dropping a link that is not pinned detaches its hook.
    links: Vec<(String, OwnedFd)>,
    pub loaded: Vec<String>,
    /// Hook and reason.
    pub refused: Vec<(String, String)>,
    /// Hooks that this kernel does not have and whose duty another of them bears.
    pub absent: Vec<String>,
}

impl Hooks {
    /// All of them, or the daemon's end would leave a fence with a hole.
    pub fn pin(&self, pins: &Pins) -> io::Result<()> {
        self.links.iter().try_for_each(|(name, link)| pins.pin(name, link.as_fd()))
    }
}

/// Hooks that make marks and refuse nothing. As fmod_ret one of them cannot be (it returns nothing), and the
/// other alone would leave marks behind.
const LSM_ONLY: [&str; 2] = ["task_alloc", "task_free"];

/// Hooks that came later than the oldest kernel, and the one that stands for each before.
const LATER: [(&str, &str); 1] = [("file_truncate", "path_truncate")];

/// Loads and attaches every hook of the object the given way.
pub fn load(object: &[u8], maps: &HashMap<String, RawFd>, mode: Mode) -> io::Result<Hooks> {
    let kernel = Btf::from_sys_fs().map_err(io::Error::other)?;
    let mut object = Object::parse(object).map_err(io::Error::other)?;
    // What the oldest kernel takes; the newer ones take it as well.
    let features = BtfFeatures::new(true, true, true, true, false, false, false, false);
    let btf = object.fixup_and_sanitize_btf(&features).map_err(io::Error::other)?;
    let btf = sys::load_btf(&btf.ok_or_else(|| io::Error::other("the kernel object has no BTF"))?.to_bytes())?;
    object.relocate_btf(&kernel).map_err(io::Error::other)?;
    let definitions = std::mem::take(&mut object.maps);
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let known = definitions
        .iter()
        .filter_map(|(name, map)| maps.get(name).map(|fd| (name.as_str(), *fd, map)));
    object.relocate_maps(known, &text).map_err(io::Error::other)?;
    object.relocate_calls(&text).map_err(io::Error::other)?;
    let mut hooks = Hooks { links: Vec::new(), loaded: Vec::new(), refused: Vec::new(), absent: Vec::new() };
    for (name, program) in &object.programs {
        if !matches!(program.section, ProgramSection::Lsm { .. }) {
            continue;
        }
        let Some(function) = object.functions.get(&program.function_key()) else { continue };
        let (program_type, attach_type, target) = match mode {
            Mode::FmodRet => (TRACING, MODIFY_RETURN, format!("security_{name}")),
            _ => (LSM, LSM_MAC, format!("bpf_lsm_{name}")),
        };
        if mode == Mode::FmodRet && LSM_ONLY.contains(&name.as_str()) {
            continue;
        }
        let found = kernel.id_by_type_name_kind(&target, BtfKind::Func);
        if found.is_err() && LATER.iter().any(|(later, _)| later == name) {
            hooks.absent.push(name.clone());
            continue;
        }
        let attached = found
            .map_err(|_| io::Error::other(format!("this kernel has no {target}")))
            .and_then(|attach_btf_id| {
                sys::load_program(
                    function,
                    sys::LoadAs {
                        program_type,
                        attach_type,
                        attach_btf_id,
                        btf: btf.as_fd(),
                        license: &program.license,
                        name,
                    },
                )
            })
            .and_then(|program| sys::attach(program.as_fd()));
        match attached {
            Ok(link) => {
                hooks.links.push((name.clone(), link));
                hooks.loaded.push(name.clone());
            }
            Err(error) => hooks.refused.push((name.clone(), error.to_string())),
        }
    }
    Ok(hooks)
}
