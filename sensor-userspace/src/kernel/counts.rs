//! What runs have done of what limits count: the kernel side counts it; here it is forgotten.

use std::time::{Duration, Instant};

use aya::maps::{HashMap as KernelMap, MapData};
use sensor_common::table::CountKey;

use super::{
    AgentNo, clock,
    pod::{Pod, remove_where},
};

/// Between two sweeps: each goes through all that is counted.
const REST: Duration = Duration::from_secs(10);

pub struct Counts {
    map: KernelMap<MapData, Pod<CountKey>, u64>,
    swept: Instant,
}

impl Counts {
    pub fn new(map: KernelMap<MapData, Pod<CountKey>, u64>) -> Counts {
        Counts { map, swept: Instant::now() }
    }

    /// Forgets all of these agents.
    pub fn forget_all(&mut self, which: impl Fn(AgentNo) -> bool) {
        remove_where(&mut self.map, |key| which(key.agent));
    }

    /// Forgets windows that have ended, now and then.
    pub fn sweep(&mut self) {
        if self.swept.elapsed() < REST {
            return;
        }
        self.swept = Instant::now();
        let now = clock::uptime();
        remove_where(&mut self.map, |key| has_ended(key, now));
    }
}

fn has_ended(key: &CountKey, now: u64) -> bool {
    let ends = (u64::from(key.window) + 1) * u64::from(key.seconds);
    // A hook that began in the last moment of a window may still count in it.
    key.seconds != 0 && now > ends
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_end_and_runs_do_not() {
        let of = |window, seconds| CountKey { window, seconds, ..CountKey::default() };
        assert!(!has_ended(&of(0, 0), u64::MAX), "the run's own");
        assert!(!has_ended(&of(2, 10), 29), "it is the one at hand");
        assert!(!has_ended(&of(2, 10), 30), "only just");
        assert!(has_ended(&of(2, 10), 31));
        assert!(!has_ended(&of(u32::MAX, u32::MAX), u64::from(u32::MAX)));
    }
}
