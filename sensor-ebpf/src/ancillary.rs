//! What goes with a message beside its bytes, where it says another way than the address.

use crate::{
    kernel::{off, read},
    net::AF_INET,
};

const HEADER: u64 = 16;
/// Headers looked at; a message with more of them may go anywhere.
const MOST: u32 = 8;

const IP: u32 = 0;
const IPV6: u32 = 41;
const SCTP: u32 = 132;

/// Whether whom the message reaches is not told by its address alone, which is at `name`.
#[inline(always)]
pub fn reroutes(message: u64, name: u64) -> bool {
    let at = read::<u64>(message + off::off_msg_control()).unwrap_or(0);
    let length = read::<u64>(message + off::off_msg_controllen()).unwrap_or(0);
    at != 0 && length != 0 && one_reroutes(at, length, name) != 0
}

/// A function of its own, for it is a loop.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn one_reroutes(mut at: u64, mut left: u64, name: u64) -> u64 {
    for _ in 0..MOST {
        if left < HEADER {
            return 0;
        }
        // Length, then level and kind.
        let Some([length, what]) = read::<[u64; 2]>(at) else { return 1 };
        let found = match (what as u32, (what >> 32) as u32) {
            // Options of the packet's, a routing header, addresses besides.
            (IP, 7) | (IPV6, 5 | 57) | (SCTP, 7 | 8) => true,
            // The address that it comes from is where it goes to if it goes to none.
            (IP, 8) | (IPV6, 2 | 50) => goes_nowhere(name),
            _ => false,
        };
        if found || length < HEADER {
            return 1;
        }
        let step = (length + 7) & !7;
        if step >= left {
            return 0;
        }
        at += step;
        left -= step;
    }
    u64::from(left >= HEADER)
}

/// Whether the message is for `0.0.0.0`, or for what ends like it.
#[inline(always)]
fn goes_nowhere(name: u64) -> bool {
    let last = if read::<u16>(name) == Some(AF_INET) { 4 } else { 20 };
    name != 0 && read::<u32>(name + last) == Some(0)
}
