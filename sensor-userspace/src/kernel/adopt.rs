//! Going on with the agents of a daemon that is no more.

use std::{collections::HashSet, io, path::Path};

use sensor_common::event::{Account, Governed, Ring};

use super::{AgentNo, Sensor, Stood, Totals, cgroup, pins::Pins};

const RINGS: [Ring; 2] = [Ring::Rare, Ring::Flood];

impl Sensor {
    /// Whether enforcement goes on when the daemon dies.
    pub fn survives(&self) -> bool {
        self.pins.is_some()
    }

    /// Places of filesystems by number.
    pub fn places(&self) -> &[Vec<u8>] {
        self.enforcer.filesystems.places()
    }

    /// Takes up an agent with its marks and its counts; where they could not be inherited, governs its cgroup anew.
    pub fn adopt(&mut self, agent: AgentNo, path: &Path) -> io::Result<()> {
        if !self.pins.as_ref().is_some_and(Pins::inherited) {
            return match self.govern(agent, path) {
                // Nothing of it is left.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            };
        }
        self.capture.attach(self.pins.as_ref()).map_err(io::Error::other)?;
        for ring in RINGS {
            let account = self.accounts.get(agent, ring);
            let before = Totals {
                made: account.made_before,
                dropped: account.dropped_before,
                received: self.rings.received(agent, ring).wrapping_sub(account.settled),
            };
            self.before.insert((agent, ring), before);
        }
        // What a daemon killed while it registered the agent had not come to.
        for directory in cgroup::subtree(path) {
            if let Ok(id) = cgroup::id(&directory) {
                self.cgroups.insert(id, agent, 0).map_err(io::Error::other)?;
            }
        }
        self.governed.insert(agent, path.to_path_buf());
        self.listen(agent);
        Ok(())
    }

    /// How an agent stands by the programs before.
    pub fn stood_before(&self, agent: AgentNo) -> Option<Stood> {
        let governed = self.pins.as_ref()?.stood_before(agent)?;
        Some(Stood {
            labels: Governed::label_bits(&governed.labels),
            risk: u8::try_from(governed.risk).unwrap_or(u8::MAX),
        })
    }

    /// These programs are the ones from now on.
    pub fn take_over(&mut self) -> io::Result<()> {
        match &mut self.pins {
            Some(pins) => pins.take_over(&mut self.active),
            None => Ok(()),
        }
    }

    /// Numbers that tasks bear, but none of `known` does: their agents are forgotten, and so are their cgroups.
    pub fn strangers(&mut self, known: &HashSet<AgentNo>) -> Vec<AgentNo> {
        self.enforcer.written.forget_all(|agent| !known.contains(&agent));
        self.enforcer.counts.forget_all(|agent| !known.contains(&agent));
        if let Some(answers) = &mut self.answers {
            answers.forget_all(|agent| !known.contains(&agent));
        }
        let stray: Vec<u64> =
            self.cgroups.iter().flatten().filter(|(_, owner)| !known.contains(owner)).map(|(id, _)| id).collect();
        for id in stray {
            // One whose directory went away is gone from the map already.
            let _ = self.cgroups.remove(&id);
        }
        let numbers: HashSet<AgentNo> = self
            .marks
            .iter()
            .flatten()
            .map(|(_, mark)| mark.0.agent)
            .filter(|number| !known.contains(number))
            .collect();
        numbers.into_iter().collect()
    }

    /// The process of each task that bears the agent's mark.
    pub fn tasks(&mut self, agent: AgentNo) -> Vec<u32> {
        self.marks.iter().flatten().filter(|(_, mark)| mark.0.agent == agent).map(|(_, mark)| mark.0.pid).collect()
    }

    /// Whether some agent's mark names this process.
    pub fn bears_a_mark(&mut self, pid: u32) -> bool {
        self.marks.iter().flatten().any(|(_, mark)| mark.0.pid == pid)
    }

    /// What gap records have told of an agent, by ring.
    pub fn told(&self, agent: AgentNo) -> [Totals; 2] {
        RINGS.map(|ring| {
            let account = self.accounts.get(agent, ring);
            Totals { made: account.told_made, dropped: account.told_dropped, received: account.told_received }
        })
    }

    /// All that was handed on of this agent is in its ledger's file, and gap records for `told`.
    pub fn settle(&mut self, agent: AgentNo, told: &[Totals; 2]) {
        for (ring, told) in RINGS.into_iter().zip(told) {
            let Some(before) = self.before.get(&(agent, ring)) else { continue };
            let received = self.rings.received(agent, ring).wrapping_sub(before.received);
            let account = Account {
                settled: received.saturating_sub(self.rings.unripe(agent, ring)),
                told_made: told.made,
                told_dropped: told.dropped,
                told_received: told.received,
                made_before: before.made,
                dropped_before: before.dropped,
            };
            self.accounts.set(agent, ring, account);
        }
    }

    /// Lets the kernel side go. `leave`: what is pinned stays in force, for the next daemon.
    pub fn end(mut self, leave: bool) -> io::Result<()> {
        match self.pins.take() {
            Some(pins) if !leave => pins.remove(),
            _ => Ok(()),
        }
    }
}
