//! The kernel's own judge, tried on given objects by the test-run facility: nothing is attached, nobody is
//! governed. For the tests that hold the kernel's verdict against `Table::judge`.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    ptr,
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{HashMap as KernelMap, Map, MapData},
};
use aya_obj::btf::Btf;
use sensor_common::{
    action::Action,
    answer::name_hash,
    event::{self, NO_RULE, SECTION_ROOM, Slot, pair},
    hash::Secret,
    table::MAX_WATCHED,
};

use super::{
    answers::Answers,
    cgroup,
    object::{self, LoadError, refused, take},
    pod::Pod,
    policies::Policies,
    standing::Standings,
    sys,
};
use crate::agent;
use crate::policy::{Circumstances, Contents, Holds, Limits, Object, Program, Table, Written, place::components};

const AGENT: u32 = 1;
/// Whom that agent believes.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 53);
pub const SERVER_6: Ipv6Addr = Ipv6Addr::LOCALHOST;
/// … and believes not to be this machine, by whose loopback all packets come here.
pub const DISTANT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// To `try_judge`: what the slot holds is the acting program's path.
const PROGRAM: u64 = 1 << 16;

/// What the kernel's judge said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub refused: bool,
    pub effect: u8,
    pub rule: Option<u16>,
    pub would: Option<u16>,
    /// The object's place was unknown.
    pub unknown: bool,
    /// `on_unknown` decided because the program was.
    pub by_program: bool,
    pub watched: Vec<u16>,
}

pub struct Trial {
    program: OwnedFd,
    slot: *mut Slot,
    policies: Policies,
    standings: Standings,
    in_force: Option<u32>,
    /// What was read of the files that the table in force asks about.
    contents: Contents,
    answers: Answers,
    secret: Secret,
    _cgroups: KernelMap<MapData, u64, u32>,
    _programs: Ebpf,
}

impl Trial {
    pub fn new(random: u64) -> Result<Trial, LoadError> {
        let types = Btf::from_sys_fs().map_err(|error| LoadError::NoBtf(error.to_string()))?;
        let mut bpf =
            EbpfLoader::new().btf(Some(&types)).load(object::OBJECT).map_err(refused("loading the kernel object"))?;
        let program = object::load_raw_tracepoint(&mut bpf, "try_judge")?;
        let secret = Secret::new(random);
        object::set(&mut bpf, "SECRET", Pod(secret))?;
        let policies = Policies::new(object::policy_maps(&mut bpf)?, secret);
        let standings = object::standings(&mut bpf)?;
        let slot = match take(&mut bpf, "SLOTS")? {
            Map::Array(data) => map_slot(data.fd().as_fd().as_raw_fd()).map_err(refused("mapping a slot"))?,
            _ => return Err(object::missing("array SLOTS".to_owned())),
        };
        let mut cgroups: KernelMap<_, u64, u32> =
            KernelMap::try_from(take(&mut bpf, "CGROUPS")?).map_err(refused("map CGROUPS"))?;
        let mut answers = Answers::new(&mut bpf, secret, vec![SERVER.into(), SERVER_6.into(), DISTANT.into()])?;
        let own = own_cgroup().map_err(refused("this process's cgroup"))?;
        cgroups.insert(own, AGENT, 0).map_err(refused("map CGROUPS"))?;
        answers.begin(AGENT, &[]).map_err(refused("map RESOLVERS"))?;
        Ok(Trial {
            program,
            slot,
            policies,
            standings,
            in_force: None,
            contents: Contents::new(),
            answers,
            secret,
            _cgroups: cgroups,
            _programs: bpf,
        })
    }

    /// Judges by this table from now on; how long it took to be put in force is the caller's to measure.
    pub fn judge_by(&mut self, table: &Table) -> io::Result<()> {
        let (number, _) = self.policies.load(table)?;
        self.standings.judge_by(AGENT, Some(number), false);
        self.standings.set_lanes(AGENT, &table.lanes, self.secret);
        self.contents.clone_from(&table.contents);
        if let Some(old) = self.in_force.replace(number) {
            self.policies.release(old);
        }
        Ok(())
    }

    /// Which policy is in force: equal tables are one.
    pub fn in_force(&self) -> Option<u32> {
        self.in_force
    }

    /// Judges by nothing any more, and takes away what nobody is judged by; whether nothing is held then.
    pub fn judge_by_none(&mut self) -> bool {
        self.standings.judge_by(AGENT, None, false);
        if let Some(old) = self.in_force.take() {
            self.policies.release(old);
        }
        self.sweep();
        self.policies.is_empty()
    }

    /// What the agent's resolver was answered before is forgotten; then a packet comes, by Ethernet.
    pub fn receive(&mut self, packet: &[u8]) -> io::Result<()> {
        self.answers.begin(AGENT, &[])?;
        self.answers.try_on(packet)
    }

    /// Whether the address was given for the name.
    pub fn was_given(&self, address: [u8; 16], name: &str) -> bool {
        self.answers.names_of(AGENT, address).contains(&name_hash(self.secret, name.as_bytes()))
    }

    /// How many addresses were given for some name.
    pub fn given(&self) -> usize {
        self.answers.count(AGENT)
    }

    /// Takes away what nobody has been judged by for a while.
    pub fn sweep(&mut self) {
        self.policies.sweep(|_| false);
    }

    pub fn judge(&mut self, action: Action, object: Object<'_>, how: &Circumstances) -> io::Result<Said> {
        self.standings.set_facts(AGENT, how.facts);
        self.standings.set_risk(AGENT, how.risk);
        self.standings.change_labels(AGENT, u32::MAX, false);
        self.standings.change_labels(AGENT, how.labels, true);
        if let Object::Address { address, .. } = object {
            self.answers.put(AGENT, address, how.answered)?;
        }
        self.put_program(how.program, how.program_holds)?;
        let written = if how.written == Written::Yes { pair::WRITTEN } else { 0 };
        let about = self.put(object) | written;
        self.put_contents(object, how.holds);
        if let Limits::Counted { bytes, .. } = how.limits {
            // SAFETY: the mapped slot, which nobody else uses.
            unsafe { (*self.slot).walk.sent = bytes };
        }
        let what = u64::from(action as u8) | u64::from(about) << 8;
        sys::test_run(self.program.as_fd(), &[0, what])?;
        Ok(self.said())
    }

    /// What a hook would have found out about the acting program.
    fn put_program(&mut self, program: Program<'_>, holds: Holds) -> io::Result<()> {
        if let Program::Path(path) = program {
            self.put(Object::Path(path));
            self.put_contents(Object::Path(path), holds);
        }
        // SAFETY: the mapped slot, which nobody else uses.
        let slot = unsafe { &mut *self.slot };
        slot.walk.sets = Default::default();
        slot.walk.program = match program {
            Program::Path(_) => return sys::test_run(self.program.as_fd(), &[0, PROGRAM]).map(|_| ()),
            Program::Nameless => event::program::NAMELESS,
            Program::Unknown => event::program::UNKNOWN,
        }
        .into();
        Ok(())
    }

    /// What the object's file is known by, as it was read or as it is since it was changed.
    fn put_contents(&mut self, object: Object<'_>, holds: Holds) {
        let Object::Path(path) = object else { return };
        let read = self.contents.get(String::from_utf8_lossy(path).as_ref()).copied().flatten();
        let mut identity = read.map(|content| content.identity).unwrap_or_default();
        if holds == Holds::Unknown {
            identity.nanoseconds += 1;
        }
        // SAFETY: the mapped slot, which nobody else uses.
        let slot = unsafe { &mut *self.slot };
        slot.walk.first = 0;
        slot.walk.contents = identity.hash(self.secret);
    }

    /// Writes the object into the slot as a hook's walk would; what kind it is.
    fn put(&mut self, object: Object<'_>) -> u8 {
        // SAFETY: the mapped slot, which nobody else uses.
        let slot = unsafe { &mut *self.slot };
        slot.attempt.head.agent = AGENT;
        slot.attempt.generation = 0;
        slot.attempt.pairs = 0;
        slot.walk.left = 0;
        slot.walk.depth = 0;
        slot.walk.which = 0;
        let mut used = 0;
        let about = match object {
            Object::Path(path) => {
                let names: Vec<&[u8]> = components(path).collect();
                for (which, name) in names.iter().rev().enumerate().take(slot.walk.names.len()) {
                    slot.area[used..used + name.len()].copy_from_slice(name);
                    slot.walk.names[which] = used as u32 | (name.len() as u32) << 16;
                    slot.walk.depth += 1;
                    used += name.len() + 1;
                }
                0
            }
            Object::Address { address, port, protocol } => {
                slot.walk.address = address;
                slot.walk.port = port;
                slot.walk.protocol = protocol.into();
                slot.walk.namespace = self.answers.namespace(AGENT);
                pair::ADDRESS
            }
            Object::Abstract(name) => {
                slot.area[..name.len()].copy_from_slice(name);
                slot.walk.names[0] = (name.len() as u32) << 16;
                slot.walk.depth = 1;
                used = name.len();
                pair::UNIX
            }
            Object::Number(which) => {
                slot.walk.which = which.into();
                pair::BARE
            }
            Object::Nameless(_) => pair::NAMELESS,
            Object::Unknown => pair::UNKNOWN,
            Object::UnknownSocket => pair::UNKNOWN | pair::UNIX,
            Object::None | Object::OtherSocket => pair::BARE,
        };
        slot.attempt.sections = used.min(SECTION_ROOM) as u32;
        about
    }

    fn said(&self) -> Said {
        // SAFETY: the mapped slot; the program that wrote it has ended.
        let slot = unsafe { self.slot.read_volatile() };
        let found = slot.attempt.pair[0];
        let rule = |number: u16| (number != NO_RULE).then_some(number);
        let watched = (slot.walk.watched as usize).min(MAX_WATCHED);
        Said {
            refused: found.flags & pair::BLOCKED != 0,
            effect: found.effect,
            rule: rule(found.rule),
            would: rule(found.would),
            unknown: found.flags & pair::UNKNOWN != 0,
            by_program: found.program & event::program::DECIDES != 0,
            watched: slot.walk.watching[..watched].to_vec(),
        }
    }
}

fn own_cgroup() -> io::Result<u64> {
    let mount = agent::cgroup::mount_point().map_err(io::Error::other)?;
    cgroup::id(&mount.join(agent::cgroup::of(std::process::id())?))
}

fn map_slot(fd: i32) -> io::Result<*mut Slot> {
    let how = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh mapping of the map's first entry.
    let base = unsafe { libc::mmap(ptr::null_mut(), size_of::<Slot>(), how, libc::MAP_SHARED, fd, 0) };
    if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(base.cast()) }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `map_slot`.
        unsafe { libc::munmap(self.slot.cast(), size_of::<Slot>()) };
    }
}
