//! What is attempted of each family, and how it comes out.

pub const EACCES: u8 = libc::EACCES as u8;
pub const EPERM: u8 = libc::EPERM as u8;

/// An attempt of `families.c` under a policy that denies it, and under one that does not.
pub struct Case {
    pub check: &'static str,
    pub syscall: &'static str,
    /// What the record names as its object; "" for none.
    pub object: &'static str,
    pub rule: &'static str,
    /// The errno that the refusal comes out as.
    pub met: u8,
    /// The errno of the same attempt where it is allowed.
    pub free: u8,
}

pub const fn at(check: &'static str, syscall: &'static str, object: &'static str, rule: &'static str) -> Case {
    Case { check, syscall, object, rule, met: EACCES, free: 0 }
}

pub const PLACES: &[Case] = &[
    at("file.read", "openat", "/data/read/x", "NO_READ"),
    at("file.write", "openat", "/data/write/x", "NO_WRITE"),
    at("file.write cut", "openat", "/data/write/x", "NO_WRITE"),
    at("file.write creat", "openat", "/data/write/x", "NO_WRITE"),
    at("file.write truncate", "truncate", "/data/write/x", "NO_WRITE"),
    at("dir.list", "openat", "/data/list", "NO_LIST"),
    at("file.create", "openat", "/data/create/x", "NO_CREATE"),
    at("file.create mkdir", "mkdir", "/data/create/d", "NO_CREATE"),
    at("file.create mknod", "mknodat", "/data/create/n", "NO_CREATE"),
    at("file.create rename over", "rename", "/data/create/there", "NO_CREATE"),
    at("file.create exchange", "renameat2", "/data/create/there", "NO_CREATE"),
    at("file.link", "link", "/data/link/x", "NO_LINK"),
    at("file.link symlink", "symlink", "/data/link/s", "NO_LINK"),
    at("file.rename", "rename", "/data/rename/x", "NO_RENAME"),
    at("file.rename exchange", "renameat2", "/data/y", "NO_RENAME"),
    at("file.attr chmod", "chmod", "/data/attr/x", "NO_ATTR"),
    at("file.attr chown", "chown", "/data/attr/x", "NO_ATTR"),
    at("file.attr setxattr", "setxattr", "/data/attr/x", "NO_ATTR"),
    at("file.attr removexattr", "removexattr", "/data/attr/x", "NO_ATTR"),
    at("proc.exec", "execve", "/data/exec/busybox", "NO_EXEC"),
    at("proc.exec script", "execve", "/data/script", "NO_EXEC"),
    at("proc.exec interpreter", "execve", "/data/exec/script", "NO_EXEC"),
    at("proc.exec memfd", "execveat", "memfd:program", "NO_NAMELESS"),
    at("file.map_exec", "mmap", "/data/map/x", "NO_MAP"),
    at("file.map_exec mprotect", "mprotect", "/data/map/x", "NO_MAP"),
];

/// Each by its rule's own errno, of several the first's, unless the kernel puts its own in its place.
pub const ERRNOS: &[Case] = &[
    Case { met: libc::ENOENT as u8, ..at("errno open", "openat", "/data/errno/x", "NO_READ") },
    Case { met: libc::EAGAIN as u8, ..at("errno write", "openat", "/data/errno/x", "NO_WRITE") },
    Case { met: libc::ENOENT as u8, ..at("errno ring", "io_uring", "/data/errno/x", "NO_READ") },
    // A ring would try again without end.
    at("errno ring again", "io_uring", "/data/errno/x", "NO_WRITE"),
    Case { met: EPERM, ..at("errno exec", "execve", "/data/errno/busybox", "NO_EXEC") },
    Case { met: libc::EHOSTUNREACH as u8, ..at("errno connect", "connect", "127.0.0.1:7777", "NO_CONNECT") },
    Case { met: libc::EBUSY as u8, ..at("errno of the first", "rename", "/data/errno/x", "NO_RENAME") },
    Case { met: libc::EROFS as u8, ..at("errno unlink", "unlink", "/data/errno/z", "NO_DELETE") },
    Case { met: EPERM, ..at("errno of the kernel", "unshare", "", "NO_NAMESPACE") },
];

pub const BARE: &[Case] = &[
    at("net.connect", "connect", "127.0.0.1:7777", "NO_CONNECT"),
    // Nobody listens there.
    Case { free: libc::ENOENT as u8, ..at("net.connect unix", "connect", "", "NO_CONNECT") },
    at("net.send", "sendto", "127.0.0.1:7777", "NO_SEND"),
    at("net.send message", "sendmsg", "127.0.0.1:7777", "NO_SEND"),
    at("net.send write", "unlisted", "", "NO_SEND"),
    at("net.send sendfile", "unlisted", "", "NO_SEND"),
    at("net.send splice", "unlisted", "", "NO_SEND"),
    at("net.bind", "bind", "127.0.0.1:7777", "NO_BIND"),
    at("net.listen", "listen", "0.0.0.0:0", "NO_LISTEN"),
    at("proc.signal", "kill", "", "NO_SIGNAL"),
    at("proc.ptrace", "ptrace", "", "NO_PTRACE"),
    at("proc.ptrace traceme", "ptrace", "", "NO_PTRACE"),
    at("sys.bpf", "bpf", "", "NO_BPF"),
    at("sys.io_uring", "io_uring_setup", "", "NO_RING"),
    at("sys.setuid", "setuid", "", "NO_SETUID"),
    at("sys.setuid gid", "setgid", "", "NO_SETUID"),
    at("sys.setuid groups", "setgroups", "", "NO_SETUID"),
    at("sys.mount", "mount", "/data/mount", "NO_MOUNT"),
    at("sys.mount umount", "umount2", "/data/mounted", "NO_MOUNT"),
    // Judged by the capability that the call asks for.
    Case { met: EPERM, ..at("sys.mount move", "open_tree", "", "NO_MOUNT") },
    Case { met: EPERM, ..at("sys.namespace unshare", "unshare", "", "NO_NAMESPACE") },
    Case { met: EPERM, ..at("sys.namespace setns", "setns", "", "NO_NAMESPACE") },
    at("sys.namespace chroot", "chroot", "/data", "NO_NAMESPACE"),
];

/// By the name of the socket that is reached, however it is written.
pub const SOCKETS: &[Case] = &[
    at("unix stream", "connect", "/data/run/denied.sock", "NO_SOCKET"),
    at("unix packets", "connect", "/data/run/denied.seq", "NO_SOCKET"),
    at("unix mounted", "connect", "/data/run/denied.sock", "NO_SOCKET"),
    at("unix chroot", "connect", "/data/run/denied.sock", "NO_SOCKET"),
    at("unix link", "connect", "/data/run/denied.sock", "NO_SOCKET"),
    at("unix second name", "connect", "/data/run/denied.sock", "NO_SOCKET"),
    at("unix ring", "io_uring", "/data/run/denied.sock", "NO_SOCKET"),
    at("unix ring datagram", "io_uring", "/data/run/denied.log", "NO_SOCKET"),
    at("unix abstract", "connect", "@rgt-denied/1", "NO_SOCKET"),
    at("unix datagram", "sendto", "/data/run/denied.log", "NO_SOCKET"),
    at("unix message", "sendmsg", "/data/run/denied.log", "NO_SOCKET"),
    at("unix datagram connect", "connect", "/data/run/denied.log", "NO_SOCKET"),
    at("unix send", "sendto", "/data/run/mute.sock", "NO_TALK"),
    at("unix send packet", "sendto", "/data/run/mute.seq", "NO_TALK"),
    at("unix write", "unlisted", "/data/run/mute.sock", "NO_TALK"),
    at("unix write datagram", "unlisted", "/data/run/mute.log", "NO_TALK"),
    at("unix outside", "connect", "/data/outside.sock", "ONLY_THESE"),
    at("unix rest", "connect", "/data/inside/rest.sock", "NO_CONNECT"),
];

/// By the signal, to whatever process and by whatever call.
pub const SIGNALS: &[Case] = &[
    at("signal KILL", "kill", "SIGKILL", "NO_KILL"),
    at("signal KILL group", "kill", "SIGKILL", "NO_KILL"),
    at("signal KILL thread", "tgkill", "SIGKILL", "NO_KILL"),
    at("signal KILL pidfd", "pidfd_send_signal", "SIGKILL", "NO_KILL"),
    at("signal KILL queued", "rt_sigqueueinfo", "SIGKILL", "NO_KILL"),
    at("signal real-time", "kill", "34", "NO_KILL"),
    at("signal 64", "kill", "64", "ONLY_THESE"),
    at("signal HUP", "kill", "SIGHUP", "ONLY_THESE"),
    at("signal stranger", "kill", "SIGURG", "ONLY_THESE"),
    // By which signal is not known yet.
    at("signal owner", "unlisted", "", "RULE_UNKNOWN"),
];

/// An attempt that needs a capability; `object` is which.
pub const CAPABILITIES: &[Case] = &[
    Case { met: EPERM, ..at("capability socket", "unlisted", "CAP_NET_RAW", "NO_CAPABILITY") },
    // Where it holds all of them.
    Case { met: EPERM, ..at("capability namespace", "unlisted", "CAP_NET_RAW", "NO_CAPABILITY") },
    Case { met: EPERM, ..at("capability chown", "chown", "CAP_CHOWN", "NO_CAPABILITY") },
    at("capability bind", "bind", "CAP_NET_BIND_SERVICE", "NO_CAPABILITY"),
    at("capability nice", "unlisted", "CAP_SYS_NICE", "NO_CAPABILITY"),
    at("capability open", "openat", "CAP_DAC_READ_SEARCH,CAP_DAC_OVERRIDE", "NO_OVERRIDE"),
    at("capability ring", "io_uring", "CAP_DAC_OVERRIDE", "NO_OVERRIDE"),
];

/// What a kernel lacks the hook for (docs/kernels.md): these go through there.
pub fn goes_through(kernel: &str, check: &str) -> bool {
    kernel == "5.10" && ["sys.io_uring", "sys.setuid groups"].contains(&check)
}
