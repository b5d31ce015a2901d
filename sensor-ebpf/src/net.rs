//! Sockets: connecting, binding, listening, sending. Addresses are read from the kernel's own copy.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::{Slot, UNCOUNTABLE, UNCOUNTED, pair},
    syscalls::UNLISTED,
};

use crate::{
    ancillary, answers,
    found::{forget, forget_default, unplaced, word},
    kernel::{off, read},
    slot::{self, S_IFMT, S_IFSOCK},
    unix,
};

const AF_UNSPEC: u16 = 0;
pub const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_KEY: u16 = 15;
const AF_NETLINK: u16 = 16;
const AF_ALG: u16 = 38;
/// Streams that go by TCP, to addresses of IPv4 and IPv6.
const AF_SMC: u16 = 43;
const SOCK_STREAM: u16 = 1;
const SOCK_RAW: u16 = 3;
const MSG_FASTOPEN: u32 = 0x2000_0000;
/// More are to come by the same call.
const MSG_BATCH: u32 = 0x4_0000;
/// By level and name: options of IPv4 (the header is given as well, `IP_OPTIONS`, a policy of its own for IPsec), and
/// of IPv6 (a routing header, by itself, among others, and by a label of a flow).
const REROUTES: [(u32, u32); 9] = [(0, 3), (0, 4), (0, 17), (41, 5), (41, 6), (41, 32), (41, 35), (41, 36), (41, 57)];
const SCTP_BINDX_ADD: u32 = 100;
const SCTP_CONNECTX_OLD: u32 = 107;
const SCTP_CONNECTX: u32 = 110;
const SCTP_SENDMSG_CONNECT: u32 = 126;
/// Of one address, not of two.
const LONGEST: u64 = 28;
/// Shortest that the kernel takes for each family.
const INET_LENGTH: u64 = 8;
const INET6_LENGTH: u64 = 24;

/// An IPv6 address as it lies in memory, in words of four bytes.
type Words = [u32; 4];
/// `::ffff:0:0/96`.
const MAPPED: u32 = u32::from_le_bytes([0, 0, 0xff, 0xff]);
const LOOPBACK: u32 = u32::from_le_bytes([127, 0, 0, 1]);
/// The first byte, as addresses lie in memory, of the first address that is a group's.
const MULTICAST: u8 = 224;
/// `IPPROTO_MPTCP`, whose streams are TCP's to whom they reach.
const MPTCP: u16 = 262;
const TCP: u16 = 6;
const ICMP: u16 = 1;
const ICMP6: u16 = 58;
const ONE: u32 = u32::from_le_bytes([0, 0, 0, 1]);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Does {
    Connects,
    Sends,
    Binds,
}

/// A family of addresses that rules have no word for: nobody knows whom it reaches. Some reach the kernel alone.
#[inline(always)]
fn without_address(sock: u64) -> u8 {
    match read::<u16>(sock + off::off_sock_family()) {
        Some(AF_INET | AF_INET6 | unix::AF_UNIX | AF_KEY | AF_NETLINK | AF_ALG) => pair::BARE,
        _ => pair::UNKNOWN,
    }
}

/// Who has no address to go to goes to himself: by the address that his socket is bound to, which in IPv6 only says whether
/// it is one of IPv4.
#[inline(always)]
fn going_to(address: Words, sock: u64) -> Words {
    match address {
        [0, 0, 0, 0] => match read::<Words>(sock + off::off_sock_local6()) {
            Some([0, 0, MAPPED, _]) => [0, 0, MAPPED, LOOPBACK],
            _ => [0, 0, 0, ONE],
        },
        [0, 0, MAPPED, 0] => match read::<u32>(sock + off::off_sock_local()) {
            // Nobody sends from an address of many.
            Some(bound) if bound != 0 && (bound as u8) < MULTICAST => [0, 0, MAPPED, bound],
            _ => [0, 0, MAPPED, LOOPBACK],
        },
        address => address,
    }
}

#[inline(always)]
fn set(slot: *mut Slot, address: Words, port: u16, sock: u64) -> u8 {
    let raw = is_raw(sock);
    let mut protocol = read::<u16>(sock + off::off_sock_protocol()).unwrap_or(0);
    if protocol == MPTCP || read::<u16>(sock + off::off_sock_family()) == Some(AF_SMC) {
        protocol = TCP;
    }
    // SAFETY: `slot` points to a whole map value; sixteen bytes have room for four words.
    unsafe {
        (&raw mut (*slot).walk.address).cast::<Words>().write_unaligned(address);
        (*slot).walk.port = if raw { 0 } else { port };
        (*slot).walk.protocol = protocol;
        (*slot).walk.namespace = answers::namespace(sock).unwrap_or(0);
    }
    // What else is sent raw has a header of the sender's own: its port, and where it goes, are as he writes there.
    if raw && protocol != ICMP && protocol != ICMP6 { pair::UNKNOWN } else { pair::ADDRESS }
}

#[inline(always)]
fn is_raw(sock: u64) -> bool {
    read::<u16>(sock + off::off_sock_type()) == Some(SOCK_RAW)
}

/// Puts the address into the slot. Returns what kind of object it is.
#[inline(always)]
fn given(slot: *mut Slot, sock: u64, address: u64, length: u64, does: Does) -> u8 {
    let mut family = read::<u16>(address).unwrap_or(AF_UNSPEC);
    if family == AF_UNSPEC && does != Does::Connects {
        // Sent to, or bound, without a family: IPv4 takes it for its own, IPv6 for none unless it is raw.
        family = read::<u16>(sock + off::off_sock_family()).unwrap_or(AF_UNSPEC);
        if family == AF_INET6 && does == Does::Sends && !is_raw(sock) {
            return peer(slot, sock);
        }
    }
    let port = u16::from_be(read::<u16>(address + 2).unwrap_or(0));
    let words = match family {
        AF_INET if length >= INET_LENGTH => read::<u32>(address + 4).map(|word| [0, 0, MAPPED, word]),
        AF_INET6 if length >= INET6_LENGTH => read::<Words>(address + 8),
        _ => None,
    };
    match words {
        Some(words) if does == Does::Binds => {
            set(slot, words, port, sock);
            pair::ADDRESS
        }
        Some(words) => set(slot, going_to(words, sock), port, sock),
        None if does == Does::Binds => pair::BARE,
        None => without_address(sock),
    }
}

/// The address that the socket is connected to.
#[inline(always)]
fn peer(slot: *mut Slot, sock: u64) -> u8 {
    let port = u16::from_be(read::<u16>(sock + off::off_sock_peer_port()).unwrap_or(0));
    of_socket(slot, sock, off::off_sock_peer(), off::off_sock_peer6(), port)
}

#[inline(always)]
fn of_socket(slot: *mut Slot, sock: u64, v4: u64, v6: u64, port: u16) -> u8 {
    let words = match read::<u16>(sock + off::off_sock_family()) {
        Some(AF_INET) => read::<u32>(sock + v4).map(|word| [0, 0, MAPPED, word]),
        Some(AF_INET6) => read::<Words>(sock + v6),
        _ => None,
    };
    match words {
        Some(words) => set(slot, words, port, sock),
        None => without_address(sock),
    }
}

#[inline(always)]
fn sock_of(socket: u64) -> u64 {
    read::<u64>(socket + off::off_socket_sk()).unwrap_or(0)
}

/// The socket whose inode this is.
#[inline(always)]
fn socket_of(inode: u64) -> u64 {
    inode - off::off_socket_alloc_inode()
}

/// A socket that another process has connected arrives: as if it were connected here.
#[inline(always)]
pub fn arrives(slot: *mut Slot, index: u32, inode: u64) -> u32 {
    let sock = sock_of(socket_of(inode));
    if is_unix(sock) {
        return unix::arrives(slot, index, sock);
    }
    if read::<u16>(sock + off::off_sock_peer_port()).unwrap_or(0) == 0 {
        // What it will be used for is asked then.
        return 0;
    }
    let about = peer(slot, sock);
    if about == pair::BARE {
        return 0;
    }
    let refused = unplaced(index, Action::NetConnect, about);
    forget_default(slot, Action::NetConnect);
    refused
}

#[inline(always)]
fn is_unix(sock: u64) -> bool {
    read::<u16>(sock + off::off_sock_family()) == Some(unix::AF_UNIX)
}

#[inline(always)]
fn agent(slot: *mut Slot) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).attempt.head.agent }
}

#[lsm(hook = "socket_connect")]
pub fn socket_connect(ctx: LsmContext) -> i32 {
    let (socket, address, length) = (word(&ctx, 0), word(&ctx, 1), word(&ctx, 2));
    slot::in_hook(|slot, index| {
        let sock = sock_of(socket);
        // Without a family it is let go of its peer, and reaches nobody.
        if is_unix(sock) && read::<u16>(address) == Some(unix::AF_UNIX) {
            return unix::connects(slot, index, sock);
        }
        answers::serves(agent(slot), sock);
        let about = given(slot, sock, address, length & 0xffff_ffff, Does::Connects);
        unplaced(index, Action::NetConnect, about)
    })
}

#[lsm(hook = "socket_bind")]
pub fn socket_bind(ctx: LsmContext) -> i32 {
    let (socket, address, length) = (word(&ctx, 0), word(&ctx, 1), word(&ctx, 2));
    slot::in_hook(|slot, index| {
        let about = given(slot, sock_of(socket), address, length & 0xffff_ffff, Does::Binds);
        unplaced(index, Action::NetBind, about)
    })
}

/// A socket is told another way for what it sends than the address that it is sent to: options and headers with
/// addresses of their own.
#[lsm(hook = "socket_setsockopt")]
pub fn socket_setsockopt(ctx: LsmContext) -> i32 {
    if !REROUTES.contains(&(word(&ctx, 1) as u32, word(&ctx, 2) as u32)) {
        return 0;
    }
    slot::in_hook(|_, index| {
        unplaced(index, Action::NetConnect, pair::UNKNOWN) | unplaced(index, Action::NetSend, pair::UNKNOWN)
    })
}

/// SCTP connects to, and is bound to, lists of addresses by way of its options. A list of more than one is not read.
#[lsm(hook = "sctp_bind_connect")]
pub fn sctp_bind_connect(ctx: LsmContext) -> i32 {
    let (sock, option, address, length) = (word(&ctx, 0), word(&ctx, 1), word(&ctx, 2), word(&ctx, 3));
    let (does, action) = match option as u32 {
        SCTP_CONNECTX_OLD | SCTP_CONNECTX | SCTP_SENDMSG_CONNECT => (Does::Connects, Action::NetConnect),
        SCTP_BINDX_ADD => (Does::Binds, Action::NetBind),
        // What peers ask for, on nobody's behalf.
        _ => return 0,
    };
    slot::in_hook(|slot, index| {
        let about = match length & 0xffff_ffff {
            ..=LONGEST => given(slot, sock, address, length & 0xffff_ffff, does),
            _ => pair::UNKNOWN,
        };
        unplaced(index, action, about)
    })
}

#[lsm(hook = "socket_listen")]
pub fn socket_listen(ctx: LsmContext) -> i32 {
    let socket = word(&ctx, 0);
    slot::in_hook(|slot, index| {
        let sock = sock_of(socket);
        let port = read::<u16>(sock + off::off_sock_port()).unwrap_or(0);
        let about = of_socket(slot, sock, off::off_sock_local(), off::off_sock_local6(), port);
        unplaced(index, Action::NetListen, about)
    })
}

#[lsm(hook = "socket_sendmsg")]
pub fn socket_sendmsg(ctx: LsmContext) -> i32 {
    let (socket, message, size) = (word(&ctx, 0), word(&ctx, 1), word(&ctx, 2));
    slot::in_hook(|slot, index| {
        // Of many messages at once to one that is named, the kernel asks about the first alone.
        let batch = read::<u32>(message + off::off_msg_flags()).unwrap_or(MSG_BATCH) & MSG_BATCH != 0;
        let named = read::<u64>(message + off::off_msg_name()).unwrap_or(1) != 0;
        // SAFETY: `slot` points to a whole map value.
        unsafe { (*slot).walk.sent = if batch && named { UNCOUNTABLE } else { size & 0xffff_ffff } };
        sends(slot, index, socket, message)
    })
}

#[inline(always)]
fn sends(slot: *mut Slot, index: u32, socket: u64, message: u64) -> u32 {
    let sock = sock_of(socket);
    if is_unix(sock) {
        return unix::sends(slot, index, socket, sock);
    }
    answers::serves(agent(slot), sock);
    let name = read::<u64>(message + off::off_msg_name()).unwrap_or(0);
    let length = read::<u32>(message + off::off_msg_namelen()).unwrap_or(0);
    let flags = read::<u32>(message + off::off_msg_flags()).unwrap_or(MSG_BATCH);
    let connects = flags & MSG_FASTOPEN != 0;
    // A connected stream pays no heed to an address that comes with what is sent.
    let stream = read::<u16>(socket + off::off_socket_type()) == Some(SOCK_STREAM);
    let named = name != 0 && (!stream || connects);
    let about = if named { given(slot, sock, name, u64::from(length), Does::Sends) } else { peer(slot, sock) };
    // Of a batch to one address nobody is asked what goes with the later ones.
    let elsewhere = named && flags & MSG_BATCH != 0 || ancillary::reroutes(message, name);
    let about = if about == pair::ADDRESS && elsewhere { pair::UNKNOWN } else { about };
    let mut refused = unplaced(index, Action::NetSend, about);
    if connects && name != 0 {
        refused |= unplaced(index, Action::NetConnect, about);
    }
    // SAFETY: `slot` points to a whole map value.
    if unsafe { (*slot).attempt.syscall } == UNLISTED {
        // Writes to a socket are many: one is told where a rule speaks of it.
        forget_default(slot, Action::NetSend);
    }
    refused
}

const MAY_WRITE: u32 = 2;

/// Before 6.5 what goes from a file or a pipe into a socket comes by no hook of sockets. What else is written to one is
/// judged, and told, by `socket_sendmsg`.
#[lsm(hook = "file_permission")]
pub fn file_permission(ctx: LsmContext) -> i32 {
    let (file, mask) = (word(&ctx, 0), word(&ctx, 1));
    if mask as u32 & MAY_WRITE == 0 {
        return 0;
    }
    slot::in_hook(|slot, index| {
        let Some(inode) = read::<u64>(file + off::off_file_inode()) else { return 1 };
        if read::<u16>(inode + off::off_inode_mode()).unwrap_or(S_IFSOCK) & S_IFMT != S_IFSOCK {
            return 0;
        }
        let socket = socket_of(inode);
        let sock = sock_of(socket);
        // SAFETY: `slot` points to a whole map value.
        unsafe { (*slot).walk.sent = UNCOUNTED };
        let refused = if is_unix(sock) {
            unix::sends(slot, index, socket, sock)
        } else {
            let about = peer(slot, sock);
            unplaced(index, Action::NetSend, about)
        };
        if refused == 0 {
            forget(slot, Action::NetSend);
        }
        refused
    })
}
