//! Two rings, one order: the kernel's clock, merged behind a small watermark.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    io,
    os::fd::{AsRawFd, RawFd},
    time::Duration,
};

use aya::maps::{MapData, RingBuf};
use sensor_common::event::Ring;

use super::{AgentNo, clock::monotonic_ns, decode};

/// An event made this long ago has surely been handed over by its CPU.
const WATERMARK_NS: u64 = 2_000_000;
/// Events taken from a ring before the others get their turn.
const AT_ONCE: usize = 8_192;

/// When it was made, the how manieth it came, whose it is, its bytes: in the order in which they are handed on.
type Waiting = (u64, u64, (AgentNo, Ring), Vec<u8>);

pub struct Rings {
    rare: RingBuf<MapData>,
    flood: RingBuf<MapData>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// Of those, how many are an agent's.
    unripe: HashMap<(AgentNo, Ring), u64>,
    arrivals: u64,
    received: HashMap<(AgentNo, Ring), u64>,
}

impl Rings {
    pub fn new(rare: RingBuf<MapData>, flood: RingBuf<MapData>) -> Rings {
        Rings { rare, flood, waiting: BinaryHeap::new(), unripe: HashMap::new(), arrivals: 0, received: HashMap::new() }
    }

    pub fn received(&self, agent: AgentNo, ring: Ring) -> u64 {
        self.received.get(&(agent, ring)).copied().unwrap_or(0)
    }

    /// Received, and not handed on yet.
    pub fn unripe(&self, agent: AgentNo, ring: Ring) -> u64 {
        self.unripe.get(&(agent, ring)).copied().unwrap_or(0)
    }

    /// Waits until a ring has something, the mounts changed (true), or the time is over.
    pub fn wait(&self, timeout: Duration, mounts: Option<RawFd>) -> io::Result<bool> {
        if !self.waiting.is_empty() {
            // Something is only waiting to ripen.
            std::thread::sleep(timeout.min(Duration::from_nanos(WATERMARK_NS)));
            return Ok(false);
        }
        let poll = |fd, events| libc::pollfd { fd, events, revents: 0 };
        // A negative descriptor is passed over.
        let mut fds = [
            poll(self.rare.as_raw_fd(), libc::POLLIN),
            poll(self.flood.as_raw_fd(), libc::POLLIN),
            poll(mounts.unwrap_or(-1), libc::POLLPRI),
        ];
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: `fds` is an array of three valid entries.
        let ready = unsafe { libc::poll(fds.as_mut_ptr(), 3, millis) };
        let error = io::Error::last_os_error();
        if ready < 0 && error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
        Ok(fds[2].revents != 0)
    }

    /// Takes what is there and hands on what is ripe; `all`: everything. True if there is more at once.
    pub fn take(&mut self, all: bool, each: &mut dyn FnMut(Vec<u8>)) -> bool {
        let mut ripe = if all { u64::MAX } else { monotonic_ns().saturating_sub(WATERMARK_NS) };
        let mut more = false;
        for (ring, buffer) in [(Ring::Rare, &mut self.rare), (Ring::Flood, &mut self.flood)] {
            let mut last;
            let mut taken = 0;
            while let Some(item) = buffer.next() {
                let Some(head) = decode::head(&item) else { continue };
                *self.received.entry((head.agent, ring)).or_default() += 1;
                *self.unripe.entry((head.agent, ring)).or_default() += 1;
                self.arrivals += 1;
                last = head.emitted;
                self.waiting.push(Reverse((head.emitted, self.arrivals, (head.agent, ring), item.to_vec())));
                taken += 1;
                if taken == AT_ONCE {
                    // What this ring still holds may be older than what the other gave.
                    ripe = ripe.min(last.saturating_sub(WATERMARK_NS));
                    more = true;
                    break;
                }
            }
        }
        while let Some(Reverse((emitted, ..))) = self.waiting.peek() {
            if *emitted > ripe {
                break;
            }
            if let Some(Reverse((_, _, whose, bytes))) = self.waiting.pop() {
                each(bytes);
                if let Some(unripe) = self.unripe.get_mut(&whose) {
                    *unripe -= 1;
                }
            }
        }
        more
    }
}
