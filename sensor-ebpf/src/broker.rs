//! Services that run programs for whoever asks, known by their sockets' own names: a container's engine, a bus, a
//! terminal multiplexer. One that the agent runs itself is its own business.

use sensor_common::{
    event::Slot,
    guard::{ABSTRACT_BROKERS, EDGE_RULE, Guard, kind},
};

use crate::{
    guard::{NOT_NAMED, guard_names, is_stranger, task_of},
    kernel::{off, read},
    maps,
    walk::hash_beyond,
};

const ABSTRACT: [u64; 2] = [u64::from_le_bytes(ABSTRACT_BROKERS[0]), u64::from_le_bytes(ABSTRACT_BROKERS[1])];
/// `sun_family`, and the NUL that such a name begins with.
const BEFORE_ABSTRACT: u64 = 3;

/// The guard's word on reaching the unix socket `other`; 0 for none.
#[inline(always)]
pub fn guard(slot: *mut Slot, index: u32, other: u64) -> u32 {
    // SAFETY: `slot` points to a whole map value. A function that is verified once takes no more than numbers.
    let agent = unsafe {
        (*slot).walk.first = other;
        (*slot).attempt.head.agent
    };
    if broker(index) == 0 {
        return 0;
    }
    let listener = task_of(read::<u64>(other + off::off_sock_listener()).unwrap_or(0));
    if listener != 0 && is_stranger(listener, agent) == 0 { 0 } else { Guard::Brokers.word() }
}

/// Whether the socket that `walk.first` is bears a broker's name.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn broker(index: u32) -> u64 {
    let Some(slot) = maps::SLOTS.get_ptr_mut(index) else { return 0 };
    // SAFETY: `slot` points to a whole map value.
    let other = unsafe { (*slot).walk.first };
    let path = other + off::off_unix_path();
    let dentry = read::<u64>(path + off::off_path_dentry()).unwrap_or(0);
    if dentry == 0 {
        let Some(address) = read::<u64>(other + off::off_unix_address()) else { return 0 };
        let name = read::<u64>(address + off::off_unix_address_name() + BEFORE_ABSTRACT).unwrap_or(0);
        return u64::from(ABSTRACT[0] == name || ABSTRACT[1] == name);
    }
    let Some(parent) = read::<u64>(dentry + off::off_dentry_parent()) else { return 0 };
    let directory = read::<u64>(parent + off::off_dentry_name()).unwrap_or(0);
    let begins = read::<[u8; 5]>(directory).unwrap_or([0; 5]);
    // Where tmux and screen have their sockets.
    if begins == *b"tmux-" || begins[0] == b'S' && begins[1] == b'-' {
        return 1;
    }
    // The socket's name first, then its directory's.
    // SAFETY: as above.
    unsafe {
        let Some(secret) = maps::SECRET.get(0) else { return 0 };
        (*slot).walk.secret = *secret;
        (*slot).walk.depth = 2;
        (*slot).walk.hashes[1] = hash_beyond(index, read::<u64>(dentry + off::off_dentry_name()).unwrap_or(0));
        (*slot).walk.hashes[0] = hash_beyond(index, directory);
    }
    let named = guard_names(index, kind::BROKERS, 0);
    u64::from(named != NOT_NAMED && named & u64::from(EDGE_RULE) != 0)
}
