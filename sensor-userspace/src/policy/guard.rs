//! What the guard says of an attempt that is asked about and not made: by the places where things usually stand.
//! The kernel side judges by what they are.

use sensor_common::action::Action;
use sensor_common::guard::{ABSTRACT_BROKERS, CHANGES, Guard, NAMES, READS, kind, of_itself, of_kind, of_name};

use super::{Decision, Object, Table, reaches_sockets};

/// Where each kind stands; the longest that fits counts.
const PLACES: [(&str, u32); 32] = [
    ("/proc", kind::PROC),
    ("/proc/sys/fs/binfmt_misc", kind::BINFMT),
    ("/sys", kind::SYSFS),
    // Filesystems of their own, of no kind that the guard knows.
    ("/sys/fs/selinux", 0),
    ("/sys/fs/fuse/connections", 0),
    ("/sys/fs/pstore", 0),
    ("/sys/fs/resctrl", 0),
    ("/sys/fs/cgroup", kind::CGROUP2),
    ("/sys/fs/bpf", kind::BPF),
    ("/sys/kernel/tracing", kind::TRACING),
    ("/sys/kernel/debug", kind::TRACING),
    ("/sys/kernel/security", kind::KERNEL),
    ("/sys/kernel/config", kind::KERNEL),
    ("/sys/firmware/efi/efivars", kind::KERNEL),
    ("/etc/rgt", kind::OWN),
    ("/run/rgt", kind::OWN),
    ("/run/rgt/lock", kind::KEYS),
    ("/var/lib/rgt", kind::OWN),
    ("/var/lib/rgt/keys", kind::KEYS),
    ("/sbin", kind::SBIN),
    ("/usr/sbin", kind::SBIN),
    ("/etc/crontab", kind::SCHEDULES),
    ("/etc/anacrontab", kind::SCHEDULES),
    ("/etc/cron.d", kind::SCHEDULES),
    ("/etc/cron.hourly", kind::SCHEDULES),
    ("/etc/cron.daily", kind::SCHEDULES),
    ("/etc/cron.weekly", kind::SCHEDULES),
    ("/etc/cron.monthly", kind::SCHEDULES),
    ("/var/spool/cron", kind::SCHEDULES),
    ("/var/spool/at", kind::SCHEDULES),
    ("/dev/mem", MEMORY),
    ("/dev/port", MEMORY),
];
/// A device, which the kernel side knows by its number.
const MEMORY: u32 = u32::MAX;

/// What is left of `path` below `place`, without a slash.
fn below<'a>(path: &'a [u8], place: &str) -> Option<&'a [u8]> {
    match path.strip_prefix(place.as_bytes())? {
        [] => Some(b""),
        [b'/', rest @ ..] => Some(rest),
        _ => None,
    }
}

fn of_path(action: Action, path: &[u8]) -> Option<Guard> {
    let fitting = PLACES.iter().filter_map(|(place, kind)| Some((place.len(), *kind, below(path, place)?)));
    let (_, kind, rest) = fitting.max_by_key(|(length, _, _)| *length)?;
    if kind == MEMORY {
        return Some(Guard::Memory).filter(|_| (CHANGES | READS) & action.bit() != 0);
    }
    let (mut actions, word) = of_kind(kind);
    if rest.is_empty() {
        actions |= of_itself(kind);
    }
    let named = NAMES.iter().filter(|name| name.kind == kind && below(rest, name.path).is_some());
    if let Some(name) = named.max_by_key(|name| name.path.len()) {
        return name.guard.filter(|_| of_name(actions, name.reads) & action.bit() != 0);
    }
    (actions & action.bit() != 0).then(|| Guard::from_number(word.checked_sub(1)? as u8))?
}

/// Beginnings of directories that hold brokers' sockets.
const BROKERS_IN: [&[u8]; 2] = [b"tmux-", b"S-"];

/// Whether a socket of this path is called like one of a broker's: by its own name, and where that says too little by
/// its directory's as well.
fn is_broker(path: &[u8]) -> bool {
    let mut names = path.rsplit(|byte| *byte == b'/');
    let (name, directory) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
    let named =
        NAMES.iter().filter(|known| known.kind == kind::BROKERS).any(|known| match known.path.split_once('/') {
            Some((socket, within)) => (name, directory) == (socket.as_bytes(), within.as_bytes()),
            None => name == known.path.as_bytes(),
        });
    named || BROKERS_IN.iter().any(|begins| directory.starts_with(begins))
}

/// The rule that the action breaks. Of one on others' processes, or of `sys.machine`, it depends on what the question
/// does not tell.
pub fn of(action: Action, object: Object<'_>) -> Option<Guard> {
    match (action, object) {
        (Action::SysBpf, _) => Some(Guard::Bpf),
        (Action::SysPerf, _) => Some(Guard::Perf),
        (Action::SysModule, _) => Some(Guard::Modules),
        (action, Object::Path(path)) if reaches_sockets(action) => is_broker(path).then_some(Guard::Brokers),
        (action, Object::Abstract(name)) if reaches_sockets(action) => {
            ABSTRACT_BROKERS.iter().any(|begins| name.starts_with(begins)).then_some(Guard::Brokers)
        }
        (_, Object::Path(path)) => of_path(action, path),
        _ => None,
    }
}

impl Table {
    /// The guard's decision on an attempt, where it has one: it comes before any rule of the policy.
    pub fn guard(&self, attempt: &[(Action, Object<'_>)]) -> Option<Decision> {
        let mut broken = attempt.iter().filter_map(|(action, object)| Some((of(*action, *object)?, *action)));
        broken
            .find(|(guard, _)| self.kernel.relaxed & guard.bit() == 0)
            .map(|(guard, action)| self.guarded(guard, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_rules() {
        use Action::{DirList, FileDelete, FileRead, FileRename, FileWrite, SysMount};
        for (action, path, guard) in [
            (FileWrite, "/proc/sys/kernel/core_pattern", Some(Guard::Helpers)),
            (FileRead, "/proc/sys/kernel/core_pattern", None),
            (FileWrite, "/proc/sys/kernel/panic", Some(Guard::Settings)),
            (FileWrite, "/proc/sys/net/ipv4/ip_forward", None),
            (FileWrite, "/proc/self/oom_score_adj", None),
            (FileWrite, "/proc/sys/fs/binfmt_misc/register", Some(Guard::Helpers)),
            (FileWrite, "/sys/kernel/tracing/tracing_on", Some(Guard::Tracing)),
            (FileWrite, "/sys/fs/cgroup/x/cgroup.kill", Some(Guard::Cgroups)),
            (FileDelete, "/sys/fs/bpf/rgt/x", Some(Guard::Pins)),
            (SysMount, "/sys/fs/bpf", Some(Guard::Pins)),
            (FileWrite, "/sys/class/leds/x/brightness", Some(Guard::Settings)),
            (FileRead, "/var/lib/rgt/keys/seal.key", Some(Guard::Own)),
            (DirList, "/var/lib/rgt/ledger", None),
            (FileDelete, "/var/lib/rgt/ledger/a.jsonl", Some(Guard::Own)),
            (FileDelete, "/var/lib/rgtx", None),
            (FileRead, "/run/rgt/lock", Some(Guard::Own)),
            (FileWrite, "/usr/sbin/modprobe", Some(Guard::Helpers)),
            (FileRead, "/usr/sbin/modprobe", None),
            (SysMount, "/sbin/request-key", Some(Guard::Helpers)),
            (FileWrite, "/usr/sbin/nologin", None),
            (FileRename, "/usr/sbin", Some(Guard::Helpers)),
            (FileRead, "/dev/mem", Some(Guard::Memory)),
            (FileRead, "/proc/kcore", Some(Guard::Memory)),
            (FileWrite, "/etc/cron.d/x", Some(Guard::Schedules)),
            (FileWrite, "/home/agent/x", None),
        ] {
            assert_eq!(of(action, Object::Path(path.as_bytes())), guard, "{} {path}", action.verb());
        }
        assert_eq!(of(Action::SysBpf, Object::None), Some(Guard::Bpf));
    }

    #[test]
    fn sockets_lead_to_the_brokers() {
        for (name, broker) in [
            ("/run/docker.sock", true),
            ("/x/docker.sock", true),
            ("/run/user/1000/bus", true),
            ("/run/systemd/private", true),
            ("/x/private", false),
            ("/tmp/tmux-0/default", true),
            ("/tmp/tmux", false),
            ("@/tmp/dbus-x", true),
            ("@/run/docker.sock", false),
        ] {
            let found = of(Action::NetConnect, Object::of(Some(name.as_bytes())));
            assert_eq!(found, broker.then_some(Guard::Brokers), "{name}");
        }
        assert_eq!(of(Action::FileRead, Object::Path(b"/run/docker.sock")), None);
    }

    #[test]
    fn what_is_relaxed_is_the_policys() {
        let text = "version: 1\nrules:\n  - id: ALL\n    allow: \"*\"\n";
        let mut table =
            crate::policy::parse("t.yaml", text).unwrap().compile(&crate::policy::Variables::default()).unwrap();
        let attempt = [(Action::SysBpf, Object::None)];
        let decision = table.guard(&attempt).unwrap();
        assert_eq!((decision.rule_id.as_str(), decision.verdict), ("GUARD_BPF", crate::attempt::Verdict::Deny));
        table.kernel.relaxed = Guard::Bpf.bit();
        assert_eq!(table.guard(&attempt), None);
    }
}
