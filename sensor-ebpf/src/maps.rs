//! Every map, in one place.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LpmTrie, LruHashMap, PerCpuArray, Queue, RingBuf},
};
use sensor_common::{
    answer::{ALL_HOSTS, Answer, AnswerKey, HostKey, MAX_ANSWERS, MAX_SERVED, Resolvers},
    event::{
        Above, Account, Active, Count, Described, FAULTS, Filesystem, Governed, MAX_ABOVE, MAX_AGENTS, MAX_SLOTS,
        MAX_TASKS, MAX_WRITTEN, Mark, ROOT_BITS, Slot, WrittenKey,
    },
    hash::Secret,
    syscalls::{MAX_NR, Spec},
    table::{
        ALL_CANDIDATES, ALL_CELLS, ALL_EDGES, ALL_NETWORKS, ALL_RULES, ALL_STATES, Candidate, CountKey, EdgeKey,
        MAX_COUNTS, MAX_POLICIES, NetworkKey, Policy, Range, Rule, State,
    },
};

const MMAPABLE: u32 = 1024;
/// Entries take memory when they are made.
const NO_PREALLOC: u32 = 1;

/// Task's address → whose it is. Entries are made at fork, join and move, and removed at the task's end.
#[map]
pub static MARKS: HashMap<u64, Mark> = HashMap::with_max_entries(MAX_TASKS, 0);

/// Cgroup id → agent's number.
#[map]
pub static CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(16_384, 0);

/// By number: the 64-bit and the 32-bit call.
#[map]
pub static SPECS: Array<[Spec; 2]> = Array::with_max_entries(MAX_NR, 0);

/// Attempts under way; mapped by the daemon, which looks for those that take long.
#[map]
pub static SLOTS: Array<Slot> = Array::with_max_entries(MAX_SLOTS, MMAPABLE);

/// Numbers of free slots.
#[map]
pub static FREE: Queue<u32> = Queue::with_max_entries(MAX_SLOTS, 0);

/// By agent × 2 + ring.
#[map]
pub static COUNTS: PerCpuArray<Count> = PerCpuArray::with_max_entries(MAX_AGENTS * 2, 0);

#[map]
pub static FAULT_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(FAULTS, 0);

#[map]
pub static RARE: RingBuf = RingBuf::with_byte_size(4 << 20, 0);

#[map]
pub static FLOOD: RingBuf = RingBuf::with_byte_size(32 << 20, 0);

/// A syscall's columns by its id.
#[map]
pub static BY_ID: Array<Spec> = Array::with_max_entries(256, 0);

/// Agent → what it is judged by; the daemon maps it, so that facts and risk change without a call.
#[map]
pub static GOVERNED: Array<Governed> = Array::with_max_entries(MAX_AGENTS, MMAPABLE);

#[map]
pub static POLICIES: Array<Policy> = Array::with_max_entries(MAX_POLICIES, 0);

#[map]
pub static RULES: Array<Rule> = Array::with_max_entries(ALL_RULES, 0);

#[map]
pub static STATES: Array<State> = Array::with_max_entries(ALL_STATES, 0);

/// State and name → the state behind it.
#[map]
pub static EDGES: HashMap<EdgeKey, u32> = HashMap::with_max_entries(ALL_EDGES, NO_PREALLOC);

#[map]
pub static CANDIDATES: Array<Candidate> = Array::with_max_entries(ALL_CANDIDATES, 0);

/// Automata over bytes, and filters of names.
#[map]
pub static CELLS: Array<u64> = Array::with_max_entries(ALL_CELLS, 0);

#[map]
pub static NETWORKS: LpmTrie<NetworkKey, Range> = LpmTrie::with_max_entries(ALL_NETWORKS, NO_PREALLOC);

/// Host names of policies → what each offers for an address that it was answered with.
#[map]
pub static HOSTS: HashMap<HostKey, Range> = HashMap::with_max_entries(ALL_HOSTS, NO_PREALLOC);

/// Agent → whom it is believed to be answered by.
#[map]
pub static RESOLVERS: HashMap<u32, Resolvers> = HashMap::with_max_entries(MAX_AGENTS, 0);

/// Network namespaces in which an agent may answer as a name server does.
#[map]
pub static SERVED: HashMap<u32, u32> = HashMap::with_max_entries(MAX_SERVED, NO_PREALLOC);

/// What agents' resolvers were answered.
#[map]
pub static ANSWERS: LruHashMap<AnswerKey, Answer> = LruHashMap::with_max_entries(MAX_ANSWERS, 0);

/// Address of a root's inode → where that filesystem, or subtree, stands.
#[map]
pub static FILESYSTEMS: HashMap<u64, Filesystem> = HashMap::with_max_entries(4_096, 0);

/// Which inodes may be such roots, by `root_bit`: most are not, and need not be looked for.
#[map]
pub static ROOTS: Array<u64> = Array::with_max_entries(ROOT_BITS / 64, 0);

/// Address of an inode → what moving that directory or link would break.
#[map]
pub static ABOVE: HashMap<u64, Above> = HashMap::with_max_entries(MAX_ABOVE, 0);

/// Files that runs have written.
#[map]
pub static WRITTEN: HashMap<WrittenKey, u32> = HashMap::with_max_entries(MAX_WRITTEN, NO_PREALLOC);

/// Where limits stand, and the objects that they have counted.
#[map]
pub static COUNTED: HashMap<CountKey, u64> = HashMap::with_max_entries(MAX_COUNTS, NO_PREALLOC);

/// The path hash's secret.
#[map]
pub static SECRET: Array<Secret> = Array::with_max_entries(1, 0);

#[map]
pub static DESCRIBED: Array<Described> = Array::with_max_entries(1, 0);

/// Whose programs make the records, and whether any do anything.
#[map]
pub static ACTIVE: Array<Active> = Array::with_max_entries(1, 0);

/// The generation that these programs are.
#[map]
pub static OWN_GENERATION: Array<u32> = Array::with_max_entries(1, 0);

/// By agent × 2 + ring: how far the daemon has come. The daemon's alone, here because it outlives the daemon.
#[map]
pub static ACCOUNTS: Array<Account> = Array::with_max_entries(MAX_AGENTS * 2, MMAPABLE);
