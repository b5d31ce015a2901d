//! What an operator approves for an agent that runs, and what the agent meets then.

use serde_json::{Value, json};

use rgt_tests::machine::{Done, Mode, Told};

/// When it tries, and whether it is approved then.
const TRIED: [(&str, bool); 8] = [
    ("before", false),
    ("for a time", true),
    ("after its time", false),
    ("for the run", true),
    ("under the next policy", true),
    ("without a daemon", true),
    ("under the next daemon", true),
    ("after the revocation", false),
];

pub fn asks_for_approval(told: &Told, _: &str, mode: Mode) -> Done {
    for (when, approved) in TRIED {
        assert_eq!(told.fact(&format!("approve {when}")), if approved { "free" } else { "refused" }, "{when}");
    }
    assert_eq!((told.fact("approve timed"), told.fact("approve revoke")), ("0", "0"));
    assert_eq!(told.fact("approve own"), "1 1", "the agent, which runs as root, approves nothing for itself");
    assert_eq!(told.fact("approve user"), "1", "nor does an ordinary user");
    assert_eq!(told.fact("approve misspelt"), "1", "what no rule asks for is told");
    assert_eq!(told.fact("verify approve"), "0");
    let (approvals, attempts): (Vec<&Value>, Vec<&Value>) =
        told.records("approve").partition(|data| data["kind"] == "approval");
    let said: Vec<[&Value; 3]> =
        approvals.iter().map(|data| [&data["approval"], &data["state"], &data["by"]]).collect();
    let said = serde_json::to_value(said).map_err(|error| error.to_string())?;
    let wanted = json!([
        ["deploy", "given", "operator"],
        ["deploy", "expired", "time"],
        ["deploy", "given", "operator"],
        ["deploy", "revoked", "operator"],
    ]);
    assert_eq!(said, wanted);
    assert_eq!(approvals[0]["reason"], "release 12", "{}", approvals[0]);
    assert_eq!((&approvals[0]["uid"], &approvals[0]["agent_id"]), (&json!(0), &json!("approver")));
    assert!(approvals[0]["until"].is_string() && approvals[0]["until"] == approvals[1]["until"], "{approvals:?}");
    assert!(approvals[2].get("until").is_none(), "{}", approvals[2]);
    // Those of the time without a daemon may be declared lost; each refusal has the rule that waited.
    let refused: Vec<&Value> = attempts.iter().filter(|data| data["enforcement"] == "blocked").copied().collect();
    let rules: Vec<&Value> = refused.iter().map(|data| &data["policy_rule_id"]).collect();
    assert_eq!(rules, ["WAITS", "WAITS", "STILL_WAITS"], "{refused:?}");
    assert!(refused.iter().all(|data| data["judged"] == "kernel" && data["mode"] == mode.name()), "{refused:?}");
    assert!(refused.iter().all(|data| data["approval_status"] == "required"), "{refused:?}");
    let passed: Vec<&Value> = attempts.iter().filter(|data| data["enforcement"] == "passed").copied().collect();
    assert!(passed.len() >= 3 && passed.len() + refused.len() == attempts.len(), "{attempts:?}");
    for data in passed {
        assert_eq!(
            (&data["policy_rule_id"], &data["approval_status"]),
            (&json!("LEAVE"), &json!("approved")),
            "{data}"
        );
        assert!(data["user_approval_id"].is_string(), "{data}");
    }
    Ok(())
}
