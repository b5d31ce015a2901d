//! Agents' numbers: indexes into the kernel's per-agent arrays.

use std::collections::VecDeque;

use sensor_common::event::MAX_AGENTS;

use crate::kernel::AgentNo;

/// The kernel side tries its denials under the highest number.
const END: AgentNo = MAX_AGENTS - 1;

/// Hands out 1 to `END - 1`. A number comes back when its agent is fully drained, and is then used
/// as late as possible: an event that lingers somewhere must not meet another agent under its number.
#[derive(Debug)]
pub struct Numbers {
    free: VecDeque<AgentNo>,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers { free: (1..END).collect() }
    }
}

impl Numbers {
    pub fn take(&mut self) -> Option<AgentNo> {
        self.free.pop_front()
    }

    /// It is somebody's already.
    pub fn reserve(&mut self, number: AgentNo) {
        self.free.retain(|free| *free != number);
    }

    pub fn give_back(&mut self, number: AgentNo) {
        self.free.push_back(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rests_before_it_is_used_again() {
        let mut numbers = Numbers::default();
        let first = numbers.take().unwrap();
        assert_eq!(first, 1);
        numbers.give_back(first);
        for expected in 2..END {
            assert_eq!(numbers.take(), Some(expected));
        }
        assert_eq!(numbers.take(), Some(1));
        assert_eq!(numbers.take(), None);
    }

    #[test]
    fn a_number_that_is_somebodys_is_not_given() {
        let mut numbers = Numbers::default();
        numbers.reserve(1);
        numbers.reserve(3);
        assert_eq!(numbers.take(), Some(2));
        assert_eq!(numbers.take(), Some(4));
    }
}
