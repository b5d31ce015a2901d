//! Policies replaced under agents that run, by an operator, by a reload, and by the resolver.

use serde_json::Value;

use rgt_tests::machine::{Done, Mode, Told};

use super::number;

/// What the two policies say of each place that `swap.c` attempts: the rule of each, none where it allows.
const PLACES: [(&str, Option<&str>, Option<&str>); 6] = [
    ("/data/both/f", Some("A_BOTH"), Some("B_BOTH")),
    ("/data/mixed", Some("A_MIXED"), Some("B_MIXED")),
    ("/data/after", Some("A_AFTER"), Some("B_AFTER")),
    ("/data/a/f", Some("A_OWN"), None),
    ("/data/b/f", None, Some("B_OWN")),
    ("/data/mark", None, None),
];

/// Every verdict is one of the policy whose hash it bears, and what both forbid is forbidden throughout.
pub fn swaps_under_load(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("swaps"), super::swaps(), "of those asked for");
    assert_eq!(told.fact("swap leaks"), "0", "of what both policies forbid");
    let rounds = number(told, "swap rounds");
    assert!(rounds > 50, "{rounds} rounds");
    let (by_a, by_b) = (number(told, "swap by a"), number(told, "swap by b"));
    assert!(by_a > 0 && by_b > 0, "{by_a} refused by the one alone, {by_b} by the other, in {rounds} rounds");
    let verdicts: Vec<&str> = told
        .facts
        .iter()
        .filter(|(name, _)| name.starts_with("verdict "))
        .map(|(_, verdict)| verdict.as_str())
        .collect();
    assert!(verdicts.len() >= 10, "both policies on most places: {verdicts:?}");
    for verdict in verdicts {
        let [place, enforcement, policy, rule] = verdict.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{verdict}")
        };
        let (_, a, b) = PLACES.iter().find(|(known, ..)| *known == place).unwrap_or_else(|| panic!("{verdict}"));
        let wanted = match policy {
            "a" => a,
            "b" => b,
            _ => panic!("{verdict}: neither policy's hash"),
        };
        assert_eq!(rule, wanted.unwrap_or("RULE_DEFAULT"), "{verdict}");
        assert_eq!(enforcement, if wanted.is_some() { "blocked" } else { "passed" }, "{verdict}");
    }
    // Each swap is told, by whom, and from what to what.
    assert_eq!(told.fact("changes told"), super::swaps());
    let changes: Vec<&Value> = told.records("swap").collect();
    let [first, second] = changes[..] else { panic!("{changes:?}") };
    assert_eq!((&first["by"], &first["uid"]), (&Value::from("operator"), &Value::from(0)), "{first}");
    assert_eq!((&first["replaced"], &first["policy"]), (&Value::from("a"), &Value::from("b")), "{first}");
    assert_eq!(first["policy_hash"], second["replaced_hash"], "{second}");
    assert_eq!(first["replaced_hash"], second["policy_hash"], "{second}");
    assert_eq!(told.fact("swap exec"), "0");
    assert_eq!(told.fact("verify swap"), "0");
    Ok(())
}

pub fn a_bad_policy_changes_nothing(told: &Told, _: &str, _: Mode) -> Done {
    for what in ["bad", "too many", "nobody", "user"] {
        assert_eq!(told.fact(&format!("{what} applied")), "1", "{what}");
    }
    assert_eq!(told.fact("too many said"), "1");
    assert_eq!(told.fact("bad changed"), "no");
    Ok(())
}

pub fn reads_policies_again(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("before reload"), "free");
    assert_eq!(told.fact("after bad reload"), "free");
    assert_eq!(told.fact("after reload"), "refused");
    assert_eq!(told.fact("reloads told"), "1");
    Ok(())
}

pub fn follows_host_names(told: &Told, _: &str, mode: Mode) -> Done {
    for (what, came) in [
        ("old before", "reached"),
        ("new before", "refused"),
        ("other port", "refused"),
        ("old after", "refused"),
        ("new after", "reached"),
        ("new at last", "reached"),
    ] {
        assert_eq!(told.fact(&format!("hosts {what}")), came, "{what}");
    }
    assert_eq!(told.fact("hosts told"), "1");
    let change = told.records("hosts").find(|data| data["kind"] == "policy").expect("a record of the change");
    assert_eq!(change["hosts"], serde_json::json!(["127.0.0.3 api.test"]), "{change}");
    assert_eq!(change["policy_hash"], change["replaced_hash"], "{change}");
    let connects: Vec<&Value> = told.records("hosts").filter(|data| data["policy_rule_id"].is_string()).collect();
    assert_eq!(connects.len(), 6, "{connects:?}");
    for data in connects {
        let attempt = &data["action_attempted"];
        let denied = data["policy_verdict"] == "DENY";
        assert_eq!(data["judged"], "kernel", "{data}");
        assert_eq!(data["mode"], mode.name(), "{data}");
        assert_eq!(data["policy_rule_id"], if denied { "ONLY_API" } else { "RULE_DEFAULT" }, "{data}");
        // The name is known by its address, whatever the port.
        let named = !denied || attempt["argument"] == "127.0.0.2:7002";
        assert_eq!(attempt["host"], if named { Value::from("api.test") } else { Value::Null }, "{data}");
    }
    Ok(())
}
