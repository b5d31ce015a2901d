//! Unix sockets, by the name of the one that is reached: its file's true place, or its abstract name. What was written
//! in the call is a matter of mounts, links and roots, and a socket that is connected already is told nothing.

use aya_ebpf::{macros::lsm, programs::LsmContext};
use sensor_common::{
    action::Action,
    event::{COUNTED_ALREADY, Slot, UNCOUNTABLE, pair},
    syscalls::UNLISTED,
};

use crate::{
    broker,
    found::{beforehand, forget_default, judge_abstract_socket, nullable, placed, unplaced},
    guard,
    judge::asks_for_places,
    kernel::{off, read},
    program::see_program,
    slot,
};

pub const AF_UNIX: u16 = 1;
const SOCK_DGRAM: u16 = 2;

/// Connecting, before anybody has looked for the socket of that name. A rule that asks for names waits until it is
/// found, and so does all that is allowed.
#[inline(always)]
pub fn connects(slot: *mut Slot, index: u32, sock: u64) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.connecting = sock };
    look_ahead(slot, index, Action::NetConnect)
}

/// Sending, by whatever call.
#[inline(always)]
pub fn sends(slot: *mut Slot, index: u32, socket: u64, sock: u64) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    unsafe { (*slot).walk.connecting = 0 };
    if read::<u16>(socket + off::off_socket_type()) == Some(SOCK_DGRAM) {
        return look_ahead(slot, index, Action::NetSend);
    }
    // Streams pay no heed to a name that comes with what is sent.
    let peer = read::<u64>(sock + off::off_unix_peer()).unwrap_or(0);
    reaches(slot, index, peer, Action::NetSend)
}

/// A socket that another process has connected arrives. One whose peer has no name is a pair's, or was accepted.
#[inline(always)]
pub fn arrives(slot: *mut Slot, index: u32, sock: u64) -> u32 {
    let peer = read::<u64>(sock + off::off_unix_peer()).unwrap_or(0);
    let file = read::<u64>(peer + off::off_unix_path() + off::off_path_dentry()).unwrap_or(0);
    let address = read::<u64>(peer + off::off_unix_address()).unwrap_or(0);
    if file == 0 && address == 0 || !asks_for_places(slot, Action::NetConnect) {
        return 0;
    }
    let refused = reaches(slot, index, peer, Action::NetConnect);
    forget_default(slot, Action::NetConnect);
    refused
}

#[inline(always)]
fn look_ahead(slot: *mut Slot, index: u32, action: Action) -> u32 {
    if asks_for_places(slot, action) { 0 } else { beforehand(index, action) }
}

#[lsm(hook = "unix_stream_connect")]
pub fn unix_stream_connect(ctx: LsmContext) -> i32 {
    let other = nullable(&ctx, 1);
    slot::in_hook(|slot, index| {
        let rule = broker::guard(slot, index, other);
        guard::expect(slot, rule);
        reaches(slot, index, other, Action::NetConnect)
    })
}

/// Datagrams: each that is sent, and the connecting of their sockets.
#[lsm(hook = "unix_may_send")]
pub fn unix_may_send(ctx: LsmContext) -> i32 {
    let own = read::<u64>(nullable(&ctx, 0) + off::off_socket_sk()).unwrap_or(0);
    let other = read::<u64>(nullable(&ctx, 1) + off::off_socket_sk()).unwrap_or(0);
    slot::in_hook(|slot, index| {
        // SAFETY: `slot` points to a whole map value.
        let connecting = unsafe { (*slot).walk.connecting };
        let action = if own != 0 && own == connecting { Action::NetConnect } else { Action::NetSend };
        let rule = broker::guard(slot, index, other);
        guard::expect(slot, rule);
        let refused = reaches(slot, index, other, action);
        // A sender that has to wait is asked again; where nobody can count, nobody can.
        // SAFETY: as above.
        unsafe {
            if (*slot).walk.sent != UNCOUNTABLE {
                (*slot).walk.sent = COUNTED_ALREADY;
            }
        }
        refused
    })
}

/// Judges an action on the socket `other`, which has been found.
#[inline(always)]
fn reaches(slot: *mut Slot, index: u32, other: u64, action: Action) -> u32 {
    // SAFETY: `slot` points to a whole map value.
    let writes = unsafe { (*slot).attempt.syscall } == UNLISTED;
    if writes && !asks_for_places(slot, action) {
        // They are many, and few are told: a name that nobody asks for is not walked.
        return told(slot, unplaced(index, action, pair::BARE));
    }
    let refused = match read::<u64>(other + off::off_unix_path() + off::off_path_dentry()) {
        Some(0) => {
            // SAFETY: as above.
            unsafe { (*slot).walk.first = other };
            see_program(index, action as u32);
            judge_abstract_socket(index, action as u32) as u32
        }
        Some(dentry) => placed(slot, index, action, dentry),
        // Nobody, or a socket that cannot be read.
        None if other == 0 => unplaced(index, action, pair::BARE),
        None => unplaced(index, action, pair::UNKNOWN | pair::UNIX),
    };
    if writes { told(slot, refused) } else { refused }
}

/// Of writes to a socket one is told where a rule speaks of it.
#[inline(always)]
fn told(slot: *mut Slot, refused: u32) -> u32 {
    forget_default(slot, Action::NetSend);
    refused
}
