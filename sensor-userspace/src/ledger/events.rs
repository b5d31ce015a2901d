//! What the node itself says, and events about a run that are no attempts.

use anyhow::{Context, Result};

use super::Ledger;
use crate::attempt::Run;
use crate::record::envelope::{Category, source};
use crate::record::time::{Clock, now};
use crate::record::{Field, RecordId, event_data};

impl Ledger {
    /// Tells of lost events. `made`, `dropped` and `received` are exact, since the last gap record.
    pub fn gap(
        &mut self,
        run: Option<&Run>,
        ring: &str,
        made: u64,
        dropped: u64,
        received: u64,
        reason: &str,
    ) -> Result<RecordId> {
        self.event(
            Category::AuditChain,
            run,
            "gap",
            &[
                ("ring", Field::Str(ring)),
                ("made", Field::Uint(made)),
                ("dropped", Field::Uint(dropped)),
                ("received", Field::Uint(received)),
                ("reason", Field::Str(reason)),
            ],
        )
    }

    /// Says that the sensor lives: its absence is a signal.
    pub fn heartbeat(&mut self, fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        self.audit("heartbeat", fields)
    }

    /// An `audit.chain` record of this kind.
    pub fn audit(&mut self, kind: &str, fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        self.event(Category::AuditChain, None, kind, fields)
    }

    /// An `identity.assertion` about a run: `registered`, `attested`, `approval`, `operator`.
    pub fn identity(&mut self, run: &Run, kind: &str, fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        self.event(Category::IdentityAssertion, Some(run), kind, fields)
    }

    /// Any event but an attempt; `kind` is its subject.
    pub(crate) fn event(
        &mut self,
        category: Category,
        run: Option<&Run>,
        kind: &str,
        fields: &[(&str, Field<'_>)],
    ) -> Result<RecordId> {
        let time = Clock::default().format(now());
        let data =
            event_data(run, kind, &time, fields).with_context(|| format!("{} record {kind:?}", category.name()))?;
        let source = match run {
            Some(run) => source(self.chain.node(), Some(&run.agent_id)),
            None => self.node_source.clone(),
        };
        let subject = encoded(kind);
        self.append(category, &source, &subject, data)
    }

    /// Like `audit`, but at once: without rotation or checkpoint, which say something themselves.
    pub(super) fn say(&mut self, kind: &str, fields: &[(&str, Field<'_>)]) -> Result<RecordId> {
        let time = Clock::default().format(now());
        let data = event_data(None, kind, &time, fields)?;
        let source = self.node_source.clone();
        Ok(self.line(Category::AuditChain, &source, &encoded(kind), data))
    }
}

fn encoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    crate::record::canonical::encode(text.as_bytes(), &mut out);
    out
}
