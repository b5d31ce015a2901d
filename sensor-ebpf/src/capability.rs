//! The use of a capability, where the agent's policy has rules that name some. The kernel asks for capabilities at every
//! turn of every process: nobody's leave at once, and so does an agent whose policy does not ask.

use sensor_common::{
    action::Action,
    event::{Mark, Slot},
    numbers::of_capability,
    table::Policy,
};

use crate::{
    found::numbered,
    judge::{SPOKEN_OF_ALONE, policy_of},
    kernel::{current_task, off, read},
    maps, slot,
};

/// The kernel only wants to know, and has nobody told of it: `CAP_OPT_NOAUDIT`.
const ONLY_ASKS: u64 = 2;

/// What the hook returns for a task of an agent's that is to use a capability by these credentials.
#[inline(always)]
pub fn uses(mark: *mut Mark, credentials: u64, capability: u32, how: u64) -> i32 {
    // SAFETY: a pointer into a map value.
    let agent = unsafe { (*mark).agent };
    if how & ONLY_ASKS != 0 || !asks(agent) {
        return 0;
    }
    slot::in_hook(|slot, index| {
        if !is_asked(slot) || !are_its_own(slot, credentials) {
            return 0;
        }
        numbered(slot, index, Action::SysCapability, of_capability(capability), SPOKEN_OF_ALONE)
    })
}

/// Whether the policy that the agent has by now names capabilities.
#[inline(always)]
fn asks(agent: u32) -> bool {
    let number = maps::GOVERNED.get(agent).map_or(0, |governed| governed.policy);
    number != 0 && maps::POLICIES.get(number - 1).is_some_and(names_some)
}

/// Likewise the one that judges the attempt, which may have begun under another.
#[inline(always)]
fn is_asked(slot: *mut Slot) -> bool {
    policy_of(slot).is_some_and(names_some)
}

#[inline(always)]
fn names_some(policy: &Policy) -> bool {
    policy.always[Action::SysCapability as usize].count != 0
}

/// Whether the credentials are the task's own. A filesystem that lies over others, or access(2), asks by ones that the
/// kernel has put in their place for a while, and what they may do is no doing of the agent's. A ring's may be
/// the agent's of before.
#[inline(always)]
fn are_its_own(slot: *mut Slot, credentials: u64) -> bool {
    let task = current_task();
    let own = read::<u64>(task + off::off_task_real_cred()).unwrap_or(credentials);
    // SAFETY: `slot` points to a whole map value.
    own == credentials || unsafe { slot::works_for_ring(slot, task) }
}
