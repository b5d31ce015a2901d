//! The JSON Schemas of what a record holds, generated so that they cannot drift from the words
//! that records use.

use sensor_common::action::{Action, Class};
use serde_json::{Value, json};

use super::envelope::Category;
use crate::trajectory::MAX_LENGTH;

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$";
/// Printable ASCII; everything else, and `% " \ < > &`, percent-encoded in capitals.
const TEXT: &str = r##"^([ !#$'-;=?-\[\]-~]|%[0-9A-F]{2})*$"##;

/// The names that `rgt schema` knows, each with its schema.
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("envelope", envelope()),
        (Category::PolicyDecision.name(), decision()),
        (Category::PolicyBreach.name(), breach()),
        (Category::IdentityAssertion.name(), identity_assertion()),
        (Category::SandboxEvent.name(), sandbox_event()),
        (Category::AuditChain.name(), audit_chain()),
    ]
}

fn text() -> Value {
    json!({ "type": "string", "pattern": TEXT })
}

fn time() -> Value {
    json!({ "type": "string", "format": "date-time", "pattern": TIME })
}

fn hex(digits: u32) -> Value {
    json!({ "type": "string", "pattern": format!("^[0-9a-f]{{{digits}}}$") })
}

fn natural() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}

/// An integer; beyond ±(2^53 − 1) a decimal string.
fn integer() -> Value {
    json!({ "anyOf": [{ "type": "integer" }, { "type": "string", "pattern": "^-?[1-9][0-9]{15,18}$" }] })
}

fn only_true() -> Value {
    json!({ "const": true })
}

fn texts() -> Value {
    json!({ "type": "array", "items": text() })
}

fn verbs() -> Value {
    let verbs: Vec<&str> = Action::ALL.iter().map(|action| action.verb()).collect();
    json!({ "enum": verbs })
}

fn closed(properties: Value, required: &[&str]) -> Value {
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn chain() -> Value {
    closed(
        json!({
            "boot": text(),
            "epoch": natural(),
            "id": hex(16),
            "key_id": hex(16),
            "node": text(),
            "prev": hex(64),
            "seq": natural(),
        }),
        &["boot", "epoch", "id", "key_id", "node", "prev", "seq"],
    )
}

fn titled(mut schema: Value, id: &str, title: &str) -> Value {
    schema["$schema"] = json!(DRAFT);
    schema["$id"] = json!(format!("urn:rgt:schema:{id}:1"));
    schema["title"] = json!(title);
    schema
}

fn envelope() -> Value {
    let types: Vec<String> = Category::ALL.iter().map(|category| category.name().replace('.', r"\.")).collect();
    let urns: Vec<&str> = Category::ALL.iter().map(|category| category.urn()).collect();
    let schema = closed(
        json!({
            "specversion": { "const": "1.0" },
            "type": { "type": "string", "pattern": format!("({})$", types.join("|")) },
            "source": { "type": "string", "pattern": "^rgt://[^/]+(/agent/.+)?$" },
            "id": { "type": "string", "pattern": "^[0-9a-f]{16}-[0-9]+$" },
            "time": time(),
            "subject": text(),
            "dataschema": { "enum": urns },
            "data": { "type": "object", "properties": { "chain": chain() }, "required": ["chain"] },
            "signature": hex(64),
        }),
        &["specversion", "type", "source", "id", "time", "subject", "dataschema", "data", "signature"],
    );
    titled(schema, "envelope", "One line of an RGT ledger: a CloudEvents 1.0 event")
}

fn action_attempted() -> Value {
    let classes = Class::ALL.map(Class::name);
    closed(
        json!({
            "abi": { "const": "compat" },
            "actions": { "type": "array", "items": verbs(), "minItems": 2 },
            "argument": text(),
            "argument2": text(),
            "argument_read": { "enum": ["return", "none"] },
            "argv": texts(),
            "argv_truncated": only_true(),
            "capability": text(),
            "class": { "enum": classes },
            "credentials": closed(
                json!({
                    "caps": { "type": "string", "pattern": "^(0|[1-9a-f][0-9a-f]{0,15})$" },
                    "egid": natural(),
                    "euid": natural(),
                    "gid": natural(),
                    "uid": natural(),
                }),
                &["caps", "gid", "uid"],
            ),
            "directory": text(),
            "directory2": text(),
            "exe": text(),
            "exe_chain": texts(),
            "host": text(),
            "object": text(),
            "object2": text(),
            "parameters": { "type": "object", "additionalProperties": integer(), "minProperties": 1 },
            "pid": natural(),
            "result": integer(),
            "syscall": { "type": "string", "pattern": "^[a-z0-9_]+$" },
            "tid": natural(),
            "verb": verbs(),
        }),
        &["class", "credentials", "pid", "syscall", "verb"],
    )
}

fn trajectory() -> Value {
    let entry = closed(
        json!({
            "object": text(),
            "result": integer(),
            "rule": text(),
            "truncated": only_true(),
            "ts": time(),
            "verb": verbs(),
            "verdict": { "enum": ["ALLOW", "DENY", "CHALLENGE"] },
        }),
        &["rule", "ts", "verb", "verdict"],
    );
    json!({ "type": "array", "items": entry, "maxItems": MAX_LENGTH })
}

fn decision() -> Value {
    let schema = attempt(&["ALLOW", "CHALLENGE"]);
    titled(schema, Category::PolicyDecision.name(), "data of an attempt that was not denied")
}

fn breach() -> Value {
    let schema = attempt(&["DENY"]);
    titled(schema, Category::PolicyBreach.name(), "data of an attempt that was denied, or would have been")
}

/// Whole under each of its names: whoever has one file needs no other.
fn attempt(verdicts: &[&str]) -> Value {
    let score = json!({ "type": "integer", "minimum": 0, "maximum": 100 });
    closed(
        json!({
            "action_attempted": action_attempted(),
            "agent_id": text(),
            "approval_status": { "enum": ["approved", "required"] },
            "behavioral_trajectory": trajectory(),
            "chain": chain(),
            "classification": { "enum": ["allowed", "suspicious", "unauthorized"] },
            "container": text(),
            "decision_reason": text(),
            "degraded": only_true(),
            "end": { "enum": ["killed", "unknown"] },
            "enforcement": { "enum": ["blocked", "held", "passed", "would_block", "not_reached"] },
            "environment": text(),
            "incomplete": texts(),
            "instance": text(),
            "judged": { "enum": ["kernel", "argument"] },
            "labels": texts(),
            "late": only_true(),
            "live_risk_score": score,
            "mode": { "enum": ["lsm", "fmod_ret", "observe"] },
            "outcome_of": { "type": "string", "pattern": "^[0-9a-f]{16}-[0-9]+$" },
            "policy_hash": text(),
            "policy_rule_id": text(),
            "policy_verdict": { "type": "string", "enum": verdicts },
            "principal": text(),
            "risk_factors": closed(
                json!({
                    "actions": natural(),
                    "added": integer(),
                    "base": { "const": 50 },
                    "delta": { "enum": [10, -2] },
                    "previous": score,
                    "profile": { "const": "article" },
                    "rapid": { "type": "boolean" },
                }),
                &["actions", "base", "delta", "previous", "profile", "rapid"],
            ),
            "run_id": text(),
            "severity": { "enum": ["info", "low", "medium", "high", "critical"] },
            "timestamp": time(),
            "trace_id": hex(32),
            "trajectory_truncated": only_true(),
            "user_approval_id": { "type": "string", "pattern": "^[0-9a-f]{16}-[0-9]+$" },
            "watched": texts(),
        }),
        &[
            "action_attempted", "agent_id", "behavioral_trajectory", "chain", "classification", "enforcement",
            "instance", "judged", "live_risk_score", "mode", "policy_rule_id", "policy_verdict", "principal",
            "risk_factors", "run_id", "severity", "timestamp", "trace_id",
        ],
    )
}

/// The fields of an event about a run; kinds bring more of their own.
fn about_run(kinds: &Value) -> (Value, Vec<&'static str>) {
    let properties = json!({
        "agent_id": text(),
        "chain": chain(),
        "container": text(),
        "environment": text(),
        "instance": text(),
        "kind": kinds,
        "principal": text(),
        "run_id": text(),
        "timestamp": time(),
        "trace_id": hex(32),
    });
    (properties, vec!["agent_id", "chain", "instance", "kind", "principal", "run_id", "timestamp", "trace_id"])
}

fn open(properties: Value, required: &[&str]) -> Value {
    json!({ "type": "object", "properties": properties, "required": required })
}

fn identity_assertion() -> Value {
    let (properties, required) = about_run(&text());
    let schema = open(properties, &required);
    titled(schema, "identity.assertion", "An agent registered or attested, an approval given, an operator acted")
}

fn sandbox_event() -> Value {
    let (mut properties, mut required) = about_run(&text());
    properties["live_risk_score"] = json!({ "type": "integer", "minimum": 0, "maximum": 100 });
    properties["actions"] = natural();
    properties["behavioral_trajectory"] = trajectory();
    required.push("live_risk_score");
    titled(open(properties, &required), "sandbox.event", "An agent started, stopped, held, contained, released")
}

fn audit_chain() -> Value {
    let properties = json!({
        "chain": chain(),
        "kind": text(),
        "timestamp": time(),
        "agent_id": text(),
        "run_id": text(),
        "made": integer(),
        "dropped": integer(),
        "received": integer(),
        "ring": text(),
        "reason": text(),
        "tree_size": natural(),
        "root": hex(64),
        "public_key": hex(64),
        "tree_signature": hex(128),
        "previous_boot": text(),
        "previous_key_id": hex(16),
        "torn_bytes": natural(),
        "torn_file": text(),
        "head_missing": only_true(),
        "not_closed": only_true(),
        "version": text(),
    });
    let of_kind = |kind: &str, required: &[&str]| {
        json!({
            "if": { "properties": { "kind": { "const": kind } } },
            "then": { "required": required },
        })
    };
    let mut schema = open(properties, &["chain", "kind", "timestamp"]);
    schema["allOf"] = json!([
        of_kind("gap", &["ring", "made", "dropped", "received", "reason"]),
        of_kind("checkpoint", &["tree_size", "root", "public_key", "tree_signature", "reason"]),
        of_kind("open", &["public_key", "version"]),
    ]);
    titled(schema, "audit.chain", "What the sensor says of itself: open, gap, heartbeat, checkpoint, clock")
}
