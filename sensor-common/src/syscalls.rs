//! The syscalls that make an attempt, as a table: where each keeps its paths, addresses and arguments.
//!
//! The kernel side holds it in two maps, by 64-bit and by 32-bit number, and reads arguments by it;
//! nothing else knows a syscall's shape.

use crate::{action::Action, guard::Guard};

/// No such argument.
pub const NONE: u8 = 0xff;

/// What needs more than the table's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Shape {
    Plain = 0,
    /// Path, then an array of argument strings.
    Exec = 1,
    /// The flags argument says what an open means.
    Open = 2,
    /// `struct open_how` behind a pointer.
    OpenHow = 3,
    /// An address and its length.
    Address = 4,
    /// `struct msghdr` behind a pointer.
    Message = 5,
    /// i386's multiplexer: the call's number is the first argument.
    SocketCall = 6,
}

/// Columns the kernel side needs; 16 bytes a syscall.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    /// Index into `SYSCALLS` plus one; 0 is a number nobody watches.
    pub id: u16,
    pub shape: u8,
    /// Argument that holds the first path.
    pub path: u8,
    /// Directory descriptor the first path starts from; with no path, the object's descriptor.
    pub dirfd: u8,
    pub path2: u8,
    pub dirfd2: u8,
    /// Address, message header, argument strings or `open_how`, as the shape says.
    pub pointer: u8,
    /// The address's length.
    pub length: u8,
    /// Open flags.
    pub flags: u8,
    pub reserved: [u8; 6],
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Syscall {
    pub name: &'static str,
    pub nr64: Option<u16>,
    pub nr32: Option<u16>,
    pub shape: Shape,
    pub path: u8,
    pub dirfd: u8,
    pub path2: u8,
    pub dirfd2: u8,
    pub pointer: u8,
    pub length: u8,
    pub flags: u8,
    /// What it is called by. Opens, renames and truncations mean more: the daemon adds it from the arguments.
    pub action: Action,
}

impl Syscall {
    const fn new(name: &'static str, nr64: i16, nr32: i16, action: Action) -> Syscall {
        Syscall {
            name,
            nr64: if nr64 < 0 { None } else { Some(nr64 as u16) },
            nr32: if nr32 < 0 { None } else { Some(nr32 as u16) },
            shape: Shape::Plain,
            path: NONE,
            dirfd: NONE,
            path2: NONE,
            dirfd2: NONE,
            pointer: NONE,
            length: NONE,
            flags: NONE,
            action,
        }
    }

    const fn path(mut self, argument: u8) -> Syscall {
        self.path = argument;
        self
    }

    const fn at(mut self, dirfd: u8, path: u8) -> Syscall {
        self.dirfd = dirfd;
        self.path = path;
        self
    }

    const fn path2(mut self, argument: u8) -> Syscall {
        self.path2 = argument;
        self
    }

    const fn at2(mut self, dirfd: u8, path: u8) -> Syscall {
        self.dirfd2 = dirfd;
        self.path2 = path;
        self
    }

    const fn fd(mut self, argument: u8) -> Syscall {
        self.dirfd = argument;
        self
    }

    const fn flags(mut self, argument: u8) -> Syscall {
        self.flags = argument;
        self
    }

    const fn shape(mut self, shape: Shape, pointer: u8) -> Syscall {
        self.shape = shape;
        self.pointer = pointer;
        self
    }

    const fn length(mut self, argument: u8) -> Syscall {
        self.length = argument;
        self
    }

    pub const fn spec(&self, index: usize) -> Spec {
        Spec {
            id: index as u16 + 1,
            shape: self.shape as u8,
            path: self.path,
            dirfd: self.dirfd,
            path2: self.path2,
            dirfd2: self.dirfd2,
            pointer: self.pointer,
            length: self.length,
            flags: self.flags,
            reserved: [0; 6],
        }
    }
}

const fn s(name: &'static str, nr64: i16, nr32: i16, action: Action) -> Syscall {
    Syscall::new(name, nr64, nr32, action)
}

use Action as A;

pub const SYSCALLS: &[Syscall] = &[
    // Run a program.
    s("execve", 59, 11, A::ProcExec).path(0).shape(Shape::Exec, 1),
    s("execveat", 322, 358, A::ProcExec).at(0, 1).shape(Shape::Exec, 2).flags(4),
    // Open.
    s("open", 2, 5, A::FileRead).path(0).shape(Shape::Open, NONE).flags(1),
    s("openat", 257, 295, A::FileRead).at(0, 1).shape(Shape::Open, NONE).flags(2),
    s("openat2", 437, 437, A::FileRead).at(0, 1).shape(Shape::OpenHow, 2),
    s("creat", 85, 8, A::FileWrite).path(0),
    s("open_by_handle_at", 304, 342, A::FileRead).fd(0).shape(Shape::Open, NONE).flags(2),
    // Make.
    s("mkdir", 83, 39, A::FileCreate).path(0),
    s("mkdirat", 258, 296, A::FileCreate).at(0, 1),
    s("mknod", 133, 14, A::FileCreate).path(0),
    s("mknodat", 259, 297, A::FileCreate).at(0, 1),
    // Remove.
    s("unlink", 87, 10, A::FileDelete).path(0),
    s("unlinkat", 263, 301, A::FileDelete).at(0, 1).flags(2),
    s("rmdir", 84, 40, A::FileDelete).path(0),
    // Rename.
    s("rename", 82, 38, A::FileRename).path(0).path2(1),
    s("renameat", 264, 302, A::FileRename).at(0, 1).at2(2, 3),
    s("renameat2", 316, 353, A::FileRename).at(0, 1).at2(2, 3).flags(4),
    // Link.
    s("link", 86, 9, A::FileLink).path(0).path2(1),
    s("linkat", 265, 303, A::FileLink).at(0, 1).at2(2, 3).flags(4),
    s("symlink", 88, 83, A::FileLink).path(0).path2(1),
    s("symlinkat", 266, 304, A::FileLink).path(0).at2(1, 2),
    // Cut.
    s("truncate", 76, 92, A::FileWrite).path(0),
    s("ftruncate", 77, 93, A::FileWrite).fd(0),
    s("truncate64", -1, 193, A::FileWrite).path(0),
    s("ftruncate64", -1, 194, A::FileWrite).fd(0),
    s("fallocate", 285, 324, A::FileWrite).fd(0),
    // Attributes.
    s("chmod", 90, 15, A::FileAttr).path(0),
    s("fchmod", 91, 94, A::FileAttr).fd(0),
    s("fchmodat", 268, 306, A::FileAttr).at(0, 1),
    s("fchmodat2", 452, 452, A::FileAttr).at(0, 1),
    s("chown", 92, 182, A::FileAttr).path(0),
    s("chown32", -1, 212, A::FileAttr).path(0),
    s("lchown", 94, 16, A::FileAttr).path(0),
    s("lchown32", -1, 198, A::FileAttr).path(0),
    s("fchown", 93, 95, A::FileAttr).fd(0),
    s("fchown32", -1, 207, A::FileAttr).fd(0),
    s("fchownat", 260, 298, A::FileAttr).at(0, 1),
    s("utime", 132, 30, A::FileAttr).path(0),
    s("utimes", 235, 271, A::FileAttr).path(0),
    s("futimesat", 261, 299, A::FileAttr).at(0, 1),
    s("utimensat", 280, 320, A::FileAttr).at(0, 1),
    s("utimensat_time64", -1, 412, A::FileAttr).at(0, 1),
    s("setxattr", 188, 226, A::FileAttr).path(0),
    s("lsetxattr", 189, 227, A::FileAttr).path(0),
    s("fsetxattr", 190, 228, A::FileAttr).fd(0),
    s("setxattrat", 463, 463, A::FileAttr).at(0, 1),
    s("removexattr", 197, 235, A::FileAttr).path(0),
    s("lremovexattr", 198, 236, A::FileAttr).path(0),
    s("fremovexattr", 199, 237, A::FileAttr).fd(0),
    s("removexattrat", 466, 466, A::FileAttr).at(0, 1),
    s("file_setattr", 469, 469, A::FileAttr).at(0, 1),
    // Network.
    s("connect", 42, 362, A::NetConnect).shape(Shape::Address, 1).length(2),
    s("bind", 49, 361, A::NetBind).shape(Shape::Address, 1).length(2),
    s("listen", 50, 363, A::NetListen),
    s("sendto", 44, 369, A::NetSend).shape(Shape::Address, 4).length(5),
    s("sendmsg", 46, 370, A::NetSend).shape(Shape::Message, 1),
    s("sendmmsg", 307, 345, A::NetSend).shape(Shape::Message, 1),
    s("socketcall", -1, 102, A::NetConnect).shape(Shape::SocketCall, 1),
    // Other processes.
    s("ptrace", 101, 26, A::ProcPtrace),
    s("process_vm_readv", 310, 347, A::ProcPtrace),
    s("process_vm_writev", 311, 348, A::ProcPtrace),
    s("kill", 62, 37, A::ProcSignal),
    s("tkill", 200, 238, A::ProcSignal),
    s("tgkill", 234, 270, A::ProcSignal),
    s("rt_sigqueueinfo", 129, 178, A::ProcSignal),
    s("rt_tgsigqueueinfo", 297, 335, A::ProcSignal),
    s("pidfd_send_signal", 424, 424, A::ProcSignal),
    // Identity.
    s("setuid", 105, 23, A::SysSetuid),
    s("setuid32", -1, 213, A::SysSetuid),
    s("setgid", 106, 46, A::SysSetuid),
    s("setgid32", -1, 214, A::SysSetuid),
    s("setreuid", 113, 70, A::SysSetuid),
    s("setreuid32", -1, 203, A::SysSetuid),
    s("setregid", 114, 71, A::SysSetuid),
    s("setregid32", -1, 204, A::SysSetuid),
    s("setresuid", 117, 164, A::SysSetuid),
    s("setresuid32", -1, 208, A::SysSetuid),
    s("setresgid", 119, 170, A::SysSetuid),
    s("setresgid32", -1, 210, A::SysSetuid),
    s("setfsuid", 122, 138, A::SysSetuid),
    s("setfsuid32", -1, 215, A::SysSetuid),
    s("setfsgid", 123, 139, A::SysSetuid),
    s("setfsgid32", -1, 216, A::SysSetuid),
    s("setgroups", 116, 81, A::SysSetuid),
    s("setgroups32", -1, 206, A::SysSetuid),
    s("capset", 126, 185, A::SysSetuid),
    // Mounts and namespaces.
    s("mount", 165, 21, A::SysMount).path(0).path2(1),
    s("umount2", 166, 52, A::SysMount).path(0),
    s("umount", -1, 22, A::SysMount).path(0),
    s("open_tree", 428, 428, A::SysMount).at(0, 1),
    s("open_tree_attr", 467, 467, A::SysMount).at(0, 1),
    s("move_mount", 429, 429, A::SysMount).at(0, 1).at2(2, 3),
    s("fsopen", 430, 430, A::SysMount).path(0),
    s("fsmount", 432, 432, A::SysMount).fd(0),
    s("fspick", 433, 433, A::SysMount).at(0, 1),
    s("mount_setattr", 442, 442, A::SysMount).at(0, 1),
    s("pivot_root", 155, 217, A::SysNamespace).path(0).path2(1),
    s("chroot", 161, 61, A::SysNamespace).path(0),
    s("unshare", 272, 310, A::SysNamespace),
    s("setns", 308, 346, A::SysNamespace),
    // Work that a ring's worker does for the process: hooks see it, no syscall of its own does.
    s("io_uring", -1, -1, A::SysIoUring),
    // What a hook sees outside of all calls of this table.
    s("mmap", -1, -1, A::FileMapExec),
    s("mprotect", -1, -1, A::FileMapExec),
    s("receive", -1, -1, A::FileRead),
    s("unlisted", -1, -1, A::FileRead),
    // The kernel's own extensions.
    s("bpf", 321, 357, A::SysBpf),
    s("io_uring_setup", 425, 425, A::SysIoUring),
    s("init_module", 175, 128, A::SysModule),
    s("finit_module", 313, 350, A::SysModule).fd(0),
    s("delete_module", 176, 129, A::SysModule),
    s("kexec_load", 246, 283, A::SysModule),
    s("kexec_file_load", 320, -1, A::SysModule).fd(0),
    s("add_key", 248, 286, A::SysKeys),
    s("request_key", 249, 287, A::SysKeys),
    s("keyctl", 250, 288, A::SysKeys),
    s("swapon", 167, 87, A::SysMachine).path(0),
    s("swapoff", 168, 115, A::SysMachine).path(0),
];

/// The highest number in either table, with room: the size of the kernel's maps.
pub const MAX_NR: u32 = 512;

/// Spec ids of the calls whose second argument is a file's new length.
pub const TRUNCATIONS: [u16; 4] = {
    let mut found = [0; 4];
    let mut count = 0;
    let mut index = 0;
    while index < SYSCALLS.len() {
        let row = &SYSCALLS[index];
        if matches!((row.nr64, row.nr32), (Some(76 | 77), _) | (None, Some(193 | 194))) {
            found[count] = index as u16 + 1;
            count += 1;
        }
        index += 1;
    }
    found
};

/// Spec ids of the calls that return a file they may have made.
pub const OPENS: [u16; 5] = {
    let mut found = [0; 5];
    let mut count = 0;
    let mut index = 0;
    while index < SYSCALLS.len() {
        let row = &SYSCALLS[index];
        // creat has no flags, but makes files like the others.
        if matches!(row.shape, Shape::Open | Shape::OpenHow) || matches!(row.nr64, Some(85)) {
            found[count] = index as u16 + 1;
            count += 1;
        }
        index += 1;
    }
    found
};

/// Spec id of the row of that name.
const fn id(name: &str) -> u16 {
    let mut index = 0;
    while index < SYSCALLS.len() {
        if same(SYSCALLS[index].name.as_bytes(), name.as_bytes()) {
            return index as u16 + 1;
        }
        index += 1;
    }
    panic!("no such row")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut at = 0;
    while at < a.len() && at < b.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    a.len() == b.len()
}

/// Work submitted through a ring.
pub const IO_URING: u16 = id("io_uring");
pub const EXECVE: u16 = id("execve");
pub const EXECVEAT: u16 = id("execveat");
/// Mapping a file, or giving a mapping another protection: recorded where a rule speaks of it.
pub const MMAP: u16 = id("mmap");
pub const MPROTECT: u16 = id("mprotect");
/// A descriptor that comes from another process.
pub const RECEIVE: u16 = id("receive");
/// A call that has no number in the table, told for what a hook saw in it.
pub const UNLISTED: u16 = id("unlisted");

/// First and last of the calls that change attributes.
pub const ATTRIBUTES: [u16; 2] = [id("chmod"), id("file_setattr")];
pub const RENAMEAT2: u16 = id("renameat2");
pub const IO_URING_SETUP: u16 = id("io_uring_setup");

/// Calls that the kernel asks nothing about but a capability, and what they mean.
pub const BY_CAPABILITY: [(u16, Action); 10] = [
    (id("open_tree"), A::SysMount),
    (id("open_tree_attr"), A::SysMount),
    (id("fsopen"), A::SysMount),
    (id("fsmount"), A::SysMount),
    (id("fspick"), A::SysMount),
    (id("mount_setattr"), A::SysMount),
    (id("unshare"), A::SysNamespace),
    (id("setns"), A::SysNamespace),
    (id("swapon"), A::SysMachine),
    (id("swapoff"), A::SysMachine),
];

/// The calls about the kernel's keys.
pub const KEYS: [u16; 3] = [id("add_key"), id("request_key"), id("keyctl")];

/// Capabilities that are asked for one purpose alone, what it is, and the guard's rule: `CAP_SYS_MODULE`,
/// `CAP_SYS_RAWIO`, `CAP_SYS_PACCT`, `CAP_SYS_BOOT`, `CAP_SYS_TIME`.
pub const CAPABILITIES: [(u32, Action, Guard); 5] = [
    (16, A::SysModule, Guard::Modules),
    (17, A::SysMachine, Guard::Ports),
    (20, A::SysMachine, Guard::Accounting),
    (22, A::SysMachine, Guard::Reboot),
    (25, A::SysMachine, Guard::Clock),
];

impl Syscall {
    /// No entry shows it: it means what hooks found.
    pub const fn is_of_hooks(&self) -> bool {
        self.nr64.is_none() && self.nr32.is_none()
    }
}
