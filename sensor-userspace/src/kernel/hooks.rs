//! Hooks that can say no: one body each, carried as an LSM program or, where `bpf` is not in the kernel's
//! LSM list, as fmod_ret on the `security_*` function of the same name.
//!
//! aya knows no fmod_ret, so both are loaded from the same object by hand.

use std::{
    collections::{HashMap, HashSet},
    fs, io,
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
    /// Those that the kernel may skip.
    programs: Vec<OwnedFd>,
    /// Loaded, and attached only while some policy judges what is sent.
    sends: Option<Sends>,
    pub loaded: Vec<String>,
    /// Hook and reason.
    pub refused: Vec<(String, String)>,
    /// Hooks that this kernel does not have, and what that means.
    pub absent: Vec<(String, String)>,
}

struct Sends {
    program: OwnedFd,
    link: Option<OwnedFd>,
    /// Whether it can be attached again once it was detached.
    comes_back: bool,
}

impl Hooks {
    /// Attaches the hook that every write of every process comes through.
    pub fn watch_sends(&mut self, pins: Option<&Pins>) -> io::Result<()> {
        let Some(sends) = self.sends.as_mut().filter(|sends| sends.link.is_none()) else { return Ok(()) };
        let link = sys::attach(sends.program.as_fd())?;
        if let Some(pins) = pins {
            pins.pin(SENDS, link.as_fd())?;
        }
        sends.link = Some(link);
        Ok(())
    }

    /// Detaches it, where it can come back.
    pub fn leave_sends(&mut self, pins: Option<&Pins>) -> io::Result<()> {
        let Some(sends) = self.sends.as_mut().filter(|sends| sends.link.is_some() && sends.comes_back) else {
            return Ok(());
        };
        sends.link = None;
        pins.map_or(Ok(()), |pins| pins.unpin(SENDS))
    }

    /// How often the kernel skipped one of them. LSM programs it does not skip, and there is nothing to ask it.
    pub fn skipped(&self) -> io::Result<u64> {
        let sends = self.sends.as_ref().map(|sends| &sends.program);
        self.programs.iter().chain(sends).map(|program| sys::skipped(program.as_fd())).sum()
    }

    /// All of them, or the daemon's end would leave a fence with a hole.
    pub fn pin(&self, pins: &Pins) -> io::Result<()> {
        self.links.iter().try_for_each(|(name, link)| pins.pin(name, link.as_fd()))
    }
}

/// What stands in for the hooks of sockets where sendfile and splice pass them by.
const SENDS: &str = "file_permission";
/// From this version on they do not.
const SENDS_ARE_SEEN: (u32, u32) = (6, 5);
/// From this version on a program that was detached can be attached again.
const ATTACHED_AGAIN: (u32, u32) = (5, 13);

/// Hooks that make marks and refuse nothing. As fmod_ret one of them cannot be (it returns nothing), and the
/// other alone would leave marks behind.
const LSM_ONLY: [&str; 2] = ["task_alloc", "task_free"];

/// Hooks that came later than the oldest kernel, and the one that stands for each before.
const LATER: [(&str, &str); 5] = [
    ("file_truncate", "path_truncate"),
    ("inode_set_acl", "inode_setxattr"),
    ("inode_remove_acl", "inode_removexattr"),
    ("file_ioctl_compat", "file_ioctl"),
    ("inode_file_setattr", "file_ioctl"),
];

/// Hooks for which another stands where the kernel has no types of their arguments.
const UNTYPED: [(&str, &str); 1] = [("path_chown", "inode_setattr")];

/// Hooks that came later than the oldest kernel, and what goes unrefused before.
const GAPS: [(&str, &str); 3] = [
    ("inode_init_security_anon", "io_uring_setup is not refused"),
    ("task_fix_setgroups", "setgroups is not refused"),
    ("userns_create", "a user namespace made without privilege is not refused"),
];

/// LSM hooks whose `security_*` function has another name.
const RENAMED: [(&str, &str); 2] = [("bprm_check_security", "bprm_check"), ("userns_create", "create_user_ns")];

/// A hook that another program carries as LSM program before this version: its arguments differ from the function's.
const PLAIN: (&str, &str, (u32, u32)) = ("inode_setattr", "inode_setattr_plain", (6, 9));

/// Whether the program is the other one of the two.
fn is_not_meant(name: &str, mode: Mode) -> bool {
    let (hook, plain, since) = PLAIN;
    let is_plain = mode == Mode::Lsm && !is_at_least(since);
    name == if is_plain { hook } else { plain }
}

/// Whether the running kernel is of this version or a later one. One that does not say is an old one.
pub(super) fn is_at_least(wanted: (u32, u32)) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    matches!((numbers.next(), numbers.next()), (Some(major), Some(minor)) if (major, minor) >= wanted)
}

/// The function that a hook's program is attached to.
fn target(name: &str, mode: Mode) -> String {
    let name = if name == PLAIN.1 { PLAIN.0 } else { name };
    match mode {
        Mode::FmodRet => {
            let renamed = RENAMED.iter().find(|(hook, _)| *hook == name).map(|(_, function)| *function);
            format!("security_{}", renamed.unwrap_or(name))
        }
        _ => format!("bpf_lsm_{name}"),
    }
}

/// What hooks are loaded from.
pub struct Source<'a> {
    pub object: &'a [u8],
    /// The running kernel's.
    pub types: &'a Btf,
    /// By name.
    pub maps: &'a HashMap<String, RawFd>,
}

/// Loads and attaches every hook of the object the given way.
pub fn load(from: &Source<'_>, mode: Mode) -> io::Result<Hooks> {
    let Source { object, types: kernel, maps } = *from;
    let mut object = Object::parse(object).map_err(io::Error::other)?;
    // What the oldest kernel takes; the newer ones take it as well.
    let features = BtfFeatures::new(true, true, true, true, false, false, false, false);
    let btf = object.fixup_and_sanitize_btf(&features).map_err(io::Error::other)?;
    let btf = sys::load_btf(&btf.ok_or_else(|| io::Error::other("the kernel object has no BTF"))?.to_bytes())?;
    object.relocate_btf(kernel).map_err(io::Error::other)?;
    let definitions = std::mem::take(&mut object.maps);
    let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    let known = definitions.iter().filter_map(|(name, map)| maps.get(name).map(|fd| (name.as_str(), *fd, map)));
    object.relocate_maps(known, &text).map_err(io::Error::other)?;
    object.relocate_calls(&text).map_err(io::Error::other)?;
    let (mut links, mut programs, mut sends) = (Vec::new(), Vec::new(), None);
    let (mut absent, mut untyped) = (Vec::new(), Vec::new());
    let mut load = |name: &str| -> Option<io::Result<()>> {
        let program =
            object.programs.get(name).filter(|program| matches!(program.section, ProgramSection::Lsm { .. }))?;
        let function = object.functions.get(&program.function_key())?;
        let (program_type, attach_type) = match mode {
            Mode::FmodRet => (TRACING, MODIFY_RETURN),
            _ => (LSM, LSM_MAC),
        };
        let target = target(name, mode);
        let found = kernel.id_by_type_name_kind(&target, BtfKind::Func);
        let stands = LATER.iter().find(|(later, _)| *later == name).map(|(_, other)| format!("{other} stands for it"));
        let gap = GAPS.iter().find(|(later, _)| *later == name).map(|(_, gap)| (*gap).to_owned());
        if let (Err(_), Some(meaning)) = (&found, stands.or(gap)) {
            absent.push((name.to_owned(), format!("not in this kernel: {meaning}")));
            return None;
        }
        let loaded =
            found.map_err(|_| io::Error::other(format!("this kernel has no {target}"))).and_then(|attach_btf_id| {
                let how = sys::LoadAs {
                    program_type,
                    attach_type,
                    attach_btf_id,
                    btf: btf.as_fd(),
                    license: &program.license,
                    name,
                };
                sys::load_program(function, how)
            });
        Some(loaded.and_then(|program| {
            if name == SENDS {
                sends = Some(Sends { program, link: None, comes_back: is_at_least(ATTACHED_AGAIN) });
            } else {
                links.push((name.to_owned(), sys::attach(program.as_fd())?));
                if mode == Mode::FmodRet {
                    programs.push(program);
                }
            }
            Ok(())
        }))
    };
    let (mut loaded, mut refused) = (Vec::new(), Vec::new());
    for name in object.programs.keys() {
        let needless = name == SENDS && is_at_least(SENDS_ARE_SEEN);
        if needless || is_not_meant(name, mode) || mode == Mode::FmodRet && LSM_ONLY.contains(&name.as_str()) {
            continue;
        }
        let stands = UNTYPED.iter().find(|(untyped, _)| *untyped == name);
        match (load(name), stands) {
            (Some(Ok(())), _) => loaded.push(name.to_owned()),
            (Some(Err(_)), Some((_, other))) => {
                untyped.push((name.to_owned(), format!("not typed in this kernel: {other} stands for it")));
            }
            (Some(Err(error)), None) => refused.push((name.to_owned(), error.to_string())),
            (None, _) => {}
        }
    }
    absent.append(&mut untyped);
    Ok(Hooks { links, programs, sends, loaded, refused, absent })
}
