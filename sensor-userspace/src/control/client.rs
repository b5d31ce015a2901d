//! The commands' end of the control socket.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;

use super::protocol::{Answer, Kind, MAX_LINE, Refusal, Request, parse_answer};
use super::socket_path;

#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
}

impl Client {
    pub fn connect() -> io::Result<Client> {
        let stream = UnixStream::connect(socket_path())?;
        Ok(Client { stream: BufReader::new(stream) })
    }

    pub fn send(&mut self, request: &Request) -> io::Result<()> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)
    }

    pub fn answer(&mut self) -> Answer {
        let mut line = Vec::new();
        let lost = |cause: String| Refusal::new(Kind::Ending, format!("the daemon went away: {cause}"));
        let limit = MAX_LINE as u64 + 1;
        let read = (&mut self.stream).take(limit).read_until(b'\n', &mut line);
        read.map_err(|cause| lost(cause.to_string()))?;
        if line.last() != Some(&b'\n') {
            return Err(lost("it closed the connection".to_owned()));
        }
        parse_answer(&line)
    }

    pub fn ask(&mut self, request: &Request) -> Answer {
        match self.send(request) {
            Ok(()) => self.answer(),
            // It may have said why before it closed.
            Err(cause) => match self.answer() {
                Err(Refusal { kind: Kind::Ending, .. }) => {
                    Err(Refusal::new(Kind::Ending, format!("the daemon went away: {cause}")))
                }
                answer => answer,
            },
        }
    }
}
