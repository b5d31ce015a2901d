//! Finds the cgroups of the agents that the configuration names, those that exist and those that come.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::{cgroup, glob};
use crate::config::{AgentRule, Whose};

/// Cgroups looked at in one round: a runaway tree must not stall the daemon.
const MAX_CGROUPS: usize = 65_536;

/// A cgroup that has become an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index of the rule in the configuration.
    pub rule: usize,
    pub path: PathBuf,
    /// Below the v2 root.
    pub below: String,
}

#[derive(Debug, Default)]
pub struct Watch {
    rules: Vec<AgentRule>,
    known: HashSet<PathBuf>,
}

impl Watch {
    pub fn new(rules: &[AgentRule]) -> Watch {
        Watch { rules: rules.to_vec(), known: HashSet::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Cgroups that are new since the last look, and those that are gone. What lies in a known agent's
    /// cgroup is that agent's already.
    pub fn look(&mut self, mount: &Path) -> (Vec<Found>, Vec<PathBuf>) {
        if self.rules.is_empty() {
            return (Vec::new(), Vec::new());
        }
        let (mut found, mut present) = (Vec::new(), HashSet::new());
        let mut ahead = cgroup::children(mount);
        let mut looked = 0;
        while let Some(path) = ahead.pop() {
            looked += 1;
            if looked > MAX_CGROUPS {
                tracing::warn!("more than {MAX_CGROUPS} cgroups: the rest is not looked at for configured agents");
                break;
            }
            let below = cgroup::below(mount, &path);
            if below == cgroup::SLICE {
                continue;
            }
            match self.rules.iter().position(|rule| is_meant(&rule.whose, &below)) {
                Some(rule) => {
                    present.insert(path.clone());
                    if !self.known.contains(&path) {
                        found.push(Found { rule, path, below });
                    }
                }
                None => ahead.extend(cgroup::children(&path)),
            }
        }
        let gone: Vec<PathBuf> = self.known.difference(&present).cloned().collect();
        self.known = present;
        (found, gone)
    }

    /// The rule that a cgroup, as a path below the v2 root, belongs to.
    pub fn rule_of(&self, below: &str) -> Option<&AgentRule> {
        self.rules.iter().find(|rule| is_meant(&rule.whose, below))
    }

    pub fn rule(&self, index: usize) -> Option<&AgentRule> {
        self.rules.get(index)
    }

    /// A cgroup that could not be governed is tried again at the next look.
    pub fn forget(&mut self, path: &Path) {
        self.known.remove(path);
    }
}

fn is_meant(whose: &Whose, below: &str) -> bool {
    match whose {
        Whose::Cgroup(wanted) => glob::matches(wanted, below),
        // Any slice: a unit says itself where it stands; its name is unique on the host.
        Whose::Unit(unit) => below.rsplit('/').next() == Some(unit) && below.starts_with("system.slice/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_come_and_go() {
        let root = std::env::temp_dir().join(format!("rgt-watch-{}", std::process::id()));
        std::fs::create_dir_all(root.join("system.slice/a.service/inner")).unwrap();
        let rules = [
            AgentRule { name: None, whose: Whose::Unit("a.service".to_owned()), policy: None, role: None, task: None },
            AgentRule { name: None, whose: Whose::Cgroup("x/*".to_owned()), policy: None, role: None, task: None },
        ];
        let mut watch = Watch::new(&rules);
        let (found, gone) = watch.look(&root);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].below, "system.slice/a.service");
        assert!(gone.is_empty());
        std::fs::create_dir_all(root.join("x/one")).unwrap();
        std::fs::remove_dir_all(root.join("system.slice")).unwrap();
        let (found, gone) = watch.look(&root);
        assert_eq!(found[0].rule, 1);
        assert_eq!(gone.len(), 1);
        assert_eq!(watch.look(&root), (Vec::new(), Vec::new()));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
