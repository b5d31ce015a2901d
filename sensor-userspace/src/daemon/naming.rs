//! What an agent is called, and who may call it so.

use crate::agent::{check_name, matches, stays_in_uri};
use crate::config::{AgentRule, Whose};

/// Begins the names of those that nobody vouched for: `exec/UID/NAME`.
const OWN: &str = "exec/";

/// The `agent_id` of a command. Root's word holds as it stands. Another user's names bear his number, so that two users'
/// are told apart, and none of his can be root's or the configuration's.
pub(super) fn agent_id(
    name: Option<&str>,
    command: &str,
    by_root: bool,
    uid: u32,
    rules: &[AgentRule],
) -> Result<String, String> {
    let Some(name) = name else {
        stays_in_uri(command).map_err(|why| format!("the command {command}: {why}"))?;
        return Ok(format!("{OWN}{uid}/{command}"));
    };
    check_name(name).map_err(|why| format!("--name {name}: {why}"))?;
    if by_root {
        return Ok(name.to_owned());
    }
    if name.starts_with(OWN) {
        return Err(format!(
            "--name {name}: names beginning with {OWN} are given by rgt; leave it out, the name becomes {OWN}{uid}/NAME by itself"
        ));
    }
    if rules.iter().any(|rule| is_called(rule, name)) {
        return Err(format!(
            "--name {name}: the configuration calls an agent so, and only root may run another under its name; \
             choose another name, or use sudo"
        ));
    }
    Ok(format!("{OWN}{uid}/{name}"))
}

fn is_called(rule: &AgentRule, name: &str) -> bool {
    match (&rule.name, &rule.whose) {
        (Some(own), _) | (None, Whose::Unit(own)) => own == name,
        (None, Whose::Cgroup(glob)) => matches(glob, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Vec<AgentRule> {
        let rule = |name: Option<&str>, whose| AgentRule {
            name: name.map(str::to_owned),
            whose,
            policy: None,
            role: None,
            task: None,
        };
        vec![
            rule(Some("builder"), Whose::Unit("builder-agent.service".to_owned())),
            rule(None, Whose::Unit("coder.service".to_owned())),
            rule(None, Whose::Cgroup("pods/*/agent".to_owned())),
        ]
    }

    fn called(name: &str, by_root: bool, uid: u32) -> Result<String, String> {
        agent_id(Some(name), "sh", by_root, uid, &rules())
    }

    #[test]
    fn an_ordinary_user_takes_nobodys_name() {
        for taken in ["builder", "coder.service", "pods/7/agent", "exec/0/sh", "exec/"] {
            let error = called(taken, false, 1000).unwrap_err();
            assert!(error.contains("--name"), "{error}");
            assert_eq!(called(taken, true, 0).as_deref(), Ok(taken));
        }
        assert!(called("", true, 0).is_err());
        assert!(called(&"x".repeat(201), true, 0).is_err());
        for climbing in ["../../x", "..", "a/./b"] {
            for (by_root, uid) in [(true, 0), (false, 1000)] {
                let error = called(climbing, by_root, uid).unwrap_err();
                assert!(error.starts_with(&format!("--name {climbing}: ")), "{error}");
            }
            // As only another program than `rgt exec` would have it.
            assert!(agent_id(None, climbing, false, 1000, &[]).is_err());
        }
    }

    #[test]
    fn users_are_told_apart() {
        let one = called("mine", false, 1000).unwrap();
        assert_eq!(one, "exec/1000/mine");
        assert_ne!(called("mine", false, 1001).unwrap(), one);
        assert_ne!(called("mine", true, 0).unwrap(), one);
        // Nor does a name that looks like more of one help.
        assert_eq!(called("1000/mine", false, 1001).unwrap(), "exec/1001/1000/mine");
        assert_eq!(agent_id(None, "sh", false, 1000, &[]).unwrap(), "exec/1000/sh");
    }
}
