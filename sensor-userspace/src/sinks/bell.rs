//! Wakes a sink that waits for new lines, so that it need not poll the disk quickly to be quick.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Rung by whoever appends to the ledger; a ring that nobody waits for is kept for the next wait.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<(Mutex<bool>, Condvar)>);

impl Bell {
    pub fn ring(&self) {
        let (rung, waiting) = &*self.0;
        *rung.lock().unwrap_or_else(PoisonError::into_inner) = true;
        waiting.notify_all();
    }

    /// Returns at the next ring, or after `at_most`.
    pub fn wait(&self, at_most: Duration) {
        let (rung, waiting) = &*self.0;
        let rung = rung.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut rung, _) =
            waiting.wait_timeout_while(rung, at_most, |rung| !*rung).unwrap_or_else(PoisonError::into_inner);
        *rung = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn a_ring_before_the_wait_is_not_lost() {
        let bell = Bell::default();
        bell.ring();
        let begun = Instant::now();
        bell.wait(Duration::from_secs(5));
        assert!(begun.elapsed() < Duration::from_secs(1));
        let begun = Instant::now();
        bell.wait(Duration::from_millis(30));
        assert!(begun.elapsed() >= Duration::from_millis(25));
    }
}
