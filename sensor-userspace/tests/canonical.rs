//! Canonical bytes: one spelling, and nothing else is accepted.

mod support;

use rgt::record::canonical::{MAX_INTEGER, Object, decode, encode};
use rgt::record::scan::Scanner;
use serde_json::Value;
use support::{NASTY, Random};

/// The definition, spelt out over a parsed value.
fn canonical(value: &Value) -> String {
    match value {
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => format!("\"{text}\""),
        Value::Array(values) => format!("[{}]", values.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            let pairs: Vec<String> = keys.iter().map(|key| format!("\"{key}\":{}", canonical(&map[*key]))).collect();
            format!("{{{}}}", pairs.join(","))
        }
        Value::Null => "null".to_string(),
    }
}

fn scan(bytes: &[u8]) -> bool {
    let mut scanner = Scanner::new(bytes);
    scanner.value().is_ok() && scanner.end().is_ok()
}

fn fill(object: &mut Object<'_>, random: &mut Random, depth: u32) {
    for key in ["a", "b", "b_c", "c", "d"] {
        match random.below(8) {
            0 => object.int(key, random.next() as i64),
            1 => object.uint(key, random.below(1000)),
            2 => object.bool(key, random.below(2) == 0),
            3 if depth < 4 => object.object(key, |inner| fill(inner, random, depth + 1)),
            4 => {
                let count = random.below(4);
                let texts: Vec<Vec<u8>> = (0..count).map(|_| random.bytes(20)).collect();
                object.strings(key, texts);
            }
            5 => {}
            _ => object.str(key, random.bytes(60)),
        }
    }
}

#[test]
fn strings_round_trip_and_stay_printable() {
    let mut random = Random::seeded();
    let mut cases: Vec<Vec<u8>> = NASTY.iter().map(|bytes| bytes.to_vec()).collect();
    cases.extend((0..2000).map(|_| random.bytes(100)));
    cases.push((0..=255).collect());
    for raw in cases {
        let mut out = Vec::new();
        encode(&raw, &mut out);
        assert_eq!(decode(&out), raw);
        assert!(out.iter().all(|&byte| (0x20..=0x7e).contains(&byte) && !b"\"\\<>&".contains(&byte)));
        let quoted = [b"\"", out.as_slice(), b"\""].concat();
        assert!(scan(&quoted));
        assert_eq!(serde_json::from_slice::<String>(&quoted).unwrap().as_bytes(), out);
    }
}

#[test]
fn objects_have_one_spelling() {
    let mut random = Random::seeded();
    for _ in 0..2000 {
        let mut bytes = Vec::new();
        Object::write(&mut bytes, |object| fill(object, &mut random, 0));
        let value: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(canonical(&value).as_bytes(), bytes);
        assert!(scan(&bytes));
        // A changed byte gives another canonical value or none at all, never a second spelling.
        for _ in 0..20 {
            let mut changed = bytes.clone();
            let at = random.below(changed.len() as u64) as usize;
            changed[at] ^= 1 << random.below(8);
            if scan(&changed) {
                let value: Value = serde_json::from_slice(&changed).unwrap();
                assert_eq!(canonical(&value).as_bytes(), changed);
            }
        }
    }
}

#[test]
fn integers_are_exact_everywhere() {
    let edge = MAX_INTEGER as i64;
    for (number, text) in [
        (0, "0".to_string()),
        (-1, "-1".to_string()),
        (edge, edge.to_string()),
        (-edge, (-edge).to_string()),
        (edge + 1, format!("\"{}\"", edge + 1)),
        (-edge - 1, format!("\"{}\"", -edge - 1)),
        (i64::MAX, format!("\"{}\"", i64::MAX)),
        (i64::MIN, format!("\"{}\"", i64::MIN)),
    ] {
        let mut out = Vec::new();
        Object::write(&mut out, |object| object.int("n", number));
        assert_eq!(String::from_utf8(out).unwrap(), format!("{{\"n\":{text}}}"));
    }
}

#[test]
fn other_spellings_are_refused() {
    for wrong in [
        "{ }", "{\"b\":1,\"a\":2}", "{\"a\":1,\"a\":1}", "1.0", "1e3", "-0", "01", "9007199254740992", "null",
        "\"\\n\"", "\"<\"", "\"%0a\"", "\"%41\"", "\"%4\"", "\"ü\"", "\"a", "{\"a\":1", "[1,]", "[1 ,2]", "truex", "",
    ] {
        assert!(!scan(wrong.as_bytes()), "{wrong}");
    }
    assert!(!scan("[".repeat(100_000).as_bytes()), "deep nesting");
}
