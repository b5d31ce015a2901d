//! The JSON Schema of a policy file, for editors: keys, words and what they are for. What needs more than one place to
//! be judged (lists that are named, labels, shadowed rules) `rgt policy check` says.

use sensor_common::action::{Action, Class};
use serde_json::{Map, Value, json};

use super::language::Effect;
use super::numbers::Numbered;
use super::read_case::VERDICTS;
use super::read_consequence::ERRNOS;
use super::read_rule::{EFFECTS, OBJECTS, SEVERITIES};
use super::sensitivity;

/// A key, what may stand behind it, and a sentence for whoever points at it.
type Key = (&'static str, Value, &'static str);

pub fn schema() -> Value {
    let top = object(top(), &["version"]);
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:rgt:schema:policy:1",
        "title": "rgt policy",
        "description": "What agents may do. A file that others include may have fewer keys; `rgt policy check` says which.",
        "$defs": {
            "words": one_or_more(word()),
            "actions": one_or_more(actions()),
            "paths": one_or_more(json!({ "type": "string", "minLength": 1 })),
            "rule": rule(),
            "when": whole(object(when(), &[])),
            "case": object(case(), &["action", "verdict"]),
        },
    });
    if let (Some(schema), Value::Object(top)) = (schema.as_object_mut(), top) {
        schema.extend(top);
    }
    schema
}

fn top() -> Vec<Key> {
    let by_name = |values: Value| json!({ "type": "object", "additionalProperties": values });
    let level = json!({ "anyOf": [refer("paths"), object(vec![
        ("path", refer("paths"), "Places"),
        ("to", refer("paths"), "Addresses and networks"),
    ], &[])] });
    let levels = sensitivity::NAMES.iter().skip(1).map(|name| (*name, level.clone(), "What is so sensitive")).collect();
    let text = word();
    let listed = json!({ "type": "array", "minItems": 1, "items": { "type": "string" } });
    vec![
        ("version", json!({ "enum": [1, "1"] }), "The version of the language"),
        ("name", text.clone(), "Records name the policy by it; else the file's name"),
        ("description", text.clone(), "A sentence"),
        (
            "include",
            one_or_more_or_none(text.clone()),
            "Files, relative to this one, whose rules stand before this one's",
        ),
        ("mode", words(&["enforce", "observe"]), "observe: judge and record everything, refuse nothing"),
        ("default", words(&["allow", "deny"]), "What holds where no rule matches"),
        ("on_unknown", words(&["allow", "deny"]), "What holds where a rule asks for a place that cannot be told"),
        (
            "unresolved",
            words(&["allow", "deny", "challenge"]),
            "What holds of addresses that no host name of the policy stands for",
        ),
        ("lists", by_name(listed), "Paths or destinations under a name; a rule says $name"),
        ("sensitivity", object(levels, &[]), "How sensitive places and addresses are; all else is public"),
        (
            "rules",
            json!({ "type": "array", "minItems": 1, "items": refer("rule") }),
            "In order: the first that matches decides",
        ),
        ("hosts", by_name(one_or_more_or_none(text)), "What host names stand for in tests and explain"),
        (
            "tests",
            json!({ "type": "array", "items": refer("case") }),
            "The policy's own table of cases, for rgt policy test",
        ),
    ]
}

/// One effect, and at most one kind of object.
fn rule() -> Value {
    let mut rule = object(rule_keys(), &["id"]);
    let one = |(effect, _): &(&str, Effect)| json!({ "required": [effect] });
    rule["oneOf"] = EFFECTS.iter().map(one).collect();
    let pairs =
        OBJECTS.iter().enumerate().flat_map(|(at, one)| OBJECTS[at + 1..].iter().map(move |other| [one, other]));
    rule["not"] = json!({ "anyOf": pairs.map(|pair| json!({ "required": pair })).collect::<Vec<_>>() });
    rule
}

fn rule_keys() -> Vec<Key> {
    let text = word();
    let label = json!({ "anyOf": [word(), object(vec![
        ("set", word(), "The label"),
        ("for", duration(), "How long; else the whole run"),
    ], &["set"])] });
    let mut path = object(
        vec![
            ("not", refer("paths"), "All places but these"),
            ("written_by_agent", truth(), "What the agent's run has written"),
        ],
        &[],
    );
    (path["minProperties"], path["maxProperties"]) = (1.into(), 1.into());
    vec![
        (
            "id",
            json!({ "type": ["string", "number", "boolean"], "pattern": "^[A-Za-z0-9_.-]{1,64}$" }),
            "Records name the rule by it",
        ),
        ("description", text.clone(), "A sentence"),
        ("allow", refer("actions"), "These actions go ahead"),
        ("deny", refer("actions"), "These actions are refused"),
        ("challenge", refer("actions"), "These actions wait for somebody's word; without one `otherwise` holds"),
        ("watch", refer("actions"), "Decides nothing; its consequences count wherever it stands"),
        ("path", json!({ "anyOf": [refer("paths"), path] }), "The places it speaks of"),
        ("to", or_not(refer("paths")), "The destinations it speaks of: networks or host names, with ports"),
        ("unix", or_not(refer("paths")), "The unix sockets it speaks of: their files, or @names"),
        ("signal", or_not(one_or_more(signal())), "The signals it speaks of"),
        ("capability", or_not(one_or_more(capability())), "The capabilities it speaks of"),
        ("exe", or_not(refer("paths")), "The programs that act"),
        ("when", refer("when"), "The conditions under which it holds, all of them"),
        ("mode", words(&["enforce", "observe"]), "observe: record what the rule would have done, and search on"),
        ("severity", named(SEVERITIES.iter().map(|(name, _)| *name)), "How much its record matters"),
        ("tags", refer("words"), "Words such as ATT&CK techniques"),
        ("label", one_or_more(label), "What it marks the agent with, if the action goes ahead"),
        (
            "risk",
            json!({ "anyOf": [{ "type": "integer", "minimum": -100, "maximum": 100 },
            { "type": "string", "pattern": "^[+-][0-9]{1,3}$" }] }),
            "What it adds to the agent's risk: +20 or -5",
        ),
        ("errno", named(ERRNOS.iter().map(|(name, _)| *name)), "What a refused call returns; else EACCES"),
        ("timeout", duration(), "How long a challenge waits"),
        ("otherwise", words(&["allow", "deny"]), "What holds when a challenge gets no answer"),
        ("owner", text.clone(), "Whose rule it is"),
        ("reason", text.clone(), "Why there is such a rule"),
        ("expires", text, "The day, or the moment, from which it no longer holds"),
        ("scope", or_not(refer("words")), "The agents it holds for, by name"),
    ]
}

fn when() -> Vec<Key> {
    let who = or_not(refer("words"));
    let label = object(vec![("any", refer("words"), "One of these"), ("not", refer("words"), "None of these")], &[]);
    let amount = json!({ "anyOf": [{ "type": "integer", "minimum": 1 },
        { "type": "string", "pattern": "^[0-9]+(KiB|MiB|GiB)?$" }] });
    let mut limit = object(
        vec![
            ("within", amount.clone(), "Holds up to so many"),
            ("beyond", amount, "Holds from one more on"),
            ("of", words(&["attempts", "bytes", "objects"]), "What is counted; else attempts"),
            ("per", json!({ "anyOf": [duration(), { "const": "run" }] }), "In which window; else in the whole run"),
        ],
        &[],
    );
    limit["oneOf"] = json!([{ "required": ["within"] }, { "required": ["beyond"] }]);
    vec![
        ("label", json!({ "anyOf": [refer("words"), label] }), "The agent has the label, or one of them"),
        ("risk", json!({ "type": "string" }), "Its risk is there: \">=85\", \"<50\", \"50-80\""),
        ("principal", who.clone(), "On whose authority it runs"),
        ("role", who.clone(), "The role that the operator gave it"),
        ("env", who.clone(), "The environment it runs in"),
        ("task", who.clone(), "The task that the operator gave it"),
        ("time", json!({ "type": "string" }), "It is that time: Mon-Fri 09:00-17:00 Europe/Berlin"),
        ("approval", who, "An operator has said so: rgt approve AGENT NAME"),
        ("limit", limit, "How much there was of it so far"),
        ("sensitivity", refer("words"), "How sensitive the object is: confidential, or \">=confidential\""),
    ]
}

fn case() -> Vec<Key> {
    let text = word();
    vec![
        ("name", text.clone(), "What to call it"),
        ("action", one_or_more(named(Action::ALL.iter().map(|action| action.verb()))), "What one call means"),
        ("path", text.clone(), "The object"),
        ("path2", text.clone(), "The second path of a rename or a link"),
        ("to", text.clone(), "One address, or host, with its port"),
        ("unix", text.clone(), "A unix socket"),
        ("signal", json!({ "type": ["string", "integer"] }), "One signal; 0 asks whether somebody is there"),
        ("capability", capability(), "One capability"),
        ("protocol", words(&["tcp", "udp"]), "Of `to`; else tcp"),
        ("unknown", truth(), "The place cannot be told"),
        ("nameless", truth(), "A thing without a file name, such as a memfd"),
        ("written", truth(), "The agent has written it"),
        ("exe", text.clone(), "The program that acts"),
        ("labels", refer("words"), "What the agent is marked with"),
        ("exceeds", refer("words"), "Rules whose limits the attempt exceeds"),
        (
            "risk",
            json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 100 }, { "type": "string", "pattern": "^[0-9]{1,3}$" }] }),
            "The agent's risk",
        ),
        ("agent", text.clone(), "The agent's name"),
        ("principal", text.clone(), "On whose authority it runs"),
        ("role", text.clone(), "Its role"),
        ("env", text.clone(), "Its environment"),
        ("task", text.clone(), "Its task"),
        ("approval", refer("words"), "What is approved for it"),
        ("at", text.clone(), "When: 2026-11-21T10:00:00Z; else now"),
        ("verdict", named(VERDICTS.iter().map(|(name, _)| *name)), "What must come out"),
        ("rule", text, "Which rule must decide"),
    ]
}

fn actions() -> Value {
    let verbs = Action::ALL.iter().map(|action| action.verb());
    let mut families: Vec<String> =
        verbs.clone().filter_map(|verb| Some(format!("{}.*", verb.split_once('.')?.0))).collect();
    families.sort();
    families.dedup();
    let classes = Class::ALL.iter().map(|class| class.name());
    let all = ["*"].into_iter().chain(verbs).chain(classes).map(str::to_owned).chain(families);
    json!({ "enum": all.collect::<Vec<_>>() })
}

/// By name with or without `SIG`, or by number.
fn signal() -> Value {
    let names: Vec<&str> = Numbered::Signal.words().collect();
    json!({ "anyOf": [{ "enum": names }, { "type": "integer", "minimum": 0, "maximum": 64 },
        { "type": "string", "pattern": "^([0-9]|[1-5][0-9]|6[0-4])$" }] })
}

/// What YAML reads as a number or a truth is a word to the language.
fn word() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
}

fn truth() -> Value {
    json!({ "enum": [true, false, "true", "false"] })
}

fn capability() -> Value {
    json!({ "anyOf": [{ "type": "string", "pattern": "^(CAP_)?[A-Z_0-9]+$" },
        { "type": "integer", "minimum": 0, "maximum": 63 }] })
}

fn duration() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$" })
}

fn refer(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

fn words(words: &[&str]) -> Value {
    named(words.iter().copied())
}

fn named<'a>(words: impl Iterator<Item = &'a str>) -> Value {
    json!({ "enum": words.collect::<Vec<_>>() })
}

fn one_or_more(one: Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
}

fn one_or_more_or_none(one: Value) -> Value {
    json!({ "anyOf": [one, { "type": "array", "items": one }] })
}

fn or_not(this: Value) -> Value {
    let not =
        json!({ "type": "object", "properties": { "not": this }, "required": ["not"], "additionalProperties": false });
    json!({ "anyOf": [this, not] })
}

/// Not without a key.
fn whole(mut object: Value) -> Value {
    object["minProperties"] = 1.into();
    object
}

fn object(keys: Vec<Key>, required: &[&str]) -> Value {
    let described = |(key, mut schema, sentence): Key| {
        schema["description"] = sentence.into();
        (key.to_owned(), schema)
    };
    let properties: Map<String, Value> = keys.into_iter().map(described).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use super::*;
    use crate::policy::problem::Report;
    use crate::policy::read_case::CASE_KEYS;
    use crate::policy::read_limit::KEYS as LIMIT_KEYS;
    use crate::policy::words::{RULE_KEYS, TOP_KEYS, WHEN_KEYS};
    use crate::policy::yaml::{self, Kind, Node};

    /// As an editor reads it.
    fn value(node: &Node) -> Value {
        match &node.kind {
            Kind::Scalar { text, plain: false } => json!(text),
            Kind::Scalar { text, plain: true } => match text.as_str() {
                "" | "~" | "null" => Value::Null,
                "true" => json!(true),
                "false" => json!(false),
                text => text.parse::<i64>().map_or_else(|_| json!(text), |number| json!(number)),
            },
            Kind::List(items) => items.iter().map(value).collect(),
            Kind::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), value(&entry.value))).collect(),
        }
    }

    /// What an editor would underline.
    pub(in crate::policy) fn errors(text: &str) -> Vec<String> {
        static VALIDATOR: LazyLock<jsonschema::Validator> =
            LazyLock::new(|| jsonschema::validator_for(&schema()).unwrap());
        let root = yaml::read(text, 0, &mut Report::over(vec!["t.yaml".to_owned()])).unwrap();
        let value = value(&root);
        VALIDATOR.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect()
    }

    #[test]
    fn it_has_the_languages_keys() {
        for (keys, known) in [(top(), TOP_KEYS), (rule_keys(), RULE_KEYS), (when(), WHEN_KEYS), (case(), CASE_KEYS)] {
            let keys: BTreeSet<&str> = keys.into_iter().map(|(key, ..)| key).collect();
            assert_eq!(keys, known.iter().copied().collect());
        }
        let limit = &schema()["$defs"]["when"]["properties"]["limit"]["properties"];
        let keys: BTreeSet<&str> = limit.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, LIMIT_KEYS.iter().copied().collect());
    }

    #[test]
    fn what_is_a_policy_fits() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let mut count = 0;
        for directory in ["policies", "tests/vm", "tests/evasion/policies"] {
            for file in std::fs::read_dir(format!("{root}/{directory}")).unwrap() {
                let path = file.unwrap().path();
                if path.extension().is_some_and(|ending| ending == "yaml") {
                    count += 1;
                    let text = std::fs::read_to_string(&path).unwrap();
                    assert_eq!(errors(&text), [""; 0], "{}", path.display());
                }
            }
        }
        assert!(count > 20, "{count}");
    }

    #[test]
    fn words_need_no_quotes() {
        let text = "version: '1'\nname: 7\ninclude: []\nrules:\n  - { id: 7, deny: proc.signal, signal: [IOT, SIGPOLL, 9, '15'], label: 7, owner: 1 }\n\
                    tests:\n  - { action: proc.signal, signal: CLD, principal: 1000, risk: '90', written: 'true', verdict: deny, rule: 7 }\n";
        assert_eq!(errors(text), [""; 0]);
    }

    #[test]
    fn what_is_none_does_not() {
        for (text, place) in [
            ("version: 2\nrules: [{ id: A, deny: '*' }]\n", "/version"),
            ("version: 1\nrulez: []\n", ""),
            ("version: 1\nrules: [{ id: A, deny: file.delte }]\n", "/rules/0/deny"),
            ("version: 1\nrules: [{ id: A, deny: '*', allow: '*' }]\n", "/rules/0"),
            ("version: 1\nrules: [{ id: A, deny: '*', path: /a, to: '*' }]\n", "/rules/0"),
            ("version: 1\nrules: [{ id: A, deny: '*', path: { nto: [/a] } }]\n", "/rules/0/path"),
            ("version: 1\nrules: [{ id: A, deny: '*', when: { lable: x } }]\n", "/rules/0/when"),
            ("version: 1\nrules: [{ id: A, deny: '*', signal: SIGKIL }]\n", "/rules/0/signal"),
            ("version: 1\nrules: [{ id: A, deny: '*', path: { not: /a, written_by_agent: true } }]\n", "/rules/0/path"),
            ("version: 1\nrules: [{ id: A, deny: '*', when: {} }]\n", "/rules/0/when"),
            ("version: 1\nrules: [{ id: A, deny: '*', when: { limit: { per: 1h } } }]\n", "/rules/0/when/limit"),
            (
                "version: 1\nrules: [{ id: A, deny: '*' }]\ntests: [{ action: file.read, verdict: no }]\n",
                "/tests/0/verdict",
            ),
        ] {
            let errors = errors(text);
            assert!(errors.iter().any(|error| error.starts_with(&format!("{place}: "))), "{text}: {errors:?}");
        }
    }
}
