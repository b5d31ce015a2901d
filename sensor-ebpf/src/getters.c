// Where the running kernel keeps what we read. Rust emits no CO-RE relocations, so these few lines are C:
// each function is one offset, put right by the loader from the kernel's own type information.

typedef unsigned int u32;
typedef unsigned long long u64;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct list_head { struct list_head *next; };
struct hlist_node { struct hlist_node *next; };
struct hlist_head { struct hlist_node *first; };
struct kernfs_node { u64 id; };
struct cgroup_root { int hierarchy_id; };
struct cgroup_subsys_state { struct cgroup_subsys_state *parent; };
struct cgroup { struct cgroup_subsys_state self; struct kernfs_node *kn; struct cgroup_root *root; };
struct css_set { struct cgroup *dfl_cgrp; };
struct kuid { u32 val; };
struct caps { u64 val; };
struct cred { struct kuid uid; struct caps cap_effective; };
struct vfsmount { struct dentry *mnt_root; struct super_block *mnt_sb; void *mnt_userns; void *mnt_idmap; };
struct path { struct vfsmount *mnt; struct dentry *dentry; };
struct fs_struct { struct path root; struct path pwd; };
struct mount { struct mount *mnt_parent; struct dentry *mnt_mountpoint; struct vfsmount mnt; void *mnt_ns; int mnt_group_id; };
struct qstr { u64 hash_len; const unsigned char *name; };
union shortname_store { unsigned char string[40]; };
union dentry_use { struct hlist_node d_alias; };
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	struct super_block *d_sb;
	// One of these two, by the kernel's age.
	unsigned char d_iname[40];
	union shortname_store d_shortname;
	union dentry_use d_u;
};
struct super_block { u32 s_dev; unsigned long s_flags; unsigned long s_magic; struct dentry *s_root; };
struct timespec64 { long long tv_sec; long tv_nsec; };
struct inode {
	unsigned short i_mode;
	u32 i_rdev;
	unsigned long i_ino;
	struct hlist_head i_dentry;
	u32 i_generation;
	struct super_block *i_sb;
	// One of these three, by the kernel's age.
	struct timespec64 i_ctime;
	struct timespec64 __i_ctime;
	long long i_ctime_sec;
	u32 i_ctime_nsec;
};
struct file { struct path f_path; u32 f_mode; u32 f_flags; struct inode *f_inode; };
struct fdtable { u32 max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct mm_struct { struct file *exe_file; unsigned long arg_start; unsigned long arg_end; };
struct upid { int nr; };
struct pid { u32 level; struct hlist_head tasks[4]; struct upid numbers[1]; };
struct proc_inode { struct pid *pid; struct inode vfs_inode; };
struct counter { int counter; };
struct signal_struct { struct counter live; struct list_head thread_head; struct pid *pids[4]; };
struct thread_info { u32 status; };
struct task_struct {
	struct thread_info thread_info;
	struct mm_struct *mm;
	struct cred *real_cred;
	struct cred *cred;
	struct css_set *cgroups;
	struct fs_struct *fs;
	struct files_struct *files;
	struct signal_struct *signal;
	struct list_head thread_node;
	int pid;
	int tgid;
	u32 flags;
	u32 personality;
	struct pid *thread_pid;
	struct hlist_node pid_links[4];
};
struct vm_area_struct { unsigned long vm_flags; struct file *vm_file; };
struct in6_addr { u32 words[4]; };
struct ns_common { u32 inum; };
struct net { struct ns_common ns; };
struct net_pointer { struct net *net; };
struct sock_common {
	u32 skc_daddr;
	u32 skc_rcv_saddr;
	unsigned short skc_dport;
	unsigned short skc_num;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	struct net_pointer skc_net;
};
struct sk_buff { struct sock *sk; };
struct sock { struct sock_common __sk_common; unsigned short sk_type; unsigned short sk_protocol; struct pid *sk_peer_pid; };
struct sockaddr_un { unsigned short sun_family; };
struct unix_address { int len; struct sockaddr_un name[1]; };
struct unix_sock { struct unix_address *addr; struct path path; struct sock *peer; };
struct socket { short type; struct sock *sk; };
struct socket_alloc { struct socket socket; struct inode vfs_inode; };
struct msghdr { void *msg_name; int msg_namelen; void *msg_control; unsigned long msg_controllen; u32 msg_flags; };
struct vfsuid { u32 val; };
struct iattr { struct vfsuid ia_vfsuid; };
struct linux_binprm { const char *filename; struct file *file; };

#pragma clang attribute pop

#define OFFSET(name, type, field) \
	__attribute__((always_inline)) u32 name(void) \
	{ return __builtin_preserve_field_info(((struct type *)0)->field, 0); }

OFFSET(off_task_status, task_struct, thread_info.status)
OFFSET(off_task_mm, task_struct, mm)
OFFSET(off_task_cred, task_struct, cred)
OFFSET(off_task_real_cred, task_struct, real_cred)
OFFSET(off_task_cgroups, task_struct, cgroups)
OFFSET(off_task_fs, task_struct, fs)
OFFSET(off_task_files, task_struct, files)
OFFSET(off_task_signal, task_struct, signal)
OFFSET(off_task_thread_node, task_struct, thread_node)
OFFSET(off_task_pid, task_struct, pid)
OFFSET(off_task_tgid, task_struct, tgid)
OFFSET(off_task_flags, task_struct, flags)
OFFSET(off_task_personality, task_struct, personality)
OFFSET(off_task_thread_pid, task_struct, thread_pid)
OFFSET(off_task_pid_links, task_struct, pid_links)
OFFSET(off_pid_level, pid, level)
OFFSET(off_pid_tasks, pid, tasks)
OFFSET(off_pid_numbers, pid, numbers)
OFFSET(off_proc_inode_pid, proc_inode, pid)
OFFSET(off_proc_inode_vfs, proc_inode, vfs_inode)
OFFSET(off_signal_live, signal_struct, live)
OFFSET(off_signal_pids, signal_struct, pids)
OFFSET(off_signal_thread_head, signal_struct, thread_head)
OFFSET(off_mm_exe_file, mm_struct, exe_file)
OFFSET(off_mm_arg_start, mm_struct, arg_start)
OFFSET(off_mm_arg_end, mm_struct, arg_end)
OFFSET(off_cred_uid, cred, uid)
OFFSET(off_cred_caps, cred, cap_effective)
OFFSET(off_css_set_dfl, css_set, dfl_cgrp)
OFFSET(off_cgroup_kn, cgroup, kn)
OFFSET(off_cgroup_root, cgroup, root)
OFFSET(off_cgroup_parent, cgroup, self.parent)
OFFSET(off_cgroup_root_hierarchy, cgroup_root, hierarchy_id)
OFFSET(off_kernfs_id, kernfs_node, id)
OFFSET(off_fs_root, fs_struct, root)
OFFSET(off_fs_pwd, fs_struct, pwd)
OFFSET(off_path_mnt, path, mnt)
OFFSET(off_path_dentry, path, dentry)
OFFSET(off_vfsmount_root, vfsmount, mnt_root)
OFFSET(off_mount_parent, mount, mnt_parent)
OFFSET(off_mount_mountpoint, mount, mnt_mountpoint)
OFFSET(off_mount_mnt, mount, mnt)
OFFSET(off_mount_ns, mount, mnt_ns)
OFFSET(off_mount_group, mount, mnt_group_id)
OFFSET(off_dentry_parent, dentry, d_parent)
OFFSET(off_dentry_name, dentry, d_name.name)
OFFSET(off_dentry_hash_len, dentry, d_name.hash_len)
OFFSET(off_dentry_inode, dentry, d_inode)
OFFSET(off_dentry_sb, dentry, d_sb)
OFFSET(off_sb_flags, super_block, s_flags)
OFFSET(off_sb_magic, super_block, s_magic)
OFFSET(off_file_path, file, f_path)
OFFSET(off_file_mode, file, f_mode)
OFFSET(off_file_flags, file, f_flags)
OFFSET(off_file_inode, file, f_inode)
OFFSET(off_inode_mode, inode, i_mode)
OFFSET(off_inode_number, inode, i_ino)
OFFSET(off_inode_device, inode, i_rdev)
OFFSET(off_inode_generation, inode, i_generation)
OFFSET(off_inode_sb, inode, i_sb)
OFFSET(off_sb_device, super_block, s_dev)
OFFSET(off_fdtable_max, fdtable, max_fds)
OFFSET(off_fdtable_fd, fdtable, fd)
OFFSET(off_files_fdt, files_struct, fdt)
OFFSET(off_bprm_filename, linux_binprm, filename)
OFFSET(off_bprm_file, linux_binprm, file)
OFFSET(off_socket_type, socket, type)
OFFSET(off_socket_sk, socket, sk)
OFFSET(off_socket_alloc_inode, socket_alloc, vfs_inode)
OFFSET(off_sock_type, sock, sk_type)
OFFSET(off_sock_protocol, sock, sk_protocol)
OFFSET(off_sock_listener, sock, sk_peer_pid)
OFFSET(off_unix_path, unix_sock, path)
OFFSET(off_unix_address, unix_sock, addr)
OFFSET(off_unix_address_len, unix_address, len)
OFFSET(off_unix_address_name, unix_address, name)
OFFSET(off_unix_peer, unix_sock, peer)
OFFSET(off_sock_family, sock, __sk_common.skc_family)
OFFSET(off_sock_port, sock, __sk_common.skc_num)
OFFSET(off_sock_local, sock, __sk_common.skc_rcv_saddr)
OFFSET(off_sock_local6, sock, __sk_common.skc_v6_rcv_saddr)
OFFSET(off_sock_peer_port, sock, __sk_common.skc_dport)
OFFSET(off_sock_peer, sock, __sk_common.skc_daddr)
OFFSET(off_sock_peer6, sock, __sk_common.skc_v6_daddr)
OFFSET(off_sock_net, sock, __sk_common.skc_net)
OFFSET(off_skb_sock, sk_buff, sk)
OFFSET(off_net_number, net, ns.inum)
OFFSET(off_msg_name, msghdr, msg_name)
OFFSET(off_msg_namelen, msghdr, msg_namelen)
OFFSET(off_msg_control, msghdr, msg_control)
OFFSET(off_msg_controllen, msghdr, msg_controllen)
OFFSET(off_msg_flags, msghdr, msg_flags)
OFFSET(off_vma_flags, vm_area_struct, vm_flags)
OFFSET(off_vma_file, vm_area_struct, vm_file)

// Since 5.12 the hooks about an inode's attributes have whose mount it is before the dentry.
__attribute__((always_inline)) u32 has_mount_idmap(void)
{
	return __builtin_preserve_field_info(((struct vfsmount *)0)->mnt_userns, 2) |
	       __builtin_preserve_field_info(((struct vfsmount *)0)->mnt_idmap, 2);
}

// Since 6.0 `inode_setattr` has it, too; what it changes is kept by another type from then on.
__attribute__((always_inline)) u32 has_setattr_idmap(void)
{
	return __builtin_preserve_field_info(((struct iattr *)0)->ia_vfsuid, 2);
}

// A branch for each age: what the loader puts in place of a field that is not there must never be run, and the
// barrier keeps the compiler from reading all of them first.
#define IF_PRESENT(type, field) \
	if (__builtin_preserve_field_info(((struct type *)0)->field, 2)) { \
		u32 offset = __builtin_preserve_field_info(((struct type *)0)->field, 0); \
		__asm__ volatile("" : "+r"(offset)); \
		return offset; \
	}

__attribute__((always_inline)) u32 off_inode_changed(void)
{
	IF_PRESENT(inode, i_ctime_sec)
	IF_PRESENT(inode, __i_ctime.tv_sec)
	IF_PRESENT(inode, i_ctime.tv_sec)
	return 0;
}

__attribute__((always_inline)) u32 off_inode_changed_ns(void)
{
	IF_PRESENT(inode, i_ctime_nsec)
	IF_PRESENT(inode, __i_ctime.tv_nsec)
	IF_PRESENT(inode, i_ctime.tv_nsec)
	return 0;
}

// Where a dentry keeps a name that is short; 0 where it does not say.
__attribute__((always_inline)) u32 off_dentry_short(void)
{
	IF_PRESENT(dentry, d_shortname)
	IF_PRESENT(dentry, d_iname)
	return 0;
}

// How an inode and its dentries hang together; 0 where the kernel does not say.
__attribute__((always_inline)) u32 off_inode_dentries(void)
{
	IF_PRESENT(inode, i_dentry)
	return 0;
}

__attribute__((always_inline)) u32 off_dentry_alias(void)
{
	IF_PRESENT(dentry, d_u.d_alias)
	return 0;
}

// Kept here because the target has no atomic type in Rust; the result is left unused so that every kernel
// since 5.10 takes it.
__attribute__((always_inline)) void add_u64(u64 *value, u64 by) { __atomic_fetch_add(value, by, __ATOMIC_RELAXED); }
