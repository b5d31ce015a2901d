//! Is this ledger whole, and is it what was written?

use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::diagnose::{self, Rest};
use super::facts::{Facts, rebuild};
use super::head::Head;
use super::input::{Input, Lines};
use super::node::verify_head;
pub use super::report::{Fault, Problem, Report};
use super::tree::{Root, Tree};
use super::{SealKey, hex64};
use crate::record::envelope::{Category, Parts};

/// What is wrong with one line, before its place in the file is known.
pub(super) type Verdict<T> = std::result::Result<T, (Fault, String)>;

/// Verifies a segment or a ledger directory; `progress` is called now and then with the count.
pub fn verify(path: &Path, keys: &[SealKey], progress: &mut dyn FnMut(u64)) -> Result<Report> {
    // The head is read first: lines that come in meanwhile are beyond it, never missing from it.
    let input = Input::of(path)?;
    let mut walk = Walk::new(&input, keys);
    let head = match walk.read_head() {
        Ok(head) => head,
        Err((fault, message)) => {
            let file = input.dir.join(super::head::FILE).display().to_string();
            walk.report.problem = Some(Problem { fault, file, line: 0, message });
            return Ok(walk.report);
        }
    };
    walk.head = head;
    let mut line = Vec::new();
    for (n, file) in input.files.iter().enumerate() {
        walk.report.segments += 1;
        let newest = n + 1 == input.files.len();
        let mut number = 0;
        let mut lines = Lines::open(file).with_context(|| format!("{}: cannot be opened", file.display()))?;
        loop {
            let found = match lines.next(&mut line) {
                Ok(false) => break,
                Ok(true) => walk.line(&line, newest),
                Err(error) => Err(unreadable(&error)),
            };
            number += 1;
            match found {
                Ok(()) => {}
                Err((_, message)) if message.is_empty() => break,
                Err((mut fault, mut message)) => {
                    if walk.needs_rest(fault) {
                        let rest = Rest::read(&mut lines, &input.files[n + 1..]);
                        (fault, message) = walk.reconsider(fault, message, &line, &rest);
                    }
                    let file = file.display().to_string();
                    walk.report.problem = Some(Problem { fault, file, line: number, message });
                    return Ok(walk.report);
                }
            }
            if walk.report.records.is_multiple_of(1 << 15) {
                progress(walk.report.records);
            }
        }
    }
    if let Err((fault, message)) = walk.end() {
        let file = input.files.last().unwrap_or(&input.dir).display().to_string();
        walk.report.problem = Some(Problem { fault, file, line: 0, message });
    }
    Ok(walk.report)
}

fn unreadable(error: &std::io::Error) -> (Fault, String) {
    let fault = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Fault::Truncated,
        _ => Fault::Modified,
    };
    (fault, format!("the segment cannot be read: {error}"))
}

struct Walk<'a> {
    input: &'a Input,
    keys: &'a [SealKey],
    head: Option<Head>,
    report: Report,
    /// The sequence number to come.
    next: Option<u64>,
    /// The digest of the line before; none before the first line of a segment in the middle.
    last: Option<Root>,
    boot: Vec<u8>,
    public_key: Vec<u8>,
    /// Only when the chain is read from its start.
    tree: Option<Tree>,
    /// The first record before which no head said how many there should be.
    unheaded: Option<u64>,
    /// Whether the head was compared with the line that it ends in, and the node's key is known from the lines.
    head_holds: bool,
}

impl<'a> Walk<'a> {
    fn new(input: &'a Input, keys: &'a [SealKey]) -> Walk<'a> {
        Walk {
            input,
            keys,
            head: None,
            report: Report::default(),
            next: input.first,
            last: None,
            boot: Vec::new(),
            public_key: Vec::new(),
            tree: input.whole.then(Tree::default),
            unheaded: None,
            head_holds: false,
        }
    }

    fn read_head(&mut self) -> Verdict<Option<Head>> {
        match &self.input.head {
            None if self.input.needs_head => Err((
                Fault::Truncated,
                "head.json is gone: nothing says how far the ledger went; verify the segments one by one without it"
                    .to_string(),
            )),
            None => Ok(None),
            Some(text) => match Head::authentic(text) {
                Some(head) => {
                    self.report.head = Some(head.tree_size);
                    Ok(Some(head))
                }
                None => Err((Fault::Modified, "the head is not as its node signed it".to_string())),
            },
        }
    }

    fn line(&mut self, line: &[u8], newest: bool) -> Verdict<()> {
        let Some(line) = line.strip_suffix(b"\n") else {
            return self.unfinished(line, newest);
        };
        let parts = Parts::of(line).ok_or_else(|| modified("it is not laid out as a record"))?;
        let facts = Facts::of(parts.data)
            .map_err(|why| modified(&format!("data is not canonical at byte {}: {}", why.at, why.what)))?;
        let category = rebuild(&parts, &facts)
            .map_err(|part| modified(&format!("{part} is not what the signed parts make it")))?;
        self.signature(&parts, &facts)?;
        self.place(&facts)?;
        if facts.boot != self.boot {
            self.boot_change(category, &facts)?;
        }
        let digest: Root = Sha256::digest(line).into();
        self.checkpoint(category, &facts)?;
        if let Some(tree) = &mut self.tree {
            tree.push(&digest);
        }
        self.last = Some(digest);
        self.next = Some(facts.seq + 1);
        self.report.records += 1;
        self.report.first.get_or_insert(facts.seq);
        self.report.last = Some(facts.seq);
        self.against_head(facts.seq + 1)
    }

    /// A last line without its newline.
    fn unfinished(&self, line: &[u8], newest: bool) -> Verdict<()> {
        if newest && self.input.is_live() {
            // It is being written at this moment. An empty message: stop, no problem.
            return Err((Fault::Truncated, String::new()));
        }
        match line.split_last() {
            Some((_, whole)) if Parts::of(whole).is_some() => Err(modified("its newline was replaced")),
            _ => Err((Fault::Truncated, "the last line does not end".to_string())),
        }
    }

    fn signature(&self, parts: &Parts<'_>, facts: &Facts<'_>) -> Verdict<()> {
        let Some(key) = self.keys.iter().find(|key| key.id().as_bytes() == facts.key_id) else {
            return Err((
                Fault::UnknownKey,
                format!(
                    "it is sealed with key {}, which is not here; name it with --key-file",
                    String::from_utf8_lossy(facts.key_id)
                ),
            ));
        };
        let signature = key.sign([parts.kind, parts.source, parts.time, parts.id, parts.data]);
        // Nothing is learnt from timing here: the verifier holds the key.
        if signature == *parts.signature { Ok(()) } else { Err(modified("its signature does not hold")) }
    }

    /// Whether the line belongs right here.
    fn place(&mut self, facts: &Facts<'_>) -> Verdict<()> {
        if self.report.records == 0 {
            self.report.chain = String::from_utf8_lossy(facts.chain).into_owned();
        } else if facts.chain != self.report.chain.as_bytes() {
            return Err((Fault::BrokenBootChain, "it is of another chain".to_string()));
        }
        let first = self.report.first;
        match self.next {
            Some(next) if facts.seq > next => {
                return Err((Fault::Missing, format!("record {next} was expected here, {} is", facts.seq)));
            }
            Some(next) if facts.seq < next => {
                let seen = first.is_some_and(|first| facts.seq >= first);
                let fault = if seen { Fault::Duplicated } else { Fault::Reordered };
                return Err((fault, format!("record {next} was expected here, {} is", facts.seq)));
            }
            _ => {}
        }
        let linked = match &self.last {
            Some(last) => facts.prev == hex64(last),
            None => facts.seq > 0 || facts.prev.iter().all(|&digit| digit == b'0'),
        };
        if linked {
            return Ok(());
        }
        Err((Fault::BrokenBootChain, "it was written after another line than the one before it".to_string()))
    }

    /// A new boot must say so, in its first record.
    fn boot_change(&mut self, category: Category, facts: &Facts<'_>) -> Verdict<()> {
        let said = category == Category::AuditChain
            && facts.kind == Some(b"open")
            && facts.previous_boot == Some(self.boot.as_slice());
        if !self.boot.is_empty() && !said {
            return Err((
                Fault::BrokenBootChain,
                "the boot changes without a record that the ledger was opened after it".to_string(),
            ));
        }
        self.boot = facts.boot.to_vec();
        Ok(())
    }

    /// Tree heads in the ledger must be those of the lines before them.
    fn checkpoint(&mut self, category: Category, facts: &Facts<'_>) -> Verdict<()> {
        if category != Category::AuditChain {
            return Ok(());
        }
        if facts.kind == Some(b"open") {
            self.public_key = facts.public_key.unwrap_or_default().to_vec();
            // A crash between the very first record and its head leaves none.
            if facts.head_missing && facts.seq > 1 {
                self.unheaded.get_or_insert(facts.seq);
            }
        }
        if facts.kind != Some(b"checkpoint") {
            return Ok(());
        }
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (public, signature, root) = (text(facts.public_key), text(facts.tree_signature), text(facts.root));
        let Some(root) = super::head::root_of(&root) else {
            return Err(modified("the checkpoint has no root"));
        };
        let same = |tree: &Tree| tree.root() == root && tree.size() == facts.seq;
        let chain = &self.report.chain;
        let holds = facts.tree_size == Some(facts.seq)
            && self.tree.as_ref().is_none_or(same)
            && (self.public_key.is_empty() || self.public_key == public.as_bytes())
            && verify_head(&public, &signature, chain, facts.seq, &root);
        if !holds {
            return Err(modified("the checkpoint is not of the lines before it"));
        }
        self.public_key = public.into_bytes();
        Ok(())
    }

    /// Once as many lines are read as the head covers, it must be the head of these lines.
    fn against_head(&mut self, size: u64) -> Verdict<()> {
        let Some(head) = self.head.as_ref().filter(|head| head.tree_size == size) else {
            return Ok(());
        };
        let root = self.tree.as_ref().map(|tree| hex::encode(tree.root()));
        let last = self.last.map(hex::encode);
        let holds = head.chain == self.report.chain
            && root.is_none_or(|root| root == head.root)
            && last.is_none_or(|last| last == head.last)
            && (self.public_key.is_empty() || self.public_key == head.public_key.as_bytes());
        if !holds {
            return Err(modified("the signed head is not of this ledger's lines"));
        }
        self.head_holds = !self.public_key.is_empty();
        Ok(())
    }

    fn end(&mut self) -> Verdict<()> {
        let next = self.next.unwrap_or(0);
        if let Some(until) = self.input.until.filter(|&until| until != next) {
            return Err((
                Fault::Truncated,
                format!("it ends before record {next}; the next segment begins with {until}"),
            ));
        }
        if let Some(head) = &self.head {
            self.report.root = Some(head.root.clone());
            if head.tree_size > next {
                return Err((
                    Fault::Truncated,
                    format!("it ends before record {next}; the signed head says {} records", head.tree_size),
                ));
            }
        }
        if !self.head_holds && self.report.records > 0 {
            if self.input.needs_head {
                return Err(modified("the signed head is not of this ledger's lines"));
            }
            // Lines of a segment alone need not say whose the head is: anybody can sign one with a key of his.
            (self.report.head, self.report.root) = (None, None);
        }
        match (self.report.records, self.unheaded) {
            (0, _) => Err((Fault::Truncated, "no record is in it".to_string())),
            (_, Some(seq)) => Err((
                Fault::Truncated,
                format!(
                    "head.json was missing when record {seq} was written: what stood before it may have been cut off"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Whether what follows can tell more about this fault.
    fn needs_rest(&self, fault: Fault) -> bool {
        matches!(fault, Fault::Missing | Fault::UnknownKey) || (fault == Fault::Modified && self.report.records == 0)
    }

    fn reconsider(&self, fault: Fault, message: String, line: &[u8], rest: &Rest) -> (Fault, String) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let verified = self.report.records > 0;
        match fault {
            Fault::Missing => diagnose::gap(self.next.unwrap_or(0), line, rest, message),
            Fault::UnknownKey => diagnose::unknown_key(line, rest, self.head.as_ref(), verified, message),
            _ => diagnose::not_a_record(line, rest, message),
        }
    }
}

fn modified(message: &str) -> (Fault, String) {
    (Fault::Modified, message.to_string())
}
