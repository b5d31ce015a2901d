//! The guard: built-in rules in front of every policy's own. Both sides name one by its number.
//!
//! Places are known by the kind of their filesystem and the names within it, so that a second mount of proc, or
//! one in another namespace, is no way round. What is rgt's own is known by the inodes of its directories.

use crate::{action::Action, event::Pair};

macro_rules! guards {
    ($($variant:ident = $number:literal, $name:literal, $what:literal;)*) => {
        /// One rule. Its number is its bit in the mask of those relaxed; never reuse a number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Guard { $($variant = $number,)* }

        impl Guard {
            pub const ALL: &'static [Guard] = &[$(Guard::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Guard::$variant => $name,)* }
            }

            /// What it refuses, to stand behind "an agent may not".
            pub const fn what(self) -> &'static str {
                match self { $(Guard::$variant => $what,)* }
            }

            pub const fn from_number(number: u8) -> Option<Guard> {
                match number { $($number => Some(Guard::$variant),)* _ => None }
            }
        }
    };
}

guards! {
    Helpers = 0, "GUARD_HELPERS", "name or change programs for the kernel to run";
    Tracing = 1, "GUARD_TRACING", "change what the kernel traces, by which rgt itself works";
    Sysrq = 2, "GUARD_SYSRQ", "give the kernel orders by sysrq";
    Memory = 3, "GUARD_MEMORY", "open the machine's memory";
    Devices = 4, "GUARD_DEVICES", "open or make disks and other devices below the filesystems";
    Settings = 5, "GUARD_SETTINGS", "change the kernel's settings";
    Cgroups = 6, "GUARD_CGROUPS", "change cgroups that are not its own, or move tasks between cgroups";
    Own = 7, "GUARD_SELF", "touch what is rgt's own";
    Pins = 8, "GUARD_PINS", "change a bpf filesystem, which holds what keeps enforcement alive";
    Signals = 9, "GUARD_SIGNALS", "send signals to processes that are not its own";
    Processes = 10, "GUARD_PROCESSES", "trace, read or change processes that are not its own";
    Control = 11, "GUARD_CONTROL", "set limits or scheduling of processes that are not its own";
    Bpf = 12, "GUARD_BPF", "use bpf()";
    Perf = 13, "GUARD_PERF", "use performance events";
    Modules = 14, "GUARD_MODULES", "load or unload kernel modules";
    Reboot = 15, "GUARD_REBOOT", "restart the machine, or load another kernel";
    Swap = 16, "GUARD_SWAP", "change where the machine swaps";
    Clock = 17, "GUARD_CLOCK", "set the clock";
    Ports = 18, "GUARD_PORTS", "use raw input and output";
    Accounting = 19, "GUARD_ACCOUNTING", "change process accounting";
    Terminals = 20, "GUARD_TERMINALS", "type into a terminal for its user";
    Brokers = 21, "GUARD_BROKERS", "ask a service that runs programs for others";
    Schedules = 22, "GUARD_SCHEDULES", "change what cron and at will run";
    Program = 23, "GUARD_PROGRAM", "pass for another program than it runs";
}

impl Guard {
    pub const fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// As the kernel side hands it on: 0 is none.
    pub const fn word(self) -> u32 {
        self as u32 + 1
    }

    /// The rule's number in a `Pair`, beyond any policy's.
    pub const fn rule(self) -> u16 {
        FIRST_RULE + self as u16
    }

    /// The guard's rule that a `Pair` names.
    pub fn of_rule(rule: u16) -> Option<Guard> {
        Guard::from_number(u8::try_from(rule.checked_sub(FIRST_RULE)?).ok()?)
    }

    pub fn from_name(name: &str) -> Option<Guard> {
        Guard::ALL.iter().copied().find(|guard| guard.name() == name)
    }
}

pub const FIRST_RULE: u16 = 0xff00;
/// Every rule relaxed: where there is no policy.
pub const NONE_IN_FORCE: u32 = u32::MAX;

const _: () = assert!(FIRST_RULE as usize > crate::table::MAX_RULES && size_of::<Pair>() == 8);

/// Beginnings of brokers' names that are in no filesystem: a session's bus, containerd's shims.
pub const ABSTRACT_BROKERS: [[u8; 8]; 2] = [*b"/tmp/dbu", *b"/contain"];

/// Kinds of places. 0 is all that the guard has nothing to say of.
pub mod kind {
    pub const PROC: u32 = 1;
    pub const SYSFS: u32 = 2;
    pub const CGROUP1: u32 = 3;
    pub const CGROUP2: u32 = 4;
    pub const TRACING: u32 = 5;
    pub const BPF: u32 = 6;
    /// binfmt_misc, and the programs that the kernel runs of itself.
    pub const BINFMT: u32 = 7;
    /// securityfs, efivarfs, configfs.
    pub const KERNEL: u32 = 8;
    /// rgt's directories, its configuration and its program.
    pub const OWN: u32 = 9;
    /// … and its keys.
    pub const KEYS: u32 = 10;
    /// What cron and at read.
    pub const SCHEDULES: u32 = 11;
    /// A stranger's files in proc.
    pub const PROC_TASK: u32 = 12;
    /// A cgroup of the agent's own.
    pub const OWN_CGROUP: u32 = 13;
    /// Sockets of services that run programs for others.
    pub const BROKERS: u32 = 14;
    /// Where such programs are looked for, whether or not they are there.
    pub const SBIN: u32 = 15;
}

/// The kind of a filesystem, by its magic number.
#[inline(always)]
pub const fn kind_of(magic: u64) -> u32 {
    match magic {
        0x9fa0 => kind::PROC,
        0x6265_6572 => kind::SYSFS,
        0x0027_e0eb => kind::CGROUP1,
        0x6367_7270 => kind::CGROUP2,
        // tracefs, debugfs.
        0x7472_6163 | 0x6462_6720 => kind::TRACING,
        0xcafe_4a11 => kind::BPF,
        0x4249_4e4d => kind::BINFMT,
        // securityfs, efivarfs, configfs.
        0x7363_6673 | 0xde5e_81e4 | 0x6265_6570 => kind::KERNEL,
        _ => 0,
    }
}

/// Files of these kinds keep nothing that could be cut. (tracefs clears its buffers.)
#[inline(always)]
pub const fn keeps_nothing(kind: u32) -> bool {
    matches!(kind, kind::PROC | kind::SYSFS | kind::CGROUP1 | kind::CGROUP2)
}

/// All that changes an object or its name.
pub const CHANGES: u32 = Action::FileWrite.bit()
    | Action::FileCreate.bit()
    | Action::FileDelete.bit()
    | Action::FileRename.bit()
    | Action::FileLink.bit()
    | Action::FileAttr.bit();
pub const READS: u32 = Action::FileRead.bit() | Action::DirList.bit();
/// What gives an object another name, or none.
pub const MOVES: u32 = Action::FileRename.bit() | Action::FileDelete.bit();

/// What holds of a whole kind, where no name of `NAMES` says otherwise: the actions, and the rule.
#[inline(always)]
pub const fn of_kind(kind: u32) -> (u32, u32) {
    match kind {
        kind::SYSFS | kind::KERNEL => (CHANGES, Guard::Settings.word()),
        kind::CGROUP1 | kind::CGROUP2 => (CHANGES, Guard::Cgroups.word()),
        kind::TRACING => (CHANGES, Guard::Tracing.word()),
        kind::BPF => (CHANGES | Action::SysMount.bit(), Guard::Pins.word()),
        kind::BINFMT => (CHANGES | Action::SysMount.bit(), Guard::Helpers.word()),
        kind::OWN => (CHANGES | Action::SysMount.bit(), Guard::Own.word()),
        kind::KEYS => (CHANGES | READS | Action::SysMount.bit(), Guard::Own.word()),
        kind::SCHEDULES => (CHANGES | Action::SysMount.bit(), Guard::Schedules.word()),
        kind::PROC_TASK => (CHANGES, Guard::Processes.word()),
        kind::SBIN => (Action::SysMount.bit(), Guard::Helpers.word()),
        _ => (0, 0),
    }
}

/// What holds beyond that of a directory that is guarded, itself: in another in its place the kernel would look as well.
#[inline(always)]
pub const fn of_itself(kind: u32) -> u32 {
    if kind == kind::SBIN { CHANGES } else { 0 }
}

/// What holds of a name within a kind, of whose places `actions` are refused: mounting over it as over all of them.
#[inline(always)]
pub const fn of_name(actions: u32, reads: bool) -> u32 {
    actions & Action::SysMount.bit() | if reads { CHANGES | READS } else { CHANGES }
}

/// A name within a kind of filesystem, from its root; it holds for all below as well. With `PROC_TASK` and
/// `OWN_CGROUP` it is the object's last name alone; with `BROKERS` a socket's name, then its directory's.
pub struct Name {
    pub kind: u32,
    pub path: &'static str,
    /// None: the guard has nothing to say of it, whatever holds above.
    pub guard: Option<Guard>,
    /// Reading is refused as well.
    pub reads: bool,
}

const fn name(kind: u32, path: &'static str, guard: Guard) -> Name {
    Name { kind, path, guard: Some(guard), reads: false }
}

pub const NAMES: &[Name] = &[
    name(kind::PROC, "sys", Guard::Settings),
    // Of the caller's own network namespace.
    Name { kind: kind::PROC, path: "sys/net", guard: None, reads: false },
    name(kind::PROC, "sys/kernel/core_pattern", Guard::Helpers),
    name(kind::PROC, "sys/kernel/modprobe", Guard::Helpers),
    name(kind::PROC, "sys/kernel/hotplug", Guard::Helpers),
    name(kind::PROC, "sys/kernel/poweroff_cmd", Guard::Helpers),
    name(kind::PROC, "sys/kernel/usermodehelper", Guard::Helpers),
    name(kind::PROC, "sys/fs/binfmt_misc", Guard::Helpers),
    name(kind::PROC, "sys/kernel/ftrace_enabled", Guard::Tracing),
    name(kind::PROC, "sys/kernel/ftrace_dump_on_oops", Guard::Tracing),
    name(kind::PROC, "sys/kernel/traceoff_on_warning", Guard::Tracing),
    name(kind::PROC, "sys/kernel/stack_tracer_enabled", Guard::Tracing),
    name(kind::PROC, "sys/kernel/sysrq", Guard::Sysrq),
    name(kind::PROC, "sysrq-trigger", Guard::Sysrq),
    Name { kind: kind::PROC, path: "kcore", guard: Some(Guard::Memory), reads: true },
    name(kind::SYSFS, "kernel/uevent_helper", Guard::Helpers),
    name(kind::SYSFS, "power", Guard::Reboot),
    name(kind::SYSFS, "kernel/reboot", Guard::Reboot),
    Name { kind: kind::PROC_TASK, path: "environ", guard: Some(Guard::Processes), reads: true },
    name(kind::SBIN, "modprobe", Guard::Helpers),
    name(kind::SBIN, "request-key", Guard::Helpers),
    name(kind::SBIN, "bridge-stp", Guard::Helpers),
    name(kind::SBIN, "poweroff", Guard::Helpers),
    name(kind::SBIN, "reboot", Guard::Helpers),
    // Pulled into its own, a stranger would be the agent's; moved out, a task of its own nobody's.
    name(kind::OWN_CGROUP, "cgroup.procs", Guard::Cgroups),
    name(kind::OWN_CGROUP, "cgroup.threads", Guard::Cgroups),
    name(kind::BROKERS, "docker.sock", Guard::Brokers),
    name(kind::BROKERS, "podman.sock", Guard::Brokers),
    name(kind::BROKERS, "containerd.sock", Guard::Brokers),
    name(kind::BROKERS, "containerd.sock.ttrpc", Guard::Brokers),
    name(kind::BROKERS, "crio.sock", Guard::Brokers),
    name(kind::BROKERS, "buildkitd.sock", Guard::Brokers),
    name(kind::BROKERS, "snapd.socket", Guard::Brokers),
    name(kind::BROKERS, "system_bus_socket", Guard::Brokers),
    // A user's: /run/user/UID/bus.
    name(kind::BROKERS, "bus", Guard::Brokers),
    name(kind::BROKERS, "private/systemd", Guard::Brokers),
    name(kind::BROKERS, "io.systemd.Manager/systemd", Guard::Brokers),
    name(kind::BROKERS, "server/emacs", Guard::Brokers),
];

/// Names lie in the automata's table of edges, from states beyond any policy's: `STATES` and a kind, or a number
/// that whoever fills the table gives. The value of an edge is the rule's word, `EDGE_READS`, and in the upper half
/// the number of the state behind it.
pub const STATES: u64 = 1 << 32;
/// First number that is no kind's.
pub const FIRST_STATE: u32 = 16;
/// Names looked at from a filesystem's root.
pub const MAX_NAMES: u32 = 4;
pub const EDGE_RULE: u32 = 0xff;
pub const EDGE_READS: u32 = 0x100;

/// The rule for opening a device of this number (as the kernel holds it); 0 for none.
#[inline(always)]
pub const fn of_character_device(number: u32) -> u32 {
    let (major, minor) = (number >> 20, number & 0xf_ffff);
    match (major, minor) {
        // mem, kmem, port.
        (1, 1 | 2 | 4) => Guard::Memory.word(),
        // snapshot, nvram, device mapper, the input of made-up devices.
        (10, 231 | 144 | 236 | 223 | 239) => Guard::Devices.word(),
        // Disks without a block layer (sg, raw), and processors' registers.
        (21 | 162 | 202, _) => Guard::Devices.word(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_rules_lead_back() {
        for (number, guard) in Guard::ALL.iter().enumerate() {
            assert_eq!(*guard as usize, number);
            assert_eq!(Guard::from_number(number as u8), Some(*guard));
            assert_eq!(Guard::of_rule(guard.rule()), Some(*guard));
            assert_eq!(Guard::from_name(guard.name()), Some(*guard));
            assert!(guard.name().starts_with("GUARD_") && guard.name().len() <= 64);
        }
        assert!(Guard::ALL.len() < 32);
        assert_eq!(Guard::of_rule(crate::event::NO_RULE), None);
        assert_eq!(Guard::of_rule(7), None);
    }

    #[test]
    fn names_are_within_the_walk() {
        for name in NAMES {
            assert!(name.path.split('/').count() <= MAX_NAMES as usize, "{}", name.path);
            assert!(name.kind < FIRST_STATE);
        }
    }

    #[test]
    fn devices_are_known_by_their_numbers() {
        assert_eq!(of_character_device(1 << 20 | 1), Guard::Memory.word());
        assert_eq!(of_character_device(1 << 20 | 3), 0);
        assert_eq!(of_character_device(21 << 20 | 9), Guard::Devices.word());
        assert_eq!(of_character_device(5 << 20), 0);
    }
}
