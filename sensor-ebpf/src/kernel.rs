//! Reading the kernel's structures and the process's memory.

use aya_ebpf::helpers::generated::{
    bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel, bpf_probe_read_kernel_str,
    bpf_probe_read_user, bpf_probe_read_user_str,
};
use core::mem::MaybeUninit;

macro_rules! offsets {
    ($($name:ident),* $(,)?) => {
        unsafe extern "C" { $(fn $name() -> u32;)* }
        /// Byte offsets of fields in the running kernel.
        pub mod off {
            $(
                #[inline(always)]
                pub fn $name() -> u64 {
                    // SAFETY: a getter of getters.c: takes nothing, touches nothing, returns a constant.
                    u64::from(unsafe { super::$name() })
                }
            )*
        }
    };
}

offsets!(
    off_task_status, off_task_mm, off_task_cred, off_task_real_cred, off_task_cgroups, off_task_fs, off_task_files,
    off_task_signal, off_task_thread_node, off_task_pid, off_task_tgid, off_signal_thread_head, off_mm_exe_file,
    off_mm_arg_start, off_mm_arg_end, off_cred_uid, off_cred_caps, off_css_set_dfl, off_cgroup_kn, off_cgroup_root,
    off_cgroup_parent, off_cgroup_root_hierarchy, off_kernfs_id, off_fs_root, off_fs_pwd, off_path_mnt,
    off_path_dentry, off_vfsmount_root, off_mount_parent, off_mount_mountpoint, off_mount_mnt, off_dentry_parent,
    off_dentry_name, off_dentry_hash_len, off_dentry_short, off_dentry_inode, off_dentry_alias, off_inode_dentries,
    off_file_path, off_file_mode, off_fdtable_max, off_fdtable_fd, off_files_fdt, off_bprm_filename, off_file_inode,
    off_inode_mode, off_task_flags, off_mount_ns, off_mount_group, off_dentry_sb, off_sb_flags, off_file_flags,
    has_mount_idmap, has_setattr_idmap, off_task_personality, off_bprm_file, off_vma_flags, off_vma_file,
    off_socket_type, off_socket_sk, off_socket_alloc_inode, off_sock_type, off_sock_protocol, off_sock_family,
    off_sock_port, off_sock_local, off_sock_local6, off_task_thread_pid, off_task_pid_links, off_pid_level,
    off_pid_tasks, off_pid_numbers, off_proc_inode_pid, off_proc_inode_vfs, off_signal_live, off_signal_pids,
    off_sb_magic, off_inode_number, off_inode_device, off_sock_listener, off_unix_path, off_unix_address,
    off_unix_address_len, off_unix_address_name, off_unix_peer, off_sock_peer_port, off_sock_peer, off_sock_peer6,
    off_msg_name, off_msg_namelen, off_msg_control, off_msg_controllen, off_msg_flags, off_inode_generation,
    off_inode_sb, off_sb_device, off_inode_changed, off_inode_changed_ns, off_skb_sock, off_sock_net, off_net_number,
);

unsafe extern "C" {
    fn add_u64(value: *mut u64, by: u64);
}

/// Adds, also when another program does so at the same time.
#[inline(always)]
pub fn add(value: *mut u64, by: u64) {
    // SAFETY: `value` points into a map value; the add is atomic.
    unsafe { add_u64(value, by) }
}

/// Sets words to 0, one by one: what the compiler makes of it otherwise is a loop over bytes.
#[inline(always)]
pub unsafe fn clear<const N: usize>(words: *mut [u64; N]) {
    for word in 0..N {
        // SAFETY: the caller's `words` points to that many.
        unsafe { words.cast::<u64>().add(word).write_volatile(0) };
    }
}

/// Reads a `T` of the kernel's; `None` where the address does not bear it.
#[inline(always)]
pub fn read<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes exactly `size_of::<T>()` bytes, or fails.
    let result =
        unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    if result != 0 {
        return None;
    }
    // SAFETY: the helper filled it.
    Some(unsafe { value.assume_init() })
}

/// Reads a `T` of the process's.
#[inline(always)]
pub fn read_user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper writes exactly `size_of::<T>()` bytes, or fails.
    let result = unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, address as *const _) };
    if result != 0 {
        return None;
    }
    // SAFETY: the helper filled it.
    Some(unsafe { value.assume_init() })
}

/// Reads a string of the process's; its length with the NUL, or a negative errno.
#[inline(always)]
pub fn read_user_str(to: *mut u8, room: u32, address: u64) -> i64 {
    // SAFETY: the caller's `to` has `room` bytes; the verifier proves it.
    unsafe { bpf_probe_read_user_str(to.cast(), room, address as *const _) as i64 }
}

#[inline(always)]
pub fn read_user_bytes(to: *mut u8, len: u32, address: u64) -> i64 {
    // SAFETY: the caller's `to` has `len` bytes; the verifier proves it.
    unsafe { bpf_probe_read_user(to.cast(), len, address as *const _) as i64 }
}

#[inline(always)]
pub fn read_kernel_str(to: *mut u8, room: u32, address: u64) -> i64 {
    // SAFETY: the caller's `to` has `room` bytes; the verifier proves it.
    unsafe { bpf_probe_read_kernel_str(to.cast(), room, address as *const _) as i64 }
}

#[inline(always)]
pub fn read_kernel_bytes(to: *mut u8, len: u32, address: u64) -> i64 {
    // SAFETY: the caller's `to` has `len` bytes; the verifier proves it.
    unsafe { bpf_probe_read_kernel(to.cast(), len, address as *const _) as i64 }
}

/// The current thread's number and its process's, in the first namespace.
#[inline(always)]
pub fn current_numbers() -> (u32, u32) {
    // SAFETY: takes nothing.
    let both = unsafe { bpf_get_current_pid_tgid() };
    (both as u32, (both >> 32) as u32)
}

#[inline(always)]
pub fn current_task() -> u64 {
    // SAFETY: takes nothing.
    unsafe { bpf_get_current_task() }
}

/// The file behind a descriptor of the current task's, or 0.
#[inline(always)]
pub fn file_of(task: u64, fd: u64) -> u64 {
    let Some(files) = read::<u64>(task + off::off_task_files()) else { return 0 };
    let Some(table) = read::<u64>(files + off::off_files_fdt()) else { return 0 };
    let Some(max) = read::<u32>(table + off::off_fdtable_max()) else { return 0 };
    let fd = fd as u32;
    if fd >= max {
        return 0;
    }
    let Some(array) = read::<u64>(table + off::off_fdtable_fd()) else { return 0 };
    read::<u64>(array + u64::from(fd) * 8).unwrap_or(0)
}

/// The dentry that a file was opened by.
#[inline(always)]
pub fn dentry_of(file: u64) -> Option<u64> {
    read::<u64>(file + off::off_file_path() + off::off_path_dentry())
}

/// Id of a cgroup of the v2 hierarchy; 0 for one of another.
#[inline(always)]
pub fn cgroup_id(cgroup: u64) -> u64 {
    let Some(root) = read::<u64>(cgroup + off::off_cgroup_root()) else { return 0 };
    // The v2 hierarchy is number 0; ids of the others mean something else.
    if read::<u32>(root + off::off_cgroup_root_hierarchy()) != Some(0) {
        return 0;
    }
    let Some(node) = read::<u64>(cgroup + off::off_cgroup_kn()) else { return 0 };
    read::<u64>(node + off::off_kernfs_id()).unwrap_or(0)
}
