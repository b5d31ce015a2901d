//! The message key: who acted, so that one agent's records stay in one partition and in order.

use serde::Deserialize;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Data<'a>,
}

// `&str` is enough: canonical data holds no JSON escape.
#[derive(Deserialize)]
struct Data<'a> {
    agent_id: Option<&'a str>,
    #[serde(borrow)]
    chain: Option<Chain<'a>>,
}

#[derive(Deserialize)]
struct Chain<'a> {
    node: Option<&'a str>,
}

/// The agent's id; the node's name for records that are no agent's (heartbeats, gaps); empty for a line that cannot
/// be read, which is delivered all the same: what is in the ledger is evidence, readable or not.
pub fn of_line(line: &[u8]) -> &str {
    serde_json::from_slice::<Envelope>(line)
        .ok()
        .and_then(|e| {
            let node = e.data.chain.and_then(|c| c.node);
            e.data.agent_id.or(node)
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::of_line;

    #[test]
    fn keys() {
        for (line, key) in [
            (r#"{"id":"1","data":{"action_attempted":{"agent_id":"no"},"agent_id":"a1","chain":{"node":"n"}}}"#, "a1"),
            (r#"{"data":{"chain":{"node":"n","seq":3}}}"#, "n"),
            (r#"{"data":{}}"#, ""),
            ("torn{", ""),
        ] {
            assert_eq!(of_line(line.as_bytes()), key, "{line}");
        }
    }
}
