//! Receives requests. What is unfinished is bounded, in memory and in time.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::protocol::MAX_LINE;

/// What requests of ordinary users may hold together; those of one of them, half of it: nobody shuts the others out.
const ALL: usize = 32 << 20;
const OF_ONE: usize = ALL / 2;
/// A request is taken in pieces, the first of this size.
const FIRST: usize = 4 << 10;
/// From a request's first byte to its last.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes held, by user.
#[derive(Clone, Default)]
pub struct Budget(Arc<Mutex<HashMap<u32, usize>>>);

impl Budget {
    pub fn of(&self, uid: u32) -> Held {
        Held { budget: self.clone(), uid, bytes: 0 }
    }
}

/// One connection's share.
pub struct Held {
    budget: Budget,
    uid: u32,
    bytes: usize,
}

impl Held {
    /// Room for so many bytes in all; false where there is none.
    fn grow(&mut self, to: usize) -> bool {
        let more = to.saturating_sub(self.bytes);
        if self.uid == 0 || more == 0 {
            return true;
        }
        let mut users = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = users.values().sum();
        let own = users.entry(self.uid).or_default();
        if all + more > ALL || *own + more > OF_ONE {
            return false;
        }
        *own += more;
        self.bytes = to;
        true
    }

    /// The request is done with.
    pub fn release(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut users = self.budget.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = users.get_mut(&self.uid) {
            *own = own.saturating_sub(self.bytes);
            if *own == 0 {
                users.remove(&self.uid);
            }
        }
        self.bytes = 0;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release();
    }
}

/// Why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    Closed,
    TooLong,
    TooSlow,
    NoRoom,
}

/// One line, newline included. The wait for its first byte has no end: an `exec` waits for its command meanwhile.
pub fn request(reader: &mut BufReader<&UnixStream>, held: &mut Held, patience: Duration) -> Result<Vec<u8>, Missing> {
    let mut text = Vec::new();
    let mut deadline: Option<Instant> = None;
    loop {
        let wait = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if wait.is_some_and(|wait| wait.is_zero()) {
            return Err(Missing::TooSlow);
        }
        if reader.get_ref().set_read_timeout(wait).is_err() {
            return Err(Missing::Closed);
        }
        let piece = match reader.fill_buf() {
            Ok([]) => return Err(Missing::Closed),
            Ok(piece) => piece,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err(Missing::TooSlow);
            }
            Err(_) => return Err(Missing::Closed),
        };
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |at| at + 1);
        let whole = text.len() + length;
        if whole > MAX_LINE {
            return Err(Missing::TooLong);
        }
        if whole > text.capacity() {
            let room = whole.max(text.capacity() * 2).clamp(FIRST, MAX_LINE);
            if !held.grow(room) {
                return Err(Missing::NoRoom);
            }
            text.reserve_exact(room - text.len());
        }
        text.extend_from_slice(&piece[..length]);
        reader.consume(length);
        if end.is_some() {
            return Ok(text);
        }
        deadline.get_or_insert_with(|| Instant::now() + patience);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn requests_come_one_by_one() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let long = "x".repeat(100_000);
        let text = format!("one\ntwo {long}\n");
        let writer = std::thread::spawn(move || theirs.write_all(text.as_bytes()).unwrap());
        let mut reader = BufReader::new(&ours);
        let mut held = Budget::default().of(1);
        let mut next = || request(&mut reader, &mut held, PATIENCE);
        assert_eq!(next().unwrap(), b"one\n");
        assert_eq!(next().unwrap().len(), 100_005);
        writer.join().unwrap();
        assert_eq!(next(), Err(Missing::Closed));
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let writer = std::thread::spawn(move || theirs.write_all(&vec![b'x'; MAX_LINE + 1]));
        let found = request(&mut BufReader::new(&ours), &mut held, PATIENCE);
        assert_eq!(found, Err(Missing::TooLong));
        drop(ours);
        let _ = writer.join().unwrap();
    }

    #[test]
    fn what_trickles_in_is_given_up() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut held = Budget::default().of(1);
        let begun = Instant::now();
        let writer = std::thread::spawn(move || {
            // The first byte is waited for as long as it takes.
            std::thread::sleep(Duration::from_millis(300));
            while theirs.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let patience = Duration::from_millis(100);
        let found = request(&mut BufReader::new(&ours), &mut held, patience);
        assert_eq!(found, Err(Missing::TooSlow));
        let waited = begun.elapsed();
        assert!(waited > Duration::from_millis(390), "{waited:?}");
        drop(ours);
        writer.join().unwrap();
    }

    #[test]
    fn users_together_hold_so_much() {
        let budget = Budget::default();
        let take = |uid: u32| -> Vec<Held> {
            let one = |_| {
                let mut held = budget.of(uid);
                held.grow(MAX_LINE).then_some(held)
            };
            (0..).map_while(one).collect()
        };
        let one = take(1);
        assert_eq!(one.len() * MAX_LINE, OF_ONE);
        let other = take(2);
        assert_eq!((one.len() + other.len()) * MAX_LINE, ALL);
        assert!(!budget.of(3).grow(1), "nothing is left");
        assert!(budget.of(0).grow(MAX_LINE), "but for root");
        drop(one);
        assert!(budget.of(3).grow(MAX_LINE));
        drop(other);
        assert!(budget.0.lock().unwrap().is_empty());
    }
}
