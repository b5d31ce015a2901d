//! What agents' own resolvers are answered: a program at each such agent's cgroup notes it; here is said whom an
//! agent is believed to be answered by, and which names an address was given for.

use std::{
    collections::HashMap,
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    io,
    net::{IpAddr, UdpSocket},
    os::{
        fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
};

use aya::{
    Ebpf,
    maps::{HashMap as KernelMap, MapData},
    programs::CgroupSkb,
};
use sensor_common::{
    answer::{Answer, AnswerKey, EVERYWHERE, MAX_NAMED, NAMES_OF_ONE, Resolvers, name_hash},
    hash::Secret,
};

use super::{
    AgentNo, Seen, clock,
    object::{LoadError, missing, refused, take},
    pins::Pins,
    pod::Pod,
    sys,
};
use crate::policy::octets;

/// What names the machine's resolvers.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Of a namespace's descriptor: the user namespace that it belongs to.
const NS_GET_USERNS: libc::c_ulong = 0xb701;

pub struct Answers {
    /// Named by the operator.
    servers: Vec<IpAddr>,
    program: OwnedFd,
    resolvers: KernelMap<MapData, u32, Pod<Resolvers>>,
    /// Network namespaces in which an agent may answer as a name server does.
    served: KernelMap<MapData, u32, u32>,
    answers: KernelMap<MapData, Pod<AnswerKey>, Pod<Answer>>,
    secret: Secret,
    /// By agent: its policy's host names by their hashes.
    names: HashMap<AgentNo, HashMap<u64, String>>,
    /// Dropping a link that is not pinned detaches the program from that cgroup.
    links: HashMap<AgentNo, OwnedFd>,
}

impl Answers {
    pub fn new(bpf: &mut Ebpf, secret: Secret, servers: Vec<IpAddr>) -> Result<Answers, LoadError> {
        let program: &mut CgroupSkb = bpf
            .program_mut("answers")
            .ok_or_else(|| missing("program answers".to_owned()))?
            .try_into()
            .map_err(refused("program answers"))?;
        program.load().map_err(refused("loading program answers"))?;
        let program = program.fd().map_err(refused("program answers"))?.as_fd().try_clone_to_owned();
        let program = program.map_err(refused("program answers"))?;
        let mut served = KernelMap::try_from(take(bpf, "SERVED")?).map_err(refused("map SERVED"))?;
        // Once in the life of the maps that daemons share.
        if served.get(&EVERYWHERE, 0).is_err() {
            served.insert(EVERYWHERE, 0, 0).map_err(refused("map SERVED"))?;
        }
        Ok(Answers {
            servers,
            program,
            resolvers: KernelMap::try_from(take(bpf, "RESOLVERS")?).map_err(refused("map RESOLVERS"))?,
            served,
            answers: KernelMap::try_from(take(bpf, "ANSWERS")?).map_err(refused("map ANSWERS"))?,
            secret,
            names: HashMap::new(),
            links: HashMap::new(),
        })
    }

    /// For tests: runs the program on a packet that came to a socket of this process, by Ethernet.
    pub(super) fn try_on(&self, packet: &[u8]) -> io::Result<()> {
        sys::test_run_on(self.program.as_fd(), packet)
    }

    /// For tests: what the address was given for, just now.
    pub(super) fn put(&mut self, agent: AgentNo, address: [u8; 16], names: &[String]) -> io::Result<()> {
        let mut answer = Answer { at: [clock::uptime(); NAMES_OF_ONE], ..Answer::default() };
        for (place, name) in answer.names.iter_mut().zip(names) {
            *place = name_hash(self.secret, name.as_bytes());
        }
        let key = self.key(agent, address).ok_or_else(|| io::Error::other("the agent has not begun"))?;
        self.answers.insert(Pod(key), Pod(answer), 0).map_err(io::Error::other)
    }

    /// For tests: where the agent's answers count.
    pub(super) fn namespace(&self, agent: AgentNo) -> u32 {
        self.resolvers.get(&agent, 0).map_or(0, |from| from.0.namespace)
    }

    /// For tests: how many addresses were given to the agent.
    pub(super) fn count(&self, agent: AgentNo) -> usize {
        let run = self.resolvers.get(&agent, 0).map_or(0, |from| from.0.run);
        self.answers.keys().flatten().filter(|key| (key.0.agent, key.0.run) == (agent, run)).count()
    }

    fn key(&self, agent: AgentNo, address: [u8; 16]) -> Option<AnswerKey> {
        let Pod(from) = self.resolvers.get(&agent, 0).ok()?;
        Some(AnswerKey { address, agent, run: from.run })
    }

    /// The hashes of the names that the address was given to the agent for.
    pub(super) fn names_of(&self, agent: AgentNo, address: [u8; 16]) -> Vec<u64> {
        let answer = self.key(agent, address).and_then(|key| self.answers.get(&Pod(key), 0).ok());
        let Some(Pod(answer)) = answer else { return Vec::new() };
        let now = clock::uptime();
        (0..NAMES_OF_ONE).filter(|which| answer.stands(*which, now)).map(|which| answer.names[which]).collect()
    }

    /// The host names that the agent's policy speaks of from now on.
    pub fn ask<'a>(&mut self, agent: AgentNo, names: impl Iterator<Item = &'a str>) {
        let hashed = names.map(|name| (name_hash(self.secret, name.as_bytes()), name.to_owned()));
        self.names.insert(agent, hashed.collect());
    }

    /// Nobody is governed: no agent answers anybody.
    pub fn begin_anew(&mut self) -> io::Result<()> {
        let all: Vec<u32> = self.served.keys().flatten().filter(|namespace| *namespace != EVERYWHERE).collect();
        for namespace in all {
            let _ = self.served.remove(&namespace);
        }
        self.served.insert(EVERYWHERE, 0, 0).map_err(io::Error::other)
    }

    /// Says whom a new agent is believed to be answered by; `members` are the processes that it has already.
    pub fn begin(&mut self, agent: AgentNo, members: &[u32]) -> io::Result<()> {
        let own = own_namespace();
        // Read anew for each: a machine comes to another network.
        let machine = fs::read_to_string(RESOLV_CONF).unwrap_or_default();
        let namespace = if members.is_empty() { own } else { namespace_of(members, own) };
        let run = RandomState::new().hash_one(agent) as u32;
        let mut value = Resolvers { namespace: namespace.unwrap_or(0), run, ..Resolvers::default() };
        let all = named_servers(&machine).chain(self.servers.iter().copied());
        // In a container's namespace the loopback is the container's, and so is whoever answers there.
        let believed = all.filter(|server| namespace == own || !server.is_loopback());
        for (number, (place, server)) in value.servers.iter_mut().zip(believed).enumerate() {
            *place = octets(server);
            value.count += 1;
            if namespace == own && UdpSocket::bind((server, 0)).is_ok() {
                value.local |= 1 << number;
            }
        }
        self.resolvers.insert(agent, Pod(value), 0).map_err(io::Error::other)
    }

    /// Reads what comes to the agent's cgroup, if its policy speaks of host names.
    pub fn listen(&mut self, agent: AgentNo, cgroup: &Path, pins: Option<&Pins>) -> io::Result<()> {
        if self.names.get(&agent).is_none_or(HashMap::is_empty) || self.links.contains_key(&agent) {
            return Ok(());
        }
        let directory = match File::open(cgroup) {
            Ok(directory) => directory,
            // It is over already.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let link = sys::attach_ingress(self.program.as_fd(), directory.as_fd())?;
        if let Some(pins) = pins {
            pins.pin(&pin(agent), link.as_fd())?;
        }
        self.links.insert(agent, link);
        Ok(())
    }

    /// Adds to what was seen for which of the policy's names its address was given.
    pub fn tell(&self, seen: &mut Seen) {
        let Some(names) = self.names.get(&seen.agent).filter(|names| !names.is_empty()) else { return };
        let Some(address) = seen.address() else { return };
        let given = self.names_of(seen.agent, address);
        seen.answered = given.iter().filter_map(|name| names.get(name).cloned()).collect();
        seen.answered.sort_unstable();
    }

    /// The agent's run is over.
    pub fn forget(&mut self, agent: AgentNo, pins: Option<&Pins>) -> io::Result<()> {
        self.names.remove(&agent);
        // Of what it was answered the oldest gives way; nobody else has its run's number.
        let _ = self.resolvers.remove(&agent);
        match (self.links.remove(&agent), pins) {
            (Some(_), Some(pins)) => pins.unpin(&pin(agent)),
            _ => Ok(()),
        }
    }

    /// These agents are believed to be answered by nobody.
    pub fn forget_all(&mut self, which: impl Fn(AgentNo) -> bool) {
        let gone: Vec<AgentNo> = self.resolvers.keys().flatten().filter(|agent| which(*agent)).collect();
        for agent in gone {
            let _ = self.resolvers.remove(&agent);
        }
    }
}

fn own_namespace() -> Option<u32> {
    number(&File::open("/proc/self/ns/net").ok()?)
}

fn number(namespace: &File) -> Option<u32> {
    u32::try_from(namespace.metadata().ok()?.ino()).ok()
}

/// The one network namespace of all these processes. One that they could have made themselves, with whom they like to
/// answer in it, is none.
fn namespace_of(members: &[u32], own: Option<u32>) -> Option<u32> {
    let mut found = None;
    for pid in members {
        // One that has ended meanwhile is nowhere.
        let Ok(namespace) = File::open(Path::new("/proc").join(pid.to_string()).join("ns/net")) else { continue };
        let number = number(&namespace)?;
        if *found.get_or_insert(number) != number || Some(number) != own && !is_of_the_machines_users(&namespace) {
            return None;
        }
    }
    found
}

/// Whether the namespace is of the user namespace that the daemon is in: whoever made it was root here.
fn is_of_the_machines_users(namespace: &File) -> bool {
    // SAFETY: asks for a descriptor, and takes nothing.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if owner < 0 {
        return false;
    }
    // SAFETY: the kernel just made this descriptor for us.
    let owner = unsafe { File::from_raw_fd(owner) };
    let own = fs::metadata("/proc/self/ns/user");
    matches!((owner.metadata(), own), (Ok(owner), Ok(own)) if owner.ino() == own.ino())
}

fn pin(agent: AgentNo) -> String {
    format!("answers-{agent}")
}

/// The servers of a `resolv.conf`.
fn named_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    let values = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        // An address of one link alone bears its name: `fe80::1%eth0`.
        (words.next() == Some("nameserver")).then(|| words.next()?.split('%').next()?.parse().ok())?
    });
    values.take(MAX_NAMED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_one_that_root_has_made() {
        let own = own_namespace();
        let this = std::process::id();
        assert!(own.is_some());
        assert_eq!(namespace_of(&[this, this], own), own);
        // Nobody has this number.
        assert_eq!(namespace_of(&[u32::MAX], own), None);
        assert_eq!(namespace_of(&[u32::MAX, this], own), own);
        let apart = |how: &str| {
            let mut command = std::process::Command::new("unshare");
            let child = command.args([how, "sh", "-c", "echo; exec sleep 60"]).stdout(std::process::Stdio::piped());
            let mut child = child.spawn().unwrap();
            // Once it says something it is there.
            io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut [0]).unwrap();
            let found = (namespace_of(&[child.id()], own), namespace_of(&[this, child.id()], own));
            child.kill().and_then(|()| child.wait()).unwrap();
            found
        };
        let (alone, beside) = apart("-n");
        assert!(alone.is_some() && alone != own && beside.is_none(), "{alone:?}, {beside:?}");
        assert_eq!(apart("-Urn"), (None, None), "made by whom it serves");
    }

    #[test]
    fn servers_are_those_that_are_named() {
        let text = "# made\nnameserver 127.0.0.53\n nameserver fe80::1%eth0 ; first\nsearch nameserver\nnameserver\nnameserver x\noptions ndots:1\nnameserver ::1\n";
        let servers: Vec<String> = named_servers(text).map(|server| server.to_string()).collect();
        assert_eq!(servers, ["127.0.0.53", "fe80::1", "::1"]);
        assert_eq!(named_servers(&"nameserver 10.0.0.1\n".repeat(9)).count(), MAX_NAMED);
        assert_eq!(named_servers("").count(), 0);
    }
}
