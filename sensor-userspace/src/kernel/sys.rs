//! The few bpf() calls that aya does not make for us.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
};

use aya_obj::{
    Function,
    generated::{bpf_attach_type, bpf_attr, bpf_cmd, bpf_prog_info},
};

fn bpf(command: bpf_cmd, attr: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: `attr` is a whole, initialised attribute; pointers in it outlive the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as libc::c_long, &raw mut *attr, size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn zeroed() -> bpf_attr {
    // SAFETY: an attribute of zeros is what the kernel takes for absent fields.
    unsafe { std::mem::zeroed() }
}

fn owned(result: i64) -> OwnedFd {
    // SAFETY: the kernel just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(result as i32) }
}

pub fn load_btf(btf: &[u8]) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: BTF_LOAD reads this member of the union.
    let load = unsafe { &mut attr.__bindgen_anon_7 };
    load.btf = btf.as_ptr() as u64;
    load.btf_size = btf.len() as u32;
    bpf(bpf_cmd::BPF_BTF_LOAD, &mut attr).map(owned)
}

/// What a program is loaded as.
#[derive(Clone, Copy)]
pub struct LoadAs<'a> {
    pub program_type: u32,
    pub attach_type: u32,
    pub attach_btf_id: u32,
    pub btf: BorrowedFd<'a>,
    pub license: &'a CStr,
    pub name: &'a str,
}

/// Loads a program; on refusal the verifier's last words are part of the error.
pub fn load_program(function: &Function, load: LoadAs<'_>) -> io::Result<OwnedFd> {
    // Old kernels keep the log's beginning: its end says why, so there must be room for all of it.
    const LOG: usize = (1 << 24) - 1;
    let mut log = Vec::new();
    let functions = function.func_info.func_info_bytes();
    let lines = function.line_info.line_info_bytes();
    let mut attempt = |level: u32| {
        let mut attr = zeroed();
        // SAFETY: PROG_LOAD reads this member of the union.
        let u = unsafe { &mut attr.__bindgen_anon_3 };
        for (to, from) in u.prog_name.iter_mut().zip(load.name.bytes().take(15)) {
            *to = from as libc::c_char;
        }
        u.prog_type = load.program_type;
        u.expected_attach_type = load.attach_type;
        u.attach_btf_id = load.attach_btf_id;
        u.insns = function.instructions.as_ptr() as u64;
        u.insn_cnt = function.instructions.len() as u32;
        u.license = load.license.as_ptr() as u64;
        u.prog_btf_fd = load.btf.as_raw_fd() as u32;
        if function.func_info_rec_size > 0 {
            u.func_info = functions.as_ptr() as u64;
            u.func_info_cnt = function.func_info.func_info.len() as u32;
            u.func_info_rec_size = function.func_info_rec_size as u32;
        }
        if function.line_info_rec_size > 0 {
            u.line_info = lines.as_ptr() as u64;
            u.line_info_cnt = function.line_info.line_info.len() as u32;
            u.line_info_rec_size = function.line_info_rec_size as u32;
        }
        if level > 0 {
            log.resize(LOG, 0_u8);
            u.log_level = level;
            u.log_buf = log.as_mut_ptr() as u64;
            u.log_size = log.len() as u32;
        }
        bpf(bpf_cmd::BPF_PROG_LOAD, &mut attr).map(owned)
    };
    let refused = match attempt(0) {
        Ok(program) => return Ok(program),
        Err(refused) => refused,
    };
    // Once more, for the verifier's reason.
    match attempt(1) {
        Ok(program) => Ok(program),
        Err(_) => {
            let text = String::from_utf8_lossy(&log);
            let words = text.trim_end_matches(['\0', '\n']);
            let tail: Vec<&str> =
                words.lines().rev().filter(|line| !line.starts_with("verification time")).take(6).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            Err(io::Error::new(refused.kind(), format!("{refused}: {}", tail.join("; "))))
        }
    }
}

/// Attaches a program whose target was named at load.
pub fn attach(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: RAW_TRACEPOINT_OPEN reads this member of the union.
    let open = unsafe { &mut attr.raw_tracepoint };
    open.prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(owned)
}

/// Attaches a raw tracepoint program.
pub fn attach_to(program: BorrowedFd<'_>, tracepoint: &CStr) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: RAW_TRACEPOINT_OPEN reads this member of the union.
    let open = unsafe { &mut attr.raw_tracepoint };
    open.name = tracepoint.as_ptr() as u64;
    open.prog_fd = program.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_RAW_TRACEPOINT_OPEN, &mut attr).map(owned)
}

/// Attaches a program to what comes in to a cgroup and those below it, beside any that others attach.
pub fn attach_ingress(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let mut attr = zeroed();
    // SAFETY: LINK_CREATE reads this member of the union.
    let create = unsafe { &mut attr.link_create };
    create.__bindgen_anon_1.prog_fd = program.as_raw_fd() as u32;
    create.__bindgen_anon_2.target_fd = cgroup.as_raw_fd() as u32;
    create.attach_type = bpf_attach_type::BPF_CGROUP_INET_INGRESS as u32;
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attr).map(owned)
}

/// Gives a link a name in the bpf filesystem: it is in force as long as that is there.
pub fn pin(link: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: OBJ_PIN reads this member of the union.
    let object = unsafe { &mut attr.__bindgen_anon_4 };
    object.pathname = path.as_ptr() as u64;
    object.bpf_fd = link.as_raw_fd() as u32;
    bpf(bpf_cmd::BPF_OBJ_PIN, &mut attr).map(|_| ())
}

/// Runs a raw tracepoint program once, here and now.
pub fn test_run(program: BorrowedFd<'_>, context: &[u64]) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: PROG_TEST_RUN reads this member of the union.
    let test = unsafe { &mut attr.test };
    test.prog_fd = program.as_raw_fd() as u32;
    test.ctx_in = context.as_ptr() as u64;
    test.ctx_size_in = size_of_val(context) as u32;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(|_| ())
}

/// Runs a program on a packet, which begins with Ethernet's header.
pub fn test_run_on(program: BorrowedFd<'_>, packet: &[u8]) -> io::Result<()> {
    let mut attr = zeroed();
    // SAFETY: PROG_TEST_RUN reads this member of the union.
    let test = unsafe { &mut attr.test };
    test.prog_fd = program.as_raw_fd() as u32;
    test.data_in = packet.as_ptr() as u64;
    test.data_size_in = packet.len() as u32;
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attr).map(|_| ())
}

/// How often the kernel skipped a program, for it was in the middle of that one already. Before 5.12 it does not say.
pub fn skipped(program: BorrowedFd<'_>) -> io::Result<u64> {
    // SAFETY: plain numbers and addresses; zeros ask for nothing beyond the numbers.
    let mut about: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = zeroed();
    // SAFETY: OBJ_GET_INFO_BY_FD reads this member of the union.
    let ask = unsafe { &mut attr.info };
    ask.bpf_fd = program.as_raw_fd() as u32;
    ask.info_len = size_of_val(&about) as u32;
    ask.info = (&raw mut about) as u64;
    bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(about.recursion_misses)
}
