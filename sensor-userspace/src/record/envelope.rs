//! The CloudEvents envelope around `data`: how a line is put together, and taken apart again.

use super::canonical::is_plain;

/// What an event is about. One event, one record, one category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    PolicyDecision,
    PolicyBreach,
    ToolInvocation,
    IdentityAssertion,
    SandboxEvent,
    AuditChain,
}

impl Category {
    pub const ALL: [Category; 6] = [
        Category::PolicyDecision,
        Category::PolicyBreach,
        Category::ToolInvocation,
        Category::IdentityAssertion,
        Category::SandboxEvent,
        Category::AuditChain,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Category::PolicyDecision => "policy.decision",
            Category::PolicyBreach => "policy.breach",
            Category::ToolInvocation => "tool.invocation",
            Category::IdentityAssertion => "identity.assertion",
            Category::SandboxEvent => "sandbox.event",
            Category::AuditChain => "audit.chain",
        }
    }

    /// The category of a `type`, whatever its prefix.
    pub fn of_type(kind: &[u8]) -> Option<Category> {
        Category::ALL.into_iter().find(|category| kind.ends_with(category.name().as_bytes()))
    }

    /// The `dataschema` of its records.
    pub const fn urn(self) -> &'static str {
        match self {
            Category::PolicyDecision => "urn:rgt:schema:policy.decision:1",
            Category::PolicyBreach => "urn:rgt:schema:policy.breach:1",
            Category::ToolInvocation => "urn:rgt:schema:tool.invocation:1",
            Category::IdentityAssertion => "urn:rgt:schema:identity.assertion:1",
            Category::SandboxEvent => "urn:rgt:schema:sandbox.event:1",
            Category::AuditChain => "urn:rgt:schema:audit.chain:1",
        }
    }
}

/// What stands before `data`; all in canonical form already.
pub struct Head<'a> {
    pub kind: &'a [u8],
    pub source: &'a [u8],
    pub id: &'a [u8],
    pub time: &'a [u8],
    pub subject: &'a [u8],
    pub category: Category,
}

impl Head<'_> {
    /// The line up to `data`.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in [
            br#"{"specversion":"1.0","type":""#.as_slice(),
            self.kind,
            br#"","source":""#,
            self.source,
            br#"","id":""#,
            self.id,
            br#"","time":""#,
            self.time,
            br#"","subject":""#,
            self.subject,
            br#"","dataschema":""#,
            self.category.urn().as_bytes(),
            br#"","data":"#,
        ] {
            out.extend_from_slice(part);
        }
    }
}

/// The line after `data`.
pub fn write_tail(signature_hex: &[u8; 64], out: &mut Vec<u8>) {
    out.extend_from_slice(br#","signature":""#);
    out.extend_from_slice(signature_hex);
    out.extend_from_slice(br#""}"#);
}

const TAIL: usize = br#","signature":""}"#.len() + 64;

/// A line taken apart; every part is as it stands there.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    pub kind: &'a [u8],
    pub source: &'a [u8],
    pub id: &'a [u8],
    pub time: &'a [u8],
    pub subject: &'a [u8],
    pub dataschema: &'a [u8],
    pub data: &'a [u8],
    pub signature: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Takes a line (without its newline) apart; `None` if it is not laid out as a record.
    pub fn of(line: &'a [u8]) -> Option<Parts<'a>> {
        let mut rest = line.strip_prefix(br#"{"specversion":"1.0","type":""#.as_slice())?;
        let mut next = |after: &[u8]| -> Option<&'a [u8]> {
            let end = rest.iter().position(|&byte| byte == b'"')?;
            let part = &rest[..end];
            rest = rest[end..].strip_prefix(after)?;
            Some(part)
        };
        let kind = next(br#"","source":""#)?;
        let source = next(br#"","id":""#)?;
        let id = next(br#"","time":""#)?;
        let time = next(br#"","subject":""#)?;
        let subject = next(br#"","dataschema":""#)?;
        let dataschema = next(br#"","data":"#)?;
        let (data, tail) = rest.split_at(rest.len().checked_sub(TAIL)?);
        let signature = tail.strip_prefix(br#","signature":""#.as_slice())?.strip_suffix(br#""}"#)?;
        let hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let whole = signature.iter().all(hex) && data.first() == Some(&b'{');
        whole.then_some(Parts { kind, source, id, time, subject, dataschema, data, signature })
    }
}

/// A type prefix is part of what is signed and of every line: only harmless characters.
pub fn check_type_prefix(prefix: &str) -> Result<(), String> {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    match prefix.bytes().all(harmless) {
        true if prefix.len() <= 128 => Ok(()),
        _ => Err(format!(
            "record.type_prefix {prefix:?}: only letters, digits and . _ - / are possible, at most 128; \
             take for example `rgt.`"
        )),
    }
}

/// `source` of what an agent did (`rgt://NODE/agent/AGENT`), or of the node itself (`rgt://NODE`).
///
/// It is a URI, so more is percent-encoded than the canonical form asks for, and `%` only once.
pub fn source(node: &str, agent_id: Option<&str>) -> Vec<u8> {
    let mut out = b"rgt://".to_vec();
    uri(node, &mut out);
    if let Some(agent_id) = agent_id {
        out.extend_from_slice(b"/agent/");
        uri(agent_id, &mut out);
    }
    out
}

fn uri(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@!$'()*+,;=".contains(&byte) {
            debug_assert!(is_plain(byte));
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
}
