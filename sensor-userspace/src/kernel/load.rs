//! Loading the kernel side, and its maps as the daemon uses them.

use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    io,
    net::IpAddr,
    os::fd::{AsFd as _, RawFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use aya::{
    Ebpf, EbpfLoader,
    maps::{Array, HashMap as KernelMap, Map, MapData, PerCpuArray, RingBuf},
};
use aya_obj::{Object, btf::Btf};
use sensor_common::{
    event::{Account, Active, Count, Fault, MAX_AGENTS, Mark, Ring},
    guard::{NONE_IN_FORCE, kind},
    hash::Secret,
};

use super::{
    AgentNo, Event, Probe, Standing, Totals,
    above::Above,
    accounts::Accounts,
    answers::Answers,
    capture::Capture,
    cgroup, clock,
    counts::Counts,
    decode::{self, Reader},
    enforce::{self, Enforcer},
    filesystems::Filesystems,
    hooks,
    object::{LoadError, OBJECT, borrow, descriptor, load_raw_tracepoint, policy_maps, refused, set, standings, take},
    pending::Slots,
    pins::{GOVERNED, Pins, SHARED},
    pod::Pod,
    policies::Policies,
    rings, tables,
    written::Written,
};
use crate::{
    attempt::Mode,
    policy::{self as language},
};

/// A task's mark goes with its memory, moments after its process. What is there after this was not seen to end.
const UNSEEN: Duration = Duration::from_secs(5);

#[derive(Clone, Debug)]
pub struct Options {
    /// After this an attempt is told without its result.
    pub outcome_wait: Duration,
    /// Enforcement is to outlive the daemon.
    pub pin: bool,
    /// Places of filesystems by number, as the daemon before knew them.
    pub places: Vec<Vec<u8>>,
    /// Name servers whose answers to agents are believed, beside the machine's own.
    pub servers: Vec<IpAddr>,
}

impl Default for Options {
    fn default() -> Options {
        Options { outcome_wait: Duration::from_millis(200), pin: false, places: Vec::new(), servers: Vec::new() }
    }
}

/// The number of the agent that tries denials.
pub(super) const CANARY: AgentNo = MAX_AGENTS - 1;

pub struct Sensor {
    /// Lives as long as its programs are wanted.
    _programs: Ebpf,
    pub(super) capture: Capture,
    /// None: enforcement ends with the daemon.
    pub(super) pins: Option<Pins>,
    pub(super) active: Array<MapData, Pod<Active>>,
    pub(super) accounts: Accounts,
    pub(super) marks: KernelMap<MapData, u64, Pod<Mark>>,
    pub(super) cgroups: KernelMap<MapData, u64, u32>,
    counts: PerCpuArray<MapData, Pod<Count>>,
    faults: PerCpuArray<MapData, u64>,
    pub(super) rings: rings::Rings,
    slots: Slots,
    pub(super) governed: HashMap<AgentNo, PathBuf>,
    /// Counters as they stood when the agent's number was given.
    pub(super) before: HashMap<(AgentNo, Ring), Totals>,
    options: Options,
    looked_for_pending: u64,
    /// Since when nobody is governed.
    idle_since: Option<Instant>,
    pub(super) enforcer: Enforcer,
    /// None where nothing judges by them.
    pub(super) answers: Option<Answers>,
    standing: Standing,
}

impl Sensor {
    pub fn load(options: &Options) -> Result<Sensor, LoadError> {
        if OBJECT.is_empty() {
            return Err(LoadError::NoObject);
        }
        let types = Btf::from_sys_fs().map_err(|error| LoadError::NoBtf(error.to_string()))?;
        let mut notes = Vec::new();
        let pins = pins(options.pin, &mut notes)?;
        let mut loader = EbpfLoader::new();
        loader.btf(Some(&types));
        for name in SHARED {
            if let Some(pins) = &pins {
                loader.map_pin_path(name, pins.map(name));
            }
        }
        let mut bpf = loader.load(OBJECT).map_err(refused("loading the kernel object"))?;
        tables::fill(&mut bpf)?;
        let inherited = pins.as_ref().is_some_and(Pins::inherited);
        let generation = pins.as_ref().map_or(1, Pins::generation);
        set(&mut bpf, "OWN_GENERATION", generation)?;
        if !inherited {
            tables::fill_shared(&mut bpf)?;
            set(&mut bpf, "ACTIVE", Pod(Active { generation, reserved: 0 }))?;
        }
        let mut capture = Capture::load(&mut bpf)?;
        // At once, though nobody is governed yet: a tracepoint that is refused is told at start.
        capture.attach(pins.as_ref())?;
        if let (Some(pins), Map::Array(data)) = (&pins, borrow(&mut bpf, GOVERNED)?) {
            pins.pin(GOVERNED, data.fd().as_fd()).map_err(refused("pinning map GOVERNED"))?;
        }
        let first = u64::from(generation) << 32;
        let mut enforcer = enforcer(&mut bpf, &types, options.places.clone(), first)?;
        enforcer.notes.extend(notes);
        if let Some(pins) = &pins {
            enforcer.pin(pins).map_err(refused("pinning the hooks"))?;
        }
        let answers = match enforcer.mode {
            Mode::Observe => None,
            _ => Answers::new(&mut bpf, enforcer.secret(), options.servers.clone())
                .inspect_err(|error| {
                    enforcer.notes.push(format!("what agents' own resolvers say is not known: {error}"))
                })
                .ok(),
        };
        let slots = match take(&mut bpf, "SLOTS")? {
            Map::Array(data) => Slots::map(data.fd().as_fd()).map_err(refused("mapping the slots"))?,
            _ => return Err(LoadError::Refused { what: "map SLOTS".into(), cause: "is no array".into() }),
        };
        let accounts = match take(&mut bpf, "ACCOUNTS")? {
            Map::Array(data) => Accounts::map(data.fd().as_fd()).map_err(refused("mapping the accounts"))?,
            _ => return Err(LoadError::Refused { what: "map ACCOUNTS".into(), cause: "is no array".into() }),
        };
        let mut ring = |name: &str| -> Result<RingBuf<MapData>, LoadError> {
            RingBuf::try_from(take(&mut bpf, name)?).map_err(refused(name))
        };
        let rings = rings::Rings::new(ring("RARE")?, ring("FLOOD")?);
        Ok(Sensor {
            marks: KernelMap::try_from(take(&mut bpf, "MARKS")?).map_err(refused("map MARKS"))?,
            cgroups: KernelMap::try_from(take(&mut bpf, "CGROUPS")?).map_err(refused("map CGROUPS"))?,
            counts: PerCpuArray::try_from(take(&mut bpf, "COUNTS")?).map_err(refused("map COUNTS"))?,
            faults: PerCpuArray::try_from(take(&mut bpf, "FAULT_COUNTS")?).map_err(refused("map FAULT_COUNTS"))?,
            rings,
            slots,
            governed: HashMap::new(),
            before: HashMap::new(),
            options: options.clone(),
            looked_for_pending: 0,
            idle_since: None,
            standing: Standing {
                mode: enforcer.mode,
                degraded: enforcer.degraded,
                notes: enforcer.notes.clone(),
                hooks: enforcer.hooks().to_vec(),
            },
            enforcer,
            answers,
            active: Array::try_from(take(&mut bpf, "ACTIVE")?).map_err(refused("map ACTIVE"))?,
            accounts,
            _programs: bpf,
            capture,
            pins,
        })
    }

    /// Tries a denial, in a scratch cgroup: the errno that it met, EACCES if it denied. None where nothing can deny.
    pub fn try_denial(&mut self, scratch_cgroup: &Path, scratch_file: &Path) -> io::Result<Option<i32>> {
        if self.standing.mode == Mode::Observe {
            return Ok(None);
        }
        let deny = "version: 1\nname: canary\nmode: enforce\nrules:\n  - id: CANARY\n    deny: file.delete\n";
        let mut table = language::parse("canary", deny)
            .and_then(|policy| policy.compile(&language::Variables::default()))
            .map_err(|errors| io::Error::other(format!("the canary's policy: {errors}")))?;
        // The rule is to refuse, not the guard.
        table.kernel.relaxed = NONE_IN_FORCE;
        let met = self
            .govern(CANARY, scratch_cgroup)
            .and_then(|()| self.set_policy(CANARY, &table, false))
            .and_then(|_| enforce::canary(scratch_cgroup, scratch_file, || Ok(())));
        self.release(CANARY)?;
        met.map(Some)
    }

    /// Proves that a denial denies; gives up denying where it does not.
    pub fn prove(&mut self, scratch_cgroup: &Path, scratch_file: &Path) -> io::Result<()> {
        let met = self.try_denial(scratch_cgroup, scratch_file)?;
        if let Some(met) = met.filter(|met| *met != libc::EACCES) {
            let reason = format!(
                "hooks by {} were attached, but a denial did not deny (errno {met}): observing only",
                self.standing.mode.name()
            );
            self.enforcer.give_up(reason, self.pins.as_ref());
            self.standing.mode = Mode::Observe;
            self.standing.notes = self.enforcer.notes.clone();
            self.standing.hooks.clear();
        }
        Ok(())
    }

    /// Puts a policy in force for an agent, whole, at one moment. Without hooks there is nothing to do.
    /// Its generation, which attempts bear that it judged; 0 where nothing judges.
    pub fn set_policy(&mut self, agent: AgentNo, table: &language::Table, observe: bool) -> io::Result<u64> {
        let pins = self.pins.as_ref().filter(|pins| pins.inherited());
        let stood = pins.and_then(|pins| pins.stood_before(agent));
        let generation = self.enforcer.set_policy(agent, table, observe, stood, self.pins.as_ref())?;
        if let Some(answers) = &mut self.answers {
            answers.ask(agent, table.answered.keys().map(String::as_str));
        }
        self.listen(agent);
        Ok(generation)
    }

    /// Reads what the agent's resolver is answered, once its cgroup is known.
    pub(super) fn listen(&mut self, agent: AgentNo) {
        let (Some(answers), Some(cgroup)) = (&mut self.answers, self.governed.get(&agent)) else { return };
        if let Err(error) = answers.listen(agent, cgroup, self.pins.as_ref()) {
            // What the daemon's own resolver says holds all the same.
            tracing::warn!("{}: what its resolver is answered is not read: {error}", cgroup.display());
        }
    }

    /// The process came into the agent with descriptors of its own.
    pub fn inherit(&self, agent: AgentNo, pid: u32) {
        self.enforcer.written.inherit(agent, pid);
    }

    /// Guards a directory or a file of rgt's from the next policy on; `keys`: its reading as well.
    pub fn guard_place(&mut self, path: &Path, keys: bool) {
        self.enforcer.filesystems.guard(path, if keys { kind::KEYS } else { kind::OWN });
    }

    /// Whether an attempt under way may be judged by this generation.
    pub fn holds_policy(&self, generation: u64) -> bool {
        self.enforcer.holds(generation)
    }

    /// How the agent stands from now on; labels are added, for the kernel side sets some itself.
    pub fn stand(&mut self, agent: AgentNo, how: &language::Circumstances) {
        let standings = &mut self.enforcer.standings;
        standings.set_facts(agent, how.facts);
        standings.set_risk(agent, how.risk);
        standings.change_labels(agent, how.labels, true);
    }

    /// Labels that are no longer set, a bit each.
    pub fn forget_labels(&mut self, agent: AgentNo, labels: u32) {
        self.enforcer.standings.change_labels(agent, labels, false);
    }

    pub fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(super) fn hook_probes(&self) -> Vec<Probe> {
        self.enforcer.probes()
    }

    /// Makes a cgroup, with all below it now and later, an agent's.
    pub fn govern(&mut self, agent: AgentNo, path: &Path) -> io::Result<()> {
        if agent >= MAX_AGENTS {
            return Err(io::Error::other(format!("agent number {agent}: at most {MAX_AGENTS} agents at once")));
        }
        self.idle_since = None;
        // Before a task is marked: none of its calls may go unseen.
        self.capture.attach(self.pins.as_ref()).map_err(io::Error::other)?;
        for ring in [Ring::Rare, Ring::Flood] {
            let totals = self.absolute(agent, ring)?;
            let account = Account { made_before: totals.made, dropped_before: totals.dropped, ..Account::default() };
            self.accounts.set(agent, ring, account);
            self.before.insert((agent, ring), totals);
        }
        // A cgroup made meanwhile below one that is in already is added by the kernel side itself;
        // below one that is not, by the next round.
        let mut known = 0;
        let members: Vec<u32> = loop {
            let subtree = cgroup::subtree(path);
            for directory in &subtree {
                match cgroup::id(directory) {
                    Ok(id) => self.cgroups.insert(id, agent, 0).map_err(io::Error::other)?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound && directory != path => {}
                    Err(error) => return Err(error),
                }
            }
            if subtree.len() == known {
                subtree.iter().for_each(|directory| cgroup::touch_threads(directory));
                break subtree.iter().flat_map(|directory| cgroup::processes(directory)).collect();
            }
            known = subtree.len();
        };
        members.iter().for_each(|pid| self.inherit(agent, *pid));
        if let Some(answers) = &mut self.answers {
            if self.governed.is_empty() && self.marks.keys().next().is_none() {
                answers.begin_anew()?;
            }
            answers.begin(agent, &members)?;
        }
        self.governed.insert(agent, path.to_path_buf());
        self.listen(agent);
        Ok(())
    }

    /// The agent is over: its cgroups are nobody's from now on, its policy is dropped.
    pub fn release(&mut self, agent: AgentNo) -> io::Result<()> {
        self.governed.remove(&agent);
        self.enforcer.release(agent);
        let ids: Vec<u64> =
            self.cgroups.iter().flatten().filter(|(_, owner)| *owner == agent).map(|(id, _)| id).collect();
        for id in ids {
            // One whose directory went away is gone from the map already.
            let _ = self.cgroups.remove(&id);
        }
        match &mut self.answers {
            Some(answers) => answers.forget(agent, self.pins.as_ref()),
            None => Ok(()),
        }
    }

    /// Detaches what captures, once no agent is left and no task bears a mark: an exit that went unseen would
    /// leave a mark to whichever task gets that address next.
    pub fn rest(&mut self) -> io::Result<()> {
        if !self.capture.is_attached() || !self.governed.is_empty() {
            self.idle_since = None;
            return Ok(());
        }
        if self.idle_since.get_or_insert_with(Instant::now).elapsed() >= UNSEEN {
            self.forget_the_dead();
        }
        if self.marks.keys().next().is_some() {
            return Ok(());
        }
        self.idle_since = None;
        self.capture.detach(self.pins.as_ref())
    }

    /// Takes away the marks of processes that are no more. Where the kernel skips programs an exit goes unseen, and
    /// nobody else would; the task's slot stays taken.
    fn forget_the_dead(&mut self) {
        let marks = self.marks.iter().flatten();
        let gone = marks.filter(|(_, mark)| !Path::new(&format!("/proc/{}", mark.0.pid)).exists());
        let tasks: Vec<u64> = gone.map(|(task, _)| task).collect();
        for task in tasks {
            // One that went away meanwhile was seen after all.
            let _ = self.marks.remove(&task);
        }
    }

    /// Waits up to `timeout` for events, then hands on those that are ripe, in the kernel's order.
    pub fn drain(&mut self, timeout: Duration, each: &mut dyn FnMut(Event)) -> io::Result<()> {
        let watched = (self.standing.mode != Mode::Observe).then(|| self.enforcer.filesystems.watch());
        let moved = self.rings.wait(timeout, watched)?;
        if watched.is_some() {
            self.enforcer.filesystems.prune(moved)?;
        }
        let filesystems = &self.enforcer.filesystems;
        let place = |number| filesystems.place(number).map(<[u8]>::to_vec);
        let reader = Reader { clock_offset: clock::wall_offset_ns(), place: &place };
        let answers = &self.answers;
        let each = &mut |event| each(told(answers.as_ref(), event));
        self.rings.take(false, &mut |bytes| decode::event(&bytes, &reader, each));
        let now = clock::monotonic_ns();
        let wait = self.options.outcome_wait.as_nanos() as u64;
        if now.saturating_sub(self.looked_for_pending) >= wait / 4 {
            self.looked_for_pending = now;
            self.slots.longer_than(now.saturating_sub(wait), &mut |bytes| {
                if let Some(seen) = decode::attempt(bytes, true, &reader) {
                    each(Event::Attempt(Box::new(seen)));
                }
            });
        }
        self.enforcer.sweep(|generation| self.slots.judged_by(generation), self.pins.as_ref())
    }

    /// Hands on everything that was made up to now.
    pub fn drain_all(&mut self, each: &mut dyn FnMut(Event)) -> io::Result<()> {
        let filesystems = &self.enforcer.filesystems;
        let place = |number| filesystems.place(number).map(<[u8]>::to_vec);
        let reader = Reader { clock_offset: clock::wall_offset_ns(), place: &place };
        let answers = &self.answers;
        let each = &mut |event| each(told(answers.as_ref(), event));
        while self.rings.take(false, &mut |bytes| decode::event(&bytes, &reader, each)) {}
        while self.rings.take(true, &mut |bytes| decode::event(&bytes, &reader, each)) {}
        Ok(())
    }

    fn absolute(&self, agent: AgentNo, ring: Ring) -> io::Result<Totals> {
        let values = self.counts.get(&(agent * 2 + ring as u32), 0).map_err(io::Error::other)?;
        Ok(Totals {
            made: values.iter().map(|count| count.0.made).sum(),
            dropped: values.iter().map(|count| count.0.dropped).sum(),
            received: self.rings.received(agent, ring),
        })
    }

    /// What was made, dropped and received since the agent was registered; exact after `drain_all`
    /// once the agent's tasks have ended.
    pub fn totals(&mut self, agent: AgentNo, ring: Ring) -> io::Result<Totals> {
        let now = self.absolute(agent, ring)?;
        let before = self.before.get(&(agent, ring)).copied().unwrap_or_default();
        Ok(Totals {
            made: now.made - before.made,
            dropped: now.dropped - before.dropped,
            // What earlier daemons received counts as received before.
            received: now.received.wrapping_sub(before.received),
        })
    }

    /// Counts of what the kernel side could not do, by name.
    pub fn faults(&self) -> io::Result<Vec<(Fault, u64)>> {
        Fault::ALL
            .into_iter()
            .map(|fault| {
                let values = self.faults.get(&(fault as u32), 0).map_err(io::Error::other)?;
                Ok((fault, values.iter().sum()))
            })
            .collect()
    }

    /// How often the kernel skipped a program, of any process's, since this daemon loaded it.
    pub fn skipped(&self) -> io::Result<u64> {
        Ok(self.capture.skipped()? + self.enforcer.skipped()?)
    }

    /// Tasks that bear the agent's mark now.
    pub fn live_tasks(&mut self, agent: AgentNo) -> u32 {
        self.marks.iter().flatten().filter(|(_, mark)| mark.0.agent == agent).count() as u32
    }
}

/// With what the agent's own resolver had told of the address.
fn told(answers: Option<&Answers>, mut event: Event) -> Event {
    if let (Some(answers), Event::Attempt(seen)) = (answers, &mut event) {
        answers.tell(seen);
    }
    event
}

/// Room for what is to outlive the daemon. Where there is none the reason is told, and all is as without.
fn pins(wanted: bool, notes: &mut Vec<String>) -> Result<Option<Pins>, LoadError> {
    if !wanted {
        return Ok(None);
    }
    let object = Object::parse(OBJECT).map_err(refused("reading the kernel object"))?;
    match Pins::open(&object) {
        Ok(pins) => Ok(Some(pins)),
        Err(error) => {
            notes.push(format!("enforcement ends with the daemon, for nothing can be pinned: {error}"));
            Ok(None)
        }
    }
}

fn enforcer(bpf: &mut Ebpf, types: &Btf, places: Vec<Vec<u8>>, first_generation: u64) -> Result<Enforcer, LoadError> {
    let fds: HashMap<String, RawFd> =
        bpf.maps().filter_map(|(name, map)| Some((name.to_owned(), descriptor(map)?))).collect();
    let describe = load_raw_tracepoint(bpf, "describe")?;
    let notes = describe.try_clone().map_err(refused("program describe"))?;
    let secret = secret(bpf)?;
    // Hooks name maps by descriptor: those taken here live on in the enforcer.
    let filesystems = Filesystems::new(
        KernelMap::try_from(take(bpf, "FILESYSTEMS")?).map_err(refused("map FILESYSTEMS"))?,
        Array::try_from(take(bpf, "ROOTS")?).map_err(refused("map ROOTS"))?,
        Array::try_from(take(bpf, "DESCRIBED")?).map_err(refused("map DESCRIBED"))?,
        describe,
        Above::new(KernelMap::try_from(take(bpf, "ABOVE")?).map_err(refused("map ABOVE"))?),
        secret,
        places,
    )
    .map_err(refused("watching the mounts"))?;
    let standings = standings(bpf)?;
    let mut policies = Policies::new(policy_maps(bpf)?, secret);
    policies.count_from(first_generation);
    let written = KernelMap::try_from(take(bpf, "WRITTEN")?).map_err(refused("map WRITTEN"))?;
    let written = Written::new(written, notes);
    let counts = KernelMap::try_from(take(bpf, "COUNTED")?).map_err(refused("map COUNTED"))?;
    let counts = Counts::new(counts);
    let from = hooks::Source { object: OBJECT, types, maps: &fds };
    Enforcer::new(&from, standings, policies, filesystems, written, counts).map_err(refused("preparing enforcement"))
}

/// What names are hashed with: the daemon's before, where there was one, for objects that limits have counted go by it.
fn secret(bpf: &mut Ebpf) -> Result<Secret, LoadError> {
    let map = Array::<_, Pod<Secret>>::try_from(borrow(bpf, "SECRET")?).map_err(refused("map SECRET"))?;
    let Pod(before) = map.get(&0, 0).map_err(refused("map SECRET"))?;
    // Its key is odd once there is one.
    if before.key != 0 {
        return Ok(before);
    }
    let secret = Secret::new(RandomState::new().hash_one(std::process::id()));
    set(bpf, "SECRET", Pod(secret))?;
    Ok(secret)
}
