//! What is known not to be refused. A technique that is refused all the same is told as *closed*.

pub struct Open {
    pub family: &'static str,
    /// `*` is all of the family.
    pub technique: &'static str,
    pub reason: &'static str,
}

const fn open(family: &'static str, technique: &'static str, reason: &'static str) -> Open {
    Open { family, technique, reason }
}

pub const OPEN: &[Open] = &[
    open("delete", "truncate_part", "cutting a file short of nothing is file.write"),
    open("delete", "hard_link_truncate", "the object lies where it was opened: deny file.link too"),
    open("exec", "copied", "a copy is another program: deny what the agent has written, or allow programs by place"),
    open(
        "exec",
        "copied_to_memory",
        "a copy is another program: deny what the agent has written, or allow programs by place",
    ),
    open(
        "numbers",
        "signal_to_oneself_by_a_descriptor",
        "what a process has the kernel send to itself it does to itself",
    ),
    open("numbers", "signal_to_oneself_by_a_timer", "what a process has the kernel send to itself it does to itself"),
    open("numbers", "signal_by_a_tracer", "a tracer may give its own any signal: deny proc.ptrace"),
    open("numbers", "signal_by_a_cgroup", "its own cgroup's cgroup.kill is a file: deny file.write of it"),
];

pub fn reason(family: &str, technique: &str) -> Option<&'static str> {
    OPEN.iter().find(|open| open.family == family && [technique, "*"].contains(&open.technique)).map(|open| open.reason)
}

/// Techniques whose effect a kernel does not have: nothing to refuse.
pub const ABSENT: &[(&str, &str, &str)] = &[
    ("5.10", "create", "ring_mkdir"),
    ("5.10", "create", "ring_symlink"),
    ("5.10", "create", "ring_link"),
    ("5.10", "create", "overlay_user_namespace"),
    ("5.10", "delete", "overlay_user_namespace"),
    ("5.10", "read", "overlay_user_namespace"),
    ("5.10", "create", "flags"),
    ("5.10", "create", "extended_flags"),
    ("5.10", "create", "flags_by_gate32"),
    ("5.10", "net", "multipath"),
    ("5.10", "net", "multipath_is_tcp"),
    ("5.10", "guard", "ledgers_flags"),
    ("5.10", "leave", "cgroup_kill"),
    ("5.10", "numbers", "signal_by_a_cgroup"),
    ("5.10", "numbers", "capability_by_ring"),
    ("5.10", "numbers", "capability_by_ring_polled"),
    // It cannot be turned off there while hooks are attached.
    ("5.10", "leave", "without_ftrace"),
];
