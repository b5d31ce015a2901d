//! The daemon's end of the control socket: a thread a connection, which asks the event loop.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::peer::Peer;
use super::protocol::{Answer, ApplyRequest, ApproveRequest, ExecRequest, Kind, MAX_LINE, Refusal, Request, line};
use super::receive::{self, Budget, Held, Missing, PATIENCE};
use crate::kernel::AgentNo;

/// Connections at once; each waiting `exec` holds one.
pub const MAX_CONNECTIONS: usize = 2048;

/// Of those, what one ordinary user may hold: nobody shuts the others out.
const MAX_OF_ONE: usize = MAX_CONNECTIONS / 2;
/// Kept for root, however many users there are.
const FOR_ROOT: usize = 64;

/// A request may nest as deeply as its reader allows; what is not touched costs nothing.
const STACK: usize = 1024 * 1024;

/// What a connection asks of the event loop.
#[derive(Debug)]
pub enum Ask {
    Exec(Box<ExecRequest>),
    Ended {
        agent: AgentNo,
        run_id: String,
        status: String,
    },
    /// The asker of an `Exec` is gone without a word.
    Abandoned {
        agent: AgentNo,
        run_id: String,
    },
    Apply(Box<ApplyRequest>),
    Approve(Box<ApproveRequest>),
    Agents,
    Status,
    Stop,
    Yield,
    /// `Ended`, of an agent that a daemon before this one started.
    Resumed {
        run_id: String,
        status: String,
    },
}

#[derive(Debug)]
pub struct Command {
    pub peer: Peer,
    pub ask: Ask,
    pub reply: Sender<Answer>,
}

/// Listens at `path`; a socket that a dead daemon left there is replaced.
pub fn listen(path: &Path, commands: Sender<Command>) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    // Everybody may ask; who may get what is decided by who asks.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let open = Arc::new(Mutex::new(HashMap::new()));
    let budget = Budget::default();
    thread::Builder::new().name("control".to_owned()).stack_size(STACK).spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                // Out of descriptors: wait for some to come back.
                thread::sleep(std::time::Duration::from_millis(50));
                continue;
            };
            accept(stream, &commands, &open, &budget);
        }
    })?;
    Ok(())
}

/// Connections by user.
type Open = Arc<Mutex<HashMap<u32, usize>>>;

/// Counts a connection as long as it lives.
struct Counted {
    open: Open,
    uid: u32,
}

impl Counted {
    /// `None` where there is no room for another one of this user's.
    fn new(open: &Open, uid: u32) -> Option<Counted> {
        let mut by_user = open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = by_user.values().sum();
        let own = by_user.get(&uid).copied().unwrap_or(0);
        let most = if uid == 0 { MAX_CONNECTIONS } else { MAX_CONNECTIONS - FOR_ROOT };
        if all >= most || uid != 0 && own >= MAX_OF_ONE {
            return None;
        }
        by_user.insert(uid, own + 1);
        Some(Counted { open: Arc::clone(open), uid })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut by_user = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = by_user.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                by_user.remove(&self.uid);
            }
        }
    }
}

fn accept(stream: UnixStream, commands: &Sender<Command>, open: &Open, budget: &Budget) {
    let Ok(peer) = Peer::of(&stream) else { return };
    let Some(counted) = Counted::new(open, peer.uid) else {
        let refusal = Refusal::new(Kind::Failed, "too many connections are open already; try again later");
        say(&stream, &Err(refusal));
        return;
    };
    let commands = commands.clone();
    let held = budget.of(peer.uid);
    let spawned = thread::Builder::new().name("connection".to_owned()).stack_size(STACK).spawn(move || {
        let _counted = counted;
        serve(&stream, peer, &commands, held);
    });
    if let Err(error) = spawned {
        tracing::warn!("a connection could not be served: {error}");
    }
}

fn say(mut stream: &UnixStream, answer: &Answer) -> bool {
    stream.write_all(&line(answer)).is_ok()
}

/// What to say to who sent no whole request.
fn refusal(missing: Missing) -> Option<Refusal> {
    let (kind, text) = match missing {
        Missing::Closed => return None,
        Missing::TooLong => (Kind::Malformed, format!("a request is longer than {MAX_LINE} bytes")),
        Missing::TooSlow => (Kind::Malformed, format!("a request was not finished in {} s", PATIENCE.as_secs())),
        Missing::NoRoom => {
            (Kind::Failed, "requests of ordinary users hold all the memory that they may; try again later".to_owned())
        }
    };
    Some(Refusal::new(kind, text))
}

fn serve(stream: &UnixStream, peer: Peer, commands: &Sender<Command>, mut held: Held) {
    // Who does not read his answers is not waited for.
    let _ = stream.set_write_timeout(Some(PATIENCE));
    let mut reader = BufReader::new(stream);
    // The agent that this connection started.
    let mut started: Option<(AgentNo, String)> = None;
    loop {
        let text = match receive::request(&mut reader, &mut held, PATIENCE) {
            Ok(text) => text,
            Err(missing) => {
                if let Some(refusal) = refusal(missing) {
                    say(stream, &Err(refusal));
                }
                break;
            }
        };
        let answer = match serde_json::from_slice::<Request>(&text) {
            Ok(request) => answer(request, peer, commands, &mut started),
            Err(cause) => Err(Refusal::new(Kind::Malformed, format!("the request makes no sense: {cause}"))),
        };
        drop(text);
        held.release();
        if !say(stream, &answer) {
            break;
        }
    }
    if let Some((agent, run_id)) = started {
        let (reply, _answers) = mpsc::channel();
        // The loop being gone, so is the agent's account.
        let _ = commands.send(Command { peer, ask: Ask::Abandoned { agent, run_id }, reply });
    }
}

fn answer(request: Request, peer: Peer, commands: &Sender<Command>, started: &mut Option<(AgentNo, String)>) -> Answer {
    let ask = match request {
        Request::Exec(_) if started.is_some() => {
            return Err(Refusal::new(Kind::Malformed, "one connection starts one agent"));
        }
        Request::Exec(request) => Ask::Exec(request),
        Request::Ended { status, run_id } => match (started.take(), run_id) {
            (Some((agent, run_id)), _) => Ask::Ended { agent, run_id, status },
            (None, Some(run_id)) => Ask::Resumed { run_id, status },
            (None, None) => {
                return Err(Refusal::new(Kind::Malformed, "no command was started on this connection"));
            }
        },
        Request::Apply(request) => Ask::Apply(request),
        Request::Approve(request) => Ask::Approve(request),
        Request::Agents {} => Ask::Agents,
        Request::Status {} => Ask::Status,
        Request::Stop {} => Ask::Stop,
        Request::Yield {} => Ask::Yield,
    };
    let starts = matches!(ask, Ask::Exec(_));
    let gone = || Refusal::new(Kind::Ending, "the daemon is ending");
    let (reply, answers) = mpsc::channel();
    commands.send(Command { peer, ask, reply }).map_err(|_| gone())?;
    let answer = answers.recv().map_err(|_| gone())?;
    if let (true, Ok(value)) = (starts, &answer) {
        let agent =
            value.get("number").and_then(serde_json::Value::as_u64).and_then(|number| u32::try_from(number).ok());
        let run_id = value.get("run_id").and_then(serde_json::Value::as_str);
        *started = agent.zip(run_id.map(str::to_owned));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_shuts_the_others_out() {
        let open = Open::default();
        let take = |uid| -> Vec<Counted> { (0..).map_while(|_| Counted::new(&open, uid)).collect() };
        let one = take(1);
        assert_eq!(one.len(), MAX_OF_ONE);
        let other = take(2);
        assert_eq!(other.len(), MAX_CONNECTIONS - MAX_OF_ONE - FOR_ROOT);
        assert!(Counted::new(&open, 3).is_none());
        assert!(Counted::new(&open, 0).is_some());
        drop(other);
        assert!(Counted::new(&open, 3).is_some());
        drop(one);
        assert!(open.lock().unwrap().is_empty());
    }

    #[test]
    fn a_deep_request_fits_a_connections_stack() {
        for deep in [100, 127, 128, 1 << 20] {
            for (left, right) in [("[", "]"), ("{\"a\":", "}")] {
                let inner = format!("{}1{}", left.repeat(deep), right.repeat(deep));
                for text in [inner.clone(), format!("{{\"x\":{inner},\"op\":\"exec\"}}")] {
                    let thread = thread::Builder::new().stack_size(STACK);
                    let parsed = thread.spawn(move || serde_json::from_str::<Request>(&text).is_ok());
                    assert!(!parsed.unwrap().join().unwrap());
                }
            }
        }
    }
}
