//! What travels from the kernel to the daemon.
//!
//! An event is a fixed head and, behind it, *sections* of variable size: a short path does not pay for a
//! long one. A section is a tag, a length and that many bytes; the next begins right behind.

use crate::{
    answer::NAMES_OF_ONE,
    hash::Secret,
    table::{LANES, MAX_ACTIVE, MAX_LABELS, MAX_SETS, MAX_WATCHED, Range},
};

pub mod kind {
    pub const ATTEMPT: u16 = 1;
    pub const FORK: u16 = 2;
    pub const EXEC: u16 = 3;
    pub const EXIT: u16 = 4;
    /// A task came into an agent's cgroup from outside.
    pub const JOIN: u16 = 5;
}

pub mod end {
    pub const RETURNED: u8 = 0;
    pub const KILLED: u8 = 1;
    pub const UNKNOWN: u8 = 2;
}

pub mod flag {
    /// Entered by the 32-bit gate.
    pub const COMPAT: u32 = 1;
    /// The file an open returned did not exist before.
    pub const CREATED: u32 = 2;
    /// Argument strings did not fit.
    pub const ARGV_TRUNCATED: u32 = 4;
    /// A directory walk met its limit or a reading failed.
    pub const BASE_TRUNCATED: u32 = 8;
    /// The section area was full: something is missing.
    pub const SECTIONS_FULL: u32 = 16;
    /// First path or address: readable at return only.
    pub const READ_AT_RETURN: u32 = 32;
    /// First path or address: not readable at all.
    pub const UNREADABLE: u32 = 64;
    /// Likewise the second.
    pub const UNREADABLE2: u32 = 128;
    /// The thread is a kernel worker that acts for the process (io_uring).
    pub const WORKER: u32 = 256;
    /// A successful exec: the argument strings come from the new program.
    pub const EXECED: u32 = 512;
    /// The descriptor leads to no place: BASE is the bare name of a memfd, pipe or socket.
    pub const NAMELESS: u32 = 1024;
    /// What an open returned is no regular file, or one that keeps nothing: there is nothing to cut.
    pub const SPECIAL: u32 = 2048;
}

pub mod section {
    /// First path as written, without its NUL.
    pub const PATH: u16 = 1;
    pub const PATH2: u16 = 2;
    /// `struct sockaddr` as written.
    pub const ADDRESS: u16 = 3;
    /// NUL-terminated strings, one after the other.
    pub const ARGV: u16 = 4;
    /// Directory that a relative first path starts from: names, deepest first, NUL-terminated.
    pub const BASE: u16 = 5;
    pub const BASE2: u16 = 6;
    /// The executable's path, names deepest first.
    pub const EXE: u16 = 7;
    /// Object of the hook pair with the same position: the filesystem's number (four bytes, 0xffffffff for a
    /// foreign one, or for one that has no place), then names deepest first, within its filesystem. Empty for a
    /// pair without such an object.
    pub const OBJECT: u16 = 8;
    /// In place of a filesystem's number: the rest is the whole name of an abstract unix socket, without the NUL that
    /// it begins with.
    pub const ABSTRACT: u32 = 0xffff_fffe;
    /// In place of a filesystem's number: four bytes follow, the signal or capability as `Walk::which` has it.
    pub const NUMBERED: u32 = 0xffff_fffd;
    /// In place of a filesystem's number: sixteen bytes of address follow, as the kernel had it, and four of port.
    pub const ADDRESSED: u32 = 0xffff_fffc;
    /// Watching rules that matched: the pair's position, then their indices, two bytes each.
    pub const WATCHED: u16 = 9;
    /// The process's root, as BASE: where a path could not be read at entry, nobody knew yet which of the two it starts from.
    pub const ROOT: u16 = 10;
}

/// Every event starts so.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    pub kind: u16,
    pub reserved: u16,
    /// The agent's number, given by the daemon at registration.
    pub agent: u32,
    /// Kernel's monotonic clock: when the call was entered.
    pub at: u64,
    /// Likewise: when this event was made; events are merged by it.
    pub emitted: u64,
    /// Thread and process, in the first pid namespace.
    pub tid: u32,
    pub pid: u32,
}

/// A hook's finding about one action of an attempt.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Pair {
    pub action: u8,
    /// `table::effect`.
    pub effect: u8,
    /// `pair::*` bits.
    pub flags: u8,
    /// `program::*` bits.
    pub program: u8,
    /// Index of the deciding rule, or 0xffff for the default.
    pub rule: u16,
    /// Index of the first observe-mode rule that matched, or 0xffff.
    pub would: u16,
}

pub mod pair {
    /// The object's place could not be known: `on_unknown` decided.
    pub const UNKNOWN: u8 = 1;
    /// The hook refused the action.
    pub const BLOCKED: u8 = 2;
    /// The object lies on no registered filesystem.
    pub const FOREIGN: u8 = 4;
    /// The object has no place at all: a memfd, a pipe, a socket.
    pub const NAMELESS: u8 = 8;
    /// The action has no object that a rule could name.
    pub const BARE: u8 = 16;
    /// The object is an internet address.
    pub const ADDRESS: u8 = 32;
    /// This run has written the object.
    pub const WRITTEN: u8 = 64;
    /// The object is a unix socket, known by its name or of unknown place.
    pub const UNIX: u8 = 128;
}

/// Of the program that acts, where a rule asks for it.
pub mod program {
    /// Its place could not be told.
    pub const UNKNOWN: u8 = 1;
    /// It has no place: a memfd.
    pub const NAMELESS: u8 = 2;
    /// `on_unknown` decided, for a rule asked for a program that could not be told.
    pub const DECIDES: u8 = 4;
}

pub const MAX_PAIRS: usize = 8;
/// No rule decided.
pub const NO_RULE: u16 = 0xffff;

/// The fixed part of an attempt; its sections follow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempt {
    pub head: Head,
    /// The task's address: with `seq`, the name of this attempt.
    pub task: u64,
    /// Counts the task's attempts.
    pub seq: u64,
    /// Index into `SYSCALLS` plus one.
    pub syscall: u16,
    pub end: u8,
    pub pairs: u8,
    pub flags: u32,
    pub result: i64,
    pub args: [u64; 6],
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    pub caps: u64,
    /// Generation of the policy that judged it.
    pub generation: u64,
    pub pair: [Pair; MAX_PAIRS],
    /// Bytes of sections that follow.
    pub sections: u32,
    /// 1 while the call is under way; what the daemon sees in a mapped slot.
    pub open: u32,
}

/// Room for sections: two whole paths, their directories, and headers.
pub const SECTION_ROOM: usize = 16 * 1024;
/// Longest string read: PATH_MAX with its NUL.
pub const PATH_ROOM: usize = 4096;
/// Argument strings kept of an exec.
pub const ARGV_ROOM: usize = 4096;
/// Longest `struct sockaddr`.
pub const ADDRESS_ROOM: usize = 128;

/// An attempt under way, kept per task.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slot {
    pub attempt: Attempt,
    pub area: [u8; SECTION_ROOM],
    pub walk: Walk,
}

/// Where a walk, or a reading of argument strings, stands between two chunks of it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    pub dentry: u64,
    pub mount: u64,
    /// Argument strings: the array's address and the next index.
    pub array: u64,
    pub index: u32,
    /// Where the section's header stands.
    pub header: u32,
    /// The call's number as the entry had it: only its own return closes an attempt.
    pub number: u32,
    /// Where the first argument's section stands; `UNREAD` while there is none.
    pub argument: u32,
    /// Where the sections ended before the last pair.
    pub before: u32,
    /// `Action::bit` of each action that the attempt was judged for.
    pub judged: u32,
    /// What the last pair is about: its dentry, 0 for what has none.
    pub object: u64,
    /// Where the task's registers are saved; 0 while it has made no captured call.
    pub registers: u64,
    /// Judging: the names met, deepest first: hash, and where in the area (low half) with what length (high).
    pub hashes: [u64; MAX_DEPTH],
    pub names: [u32; MAX_DEPTH],
    pub depth: u32,
    pub action: u32,
    /// Inode of the filesystem's root, and how many names of its place are still to be taken.
    pub root: u64,
    pub left: u32,
    /// `pair::*` bits of the object.
    pub about: u32,
    pub policy: u32,
    /// The first rule that decides so far, and the first that only observes; `NO_RULE` for none.
    pub best: u32,
    pub would: u32,
    pub watched: u32,
    pub watching: [u16; MAX_WATCHED],
    /// Sets entered, a bit each.
    pub sets: [u64; MAX_SETS / 64],
    /// States the walk is in, and will be in after this name. Those that stay, whatever names follow, stand in front of both.
    pub active: [u32; MAX_ACTIVE],
    pub next: [u32; MAX_ACTIVE],
    pub actives: u32,
    pub nexts: u32,
    pub staying: u32,
    /// The agent as it is at this attempt.
    pub facts: u64,
    pub labels: u32,
    pub risk: u32,
    pub secret: Secret,
    /// An internet address that is judged: IPv6, or IPv4 mapped into it; its port and protocol (`IPPROTO_…`).
    pub address: [u8; 16],
    pub port: u16,
    pub protocol: u16,
    /// The filesystem's number.
    pub filesystem: u32,
    /// The guard's rule that refuses what is judged next, as `Guard::word` has it; 0 for none.
    pub guard: u32,
    /// What kind of place the object lies in: `guard::kind`.
    pub kind: u32,
    /// The object's own dentry, or the acting program's while that is looked at.
    pub first: u64,
    /// What the hook returns if it refuses: a negative errno, of the first action that was refused; 0 for the usual.
    pub refusal: i32,
    /// 1: some names had no room, and were hashed alone.
    pub cut: u32,
    /// The unix socket that is being connected, until its peer is found; 0 for none.
    pub connecting: u64,
    /// `program::*` bits of the program that acts.
    pub program: u32,
    /// The signal or capability that is judged: its bit in `Rule::numbers` plus one; 0 for none.
    pub which: u32,
    /// Rules with a limit that match, a bit each, as `Policy::limits` has them: what they count is counted at the end.
    pub limited: u32,
    /// What was last read of a structure at once.
    pub at_once: [u64; AT_ONCE],
    /// How sensitive the object is, a bit; 0: it has neither a place nor an address.
    pub level: u32,
    /// Labels that watching rules set if the action goes ahead, of however many rules.
    pub watched_labels: u32,
    /// The network namespace of the socket whose address is judged.
    pub namespace: u32,
    /// How many bytes go out by the message at hand …
    pub sent: u64,
    /// … and by what is judged; `UNCOUNTED`: limits are asked, and count nothing.
    pub amount: u64,
    /// The object's place, hashed, where a limit counts objects; 0 where it has none.
    pub place: u64,
    /// The agent's own directories; the path's names so far, and how many more may lead to one of them.
    pub lanes: [u64; LANES],
    pub prefix: u64,
    /// The state behind the first of them; 0: none can come any more.
    pub lane_root: u32,
    pub lane_left: u32,
    /// Of an object without a dentry, as tests have them: its file's identity, hashed.
    pub contents: u64,
    /// What is offered for the names that the address was answered for.
    pub answered: [Range; NAMES_OF_ONE],
}

/// Of `Walk::sent` and `Walk::amount`: another hook counts it.
pub const UNCOUNTED: u64 = u64::MAX;
/// Likewise: it was counted already, and is asked again.
pub const COUNTED_ALREADY: u64 = u64::MAX - 2;
/// Likewise: nobody can, for more comes of it than hooks are asked about.
pub const UNCOUNTABLE: u64 = u64::MAX - 1;

pub const UNREAD: u32 = u32::MAX;

/// Most words of a structure that are read at once, where the kernel keeps close together what is asked of it.
pub const AT_ONCE: usize = 12;

/// Bits of the map that says which inodes may be registered roots.
pub const ROOT_BITS: u32 = 4_096;

/// The bit of an inode, by its address.
pub const fn root_bit(inode: u64) -> u32 {
    // An inode takes some hundred bytes: the low bits say little.
    ((inode >> 6).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - ROOT_BITS.trailing_zeros())) as u32
}

/// Deepest object that can be judged; one below is of unknown place.
pub const MAX_DEPTH: usize = 64;
/// Deepest mount point.
pub const MAX_MOUNT_DEPTH: usize = 16;
/// Bytes of a mount point's names, each with a NUL.
pub const MOUNT_ROOM: usize = 512;

/// A filesystem, or a subtree of one, known by the inode of its root.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// The daemon's number for the place.
    pub number: u32,
    pub depth: u32,
    /// What the guard has to say of it: `guard::kind`.
    pub kind: u32,
    pub reserved: u32,
    /// The directory's inode number, where it is no filesystem's root: an inode's address comes again for others.
    /// 0: not asked for.
    pub ino: u64,
    /// Names of the place, deepest first: hash, and where in `text` (low half) with what length (high).
    pub hashes: [u64; MAX_MOUNT_DEPTH],
    pub names: [u32; MAX_MOUNT_DEPTH],
    pub text: [u8; MOUNT_ROOM],
}

/// A directory above something guarded, or a link on the way to it, known by its inode.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Above {
    /// The inode's number: its address comes again for others.
    pub ino: u64,
    /// The mount namespace that the daemon sees it in.
    pub namespace: u64,
    /// The guard's rule that moving it breaks, as `Guard::word`.
    pub rule: u32,
    pub reserved: u32,
}

/// Such directories and links at once.
pub const MAX_ABOVE: u32 = 1_024;

impl Default for Filesystem {
    fn default() -> Self {
        Filesystem {
            number: 0,
            depth: 0,
            kind: 0,
            reserved: 0,
            ino: 0,
            hashes: [0; MAX_MOUNT_DEPTH],
            names: [0; MAX_MOUNT_DEPTH],
            text: [0; MOUNT_ROOM],
        }
    }
}

/// What `describe` found behind a descriptor of the daemon's.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// Address of the inode; 0 where nothing was found.
    pub inode: u64,
    /// … and of the mount namespace that it was opened in.
    pub namespace: u64,
}

/// What an agent's actions are judged by, and how it stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Governed {
    /// Policy number plus one; 0: no hook judges.
    pub policy: u32,
    /// 1: judge, but refuse nothing.
    pub observe: u32,
    /// Bits of the policy's facts that hold.
    pub facts: u64,
    pub risk: u32,
    /// 1: not all that the run has written could be noted, so what was changed since it began counts as written.
    pub written_full: u32,
    /// One byte a label, so that two processors can set two at once.
    pub labels: [u8; MAX_LABELS],
    /// When the run was registered, by the clock that files are stamped with; 0: what it writes is not noted.
    pub since: u64,
    /// Its own directories, as `hash::prefix` has them; 0: nobody knows where patterns lie that begin with it.
    pub lanes: [u64; LANES],
    /// Names of the deepest of them.
    pub lane_depth: u32,
    pub reserved: u32,
}

impl Governed {
    /// The labels as bits.
    #[inline(always)]
    pub fn label_bits(labels: &[u8; MAX_LABELS]) -> u32 {
        let mut bits = 0;
        let mut word = 0;
        while word < MAX_LABELS / 8 {
            let mut bytes = [0; 8];
            let mut byte = 0;
            while byte < 8 {
                bytes[byte] = labels[word * 8 + byte];
                byte += 1;
            }
            // Gathers the lowest bit of each byte.
            let gathered =
                (u64::from_le_bytes(bytes) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            bits |= (gathered as u32) << (word * 8);
            word += 1;
        }
        bits
    }
}

/// A file that a run has written: the inode as the filesystem itself tells it from others.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WrittenKey {
    /// `Governed::since`: an agent's number comes again, a run does not.
    pub since: u64,
    pub inode: u64,
    pub agent: u32,
    pub device: u32,
    pub generation: u32,
    pub reserved: u32,
}

/// Files noted as written, of all runs together.
pub const MAX_WRITTEN: u32 = 65_536;

/// FORK, EXEC, EXIT and JOIN; an EXEC's path follows as a section.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Lifecycle {
    pub head: Head,
    /// FORK: the parent process. EXEC: the thread that called.
    pub other: u32,
    /// 1: the whole process ended (EXIT), a thread was made (FORK).
    pub thread: u32,
    /// Tasks of the agent that live now is userspace's sum of these: FORK and JOIN add, EXIT takes.
    pub reserved: u32,
    pub sections: u32,
}

/// Rings and their losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Ring {
    /// Denials, life and death: never shares room with the flood.
    Rare = 0,
    Flood = 1,
}

/// Per CPU, agent and ring: how many were made, how many found no room.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Count {
    pub made: u64,
    pub dropped: u64,
}

/// Agents at once; the loss counters are an array over them.
pub const MAX_AGENTS: u32 = 1024;
/// Governed threads at once.
pub const MAX_TASKS: u32 = 32_768;
/// Threads inside a governed call at once.
pub const MAX_SLOTS: u32 = 2_048;

/// What the kernel could not do, by name. Position in the `FAULTS` array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Fault {
    /// A task could not be marked: the table of tasks is full.
    NoMark = 0,
    /// No slot was free: the attempt is not recorded.
    NoSlot = 1,
    /// A call's return was missed.
    MissedReturn = 2,
    /// An argument was readable neither at entry nor at return.
    Unreadable = 3,
    /// Sections did not fit.
    SectionsFull = 4,
    /// An object's place could not be walked.
    WalkFailed = 5,
    /// A cgroup below an agent's could not be added.
    NoCgroup = 6,
    /// A task of an agent's cgroup bore no mark: the kernel had skipped the program that sets it. It was
    /// marked at its first judged action.
    LateMark = 7,
    /// A path was in more of a policy's globs at once than the walk can hold: its place was taken as unknown.
    TooManyStates = 8,
    /// A written file could not be noted: what was changed since the run began counts as written.
    WrittenFull = 9,
    /// A file counted as written by its time of change alone.
    WrittenByTime = 10,
    /// What a rule's limit counts could not be counted: a rule that allows did not hold, any other did.
    CountsFull = 11,
}

pub const FAULTS: u32 = 12;

impl Fault {
    pub const ALL: [Fault; FAULTS as usize] = [
        Fault::NoMark,
        Fault::NoSlot,
        Fault::MissedReturn,
        Fault::Unreadable,
        Fault::SectionsFull,
        Fault::WalkFailed,
        Fault::NoCgroup,
        Fault::LateMark,
        Fault::TooManyStates,
        Fault::WrittenFull,
        Fault::WrittenByTime,
        Fault::CountsFull,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Fault::NoMark => "no_mark",
            Fault::NoSlot => "no_slot",
            Fault::MissedReturn => "missed_return",
            Fault::Unreadable => "unreadable",
            Fault::SectionsFull => "sections_full",
            Fault::WalkFailed => "walk_failed",
            Fault::NoCgroup => "no_cgroup",
            Fault::LateMark => "late_mark",
            Fault::TooManyStates => "too_many_states",
            Fault::WrittenFull => "written_full",
            Fault::WrittenByTime => "written_by_time",
            Fault::CountsFull => "counts_full",
        }
    }
}

/// A task's mark: whose it is.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Mark {
    pub agent: u32,
    /// Slot number plus one; 0 for none.
    pub slot: u32,
    /// Attempts so far.
    pub seq: u64,
    /// The process, in the first pid namespace.
    pub pid: u32,
    pub reserved: u32,
}

/// Which daemon's programs make the records.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Active {
    /// 0: switched off, no program does anything.
    pub generation: u32,
    pub reserved: u32,
}

/// What a daemon has done with the events of one agent and ring.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Counts as they stood when the agent was registered.
    pub made_before: u64,
    pub dropped_before: u64,
    /// In the ledger's file, since then.
    pub settled: u64,
    /// What gap records have told of, since then.
    pub told_made: u64,
    pub told_dropped: u64,
    pub told_received: u64,
}
