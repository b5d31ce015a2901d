//! What a call was given beside names and addresses: whom it signals or traces, who it becomes, with which flags.

/// How an argument's bits are meant.
#[derive(Clone, Copy)]
enum Kind {
    /// An `int`.
    Number,
    /// A user or a group; −1 leaves it as it is.
    Owner,
    /// Told where there are some.
    Flags,
}

use Kind::{Flags, Number, Owner};

type Parameter = (&'static str, usize, Kind);

/// Names of calls, those with `32` behind them included, and what their arguments are called, by name.
const PARAMETERS: &[(&[&str], &[Parameter])] = &[
    (&["kill", "process_vm_readv", "process_vm_writev"], &[("pid", 0, Number)]),
    (&["tkill"], &[("tid", 0, Number)]),
    (&["tgkill", "rt_tgsigqueueinfo"], &[("tgid", 0, Number), ("tid", 1, Number)]),
    (&["rt_sigqueueinfo"], &[("tgid", 0, Number)]),
    (&["pidfd_send_signal"], &[("flags", 3, Flags), ("pidfd", 0, Number)]),
    (&["ptrace"], &[("pid", 1, Number), ("request", 0, Number)]),
    (&["setuid"], &[("uid", 0, Owner)]),
    (&["setgid"], &[("gid", 0, Owner)]),
    (&["setreuid"], &[("euid", 1, Owner), ("ruid", 0, Owner)]),
    (&["setregid"], &[("egid", 1, Owner), ("rgid", 0, Owner)]),
    (&["setresuid"], &[("euid", 1, Owner), ("ruid", 0, Owner), ("suid", 2, Owner)]),
    (&["setresgid"], &[("egid", 1, Owner), ("rgid", 0, Owner), ("sgid", 2, Owner)]),
    (&["setfsuid"], &[("fsuid", 0, Owner)]),
    (&["setfsgid"], &[("fsgid", 0, Owner)]),
    (&["setgroups"], &[("size", 0, Number)]),
    (&["creat", "mkdir", "chmod", "fchmod", "fallocate"], &[("mode", 1, Number)]),
    (&["mkdirat", "fchmodat"], &[("mode", 2, Number)]),
    (&["fchmodat2"], &[("flags", 3, Flags), ("mode", 2, Number)]),
    (&["mknod"], &[("dev", 2, Number), ("mode", 1, Number)]),
    (&["mknodat"], &[("dev", 3, Number), ("mode", 2, Number)]),
    (&["chown", "lchown", "fchown"], &[("group", 2, Owner), ("owner", 1, Owner)]),
    (&["fchownat"], &[("flags", 4, Flags), ("group", 3, Owner), ("owner", 2, Owner)]),
    (&["unlinkat", "open_tree", "fspick", "mount_setattr", "finit_module"], &[("flags", 2, Flags)]),
    (&["renameat2", "linkat", "execveat", "move_mount", "kexec_file_load"], &[("flags", 4, Flags)]),
    (&["mount", "kexec_load"], &[("flags", 3, Flags)]),
    (&["umount2", "fsopen", "fsmount", "delete_module", "swapon"], &[("flags", 1, Flags)]),
    (&["unshare"], &[("flags", 0, Flags)]),
    (&["setns"], &[("fd", 0, Number), ("nstype", 1, Flags)]),
    (&["bpf"], &[("cmd", 0, Number)]),
    (&["keyctl"], &[("operation", 0, Number)]),
    (&["io_uring_setup"], &[("entries", 0, Number)]),
    (&["listen"], &[("backlog", 1, Number), ("fd", 0, Number)]),
];

/// The call's, by their names in order.
pub fn given(call: &str, compat: bool, args: &[u64; 6]) -> Vec<(&'static str, i64)> {
    let plain = call.strip_suffix("32").unwrap_or(call);
    let Some((_, parameters)) = PARAMETERS.iter().find(|(calls, _)| calls.contains(&plain)) else { return Vec::new() };
    // i386's first calls of this kind know sixteen bits of an owner.
    let short = compat && plain == call;
    let value = |(name, position, kind): &Parameter| {
        let bits = args[*position];
        let value = match kind {
            Number => i64::from(bits as i32),
            Owner if short && bits as u16 != u16::MAX => i64::from(bits as u16),
            Owner if short || bits as u32 == u32::MAX => -1,
            Owner => i64::from(bits as u32),
            Flags if bits == 0 => return None,
            // Those of every call have 32 bits; what is above them the kernel does not look at.
            Flags => i64::from(bits as u32),
        };
        Some((*name, value))
    };
    parameters.iter().filter_map(value).collect()
}

#[cfg(test)]
mod tests {
    use sensor_common::syscalls::SYSCALLS;

    use super::*;

    #[test]
    fn arguments_are_told_as_they_are_meant() {
        let args = |first: &[u64]| {
            let mut args = [0; 6];
            args[..first.len()].copy_from_slice(first);
            args
        };
        let minus = u64::from(u32::MAX);
        for (call, compat, first, told) in [
            ("kill", false, &[minus - 41][..], &[("pid", -42)][..]),
            ("tgkill", false, &[7, 8, 9], &[("tgid", 7), ("tid", 8)]),
            ("setresuid", false, &[0, minus, 1000], &[("euid", -1), ("ruid", 0), ("suid", 1000)]),
            ("setresuid", true, &[0, 0xffff, 0x1_03e8], &[("euid", -1), ("ruid", 0), ("suid", 1000)]),
            ("setresuid32", true, &[0, minus, 0x1_0000], &[("euid", -1), ("ruid", 0), ("suid", 0x1_0000)]),
            ("unshare", false, &[0x1000_0000], &[("flags", 0x1000_0000)]),
            ("unshare", false, &[0], &[]),
            ("chmod", false, &[1, 0o640], &[("mode", 0o640)]),
            ("openat", false, &[1, 2, 3], &[]),
        ] {
            assert_eq!(given(call, compat, &args(first)), told, "{call}");
        }
    }

    #[test]
    fn the_table_names_calls_that_there_are_and_keys_in_order() {
        for (calls, parameters) in PARAMETERS {
            for call in *calls {
                assert!(SYSCALLS.iter().any(|row| row.name == *call), "{call}");
            }
            assert!(parameters.is_sorted_by(|(one, ..), (next, ..)| one < next), "{calls:?}");
        }
    }
}
