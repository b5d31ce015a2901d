//! One attempt as the daemon knows it, between the kernel's event and the record.

use sensor_common::action::Action;

/// Nanoseconds since the Unix epoch.
pub type WallNs = u64;

/// Who acts: fixed when the agent's run starts.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct Run {
    /// Stable: declared name, else unit, else container, else `exec/UID/NAME`.
    pub agent_id: String,
    /// One start.
    pub run_id: String,
    /// The cgroup, as a path below the cgroup v2 root.
    pub instance: String,
    /// 32 hex digits; announced, or one per run.
    pub trace_id: String,
    /// On whose authority: `uid:1000`, `user:alice`, `unit:x.service`.
    pub principal: String,
    /// `laptop`, `ci`, `production` …; from the operator's configuration.
    pub environment: Option<String>,
    /// Container id, when the cgroup's path names one.
    pub container: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArgumentRead {
    Entry,
    Return,
    None,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The call returned this.
    Returned(i64),
    /// The task ended inside the call.
    Killed,
    /// The return was missed.
    Unknown,
    /// Not yet known after `record.outcome_wait`; an outcome record follows.
    Pending,
}

/// A call that returns one of these goes on, and may well succeed: connecting without waiting.
const GOES_ON: [i32; 2] = [libc::EINPROGRESS, libc::EALREADY];

impl End {
    /// The kernel itself said no.
    pub fn is_refused(self) -> bool {
        matches!(self, End::Returned(result) if result < 0 && !GOES_ON.iter().any(|errno| result == -i64::from(*errno)))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Argv {
    /// Already masked: secrets never reach this far.
    pub args: Vec<Vec<u8>>,
    pub truncated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub euid: u32,
    pub egid: u32,
    /// Effective capabilities, one bit each.
    pub caps: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When the call was entered.
    pub at: WallNs,
    /// The syscall's name, `unlinkat`.
    pub syscall: &'static str,
    /// Entered by the 32-bit gate.
    pub compat: bool,
    /// What the attempt is called by; the most telling of `actions`.
    pub action: Action,
    /// All that it means; each is judged.
    pub actions: Vec<Action>,
    /// First path or address, bare, as written.
    pub argument: Option<Vec<u8>>,
    pub argument2: Option<Vec<u8>>,
    pub argument_read: ArgumentRead,
    /// Where the first argument starts from, as the kernel has it: the directory of a relative one, the root of
    /// an absolute one in a chroot.
    pub directory: Option<Vec<u8>>,
    /// Likewise the second.
    pub directory2: Option<Vec<u8>>,
    /// As a hook resolved it.
    pub object: Option<Vec<u8>>,
    pub object2: Option<Vec<u8>>,
    /// What the call was given beside these, by name.
    pub parameters: Vec<(&'static str, i64)>,
    /// Capabilities that rules spoke of, as a hook saw them used; with commas between them.
    pub capability: Option<String>,
    pub end: End,
    pub pid: u32,
    pub tid: u32,
    /// The executable of the acting process, then its ancestors' up to the agent's root.
    pub exe_chain: Vec<Vec<u8>>,
    pub argv: Option<Argv>,
    pub credentials: Credentials,
    /// Arrived after later ones had been written.
    pub late: bool,
    /// Required things that could not be had, by field name.
    pub incomplete: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Allow,
    Deny,
    Challenge,
}

impl Verdict {
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Allow => "ALLOW",
            Verdict::Deny => "DENY",
            Verdict::Challenge => "CHALLENGE",
        }
    }
}

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enforcement {
    Blocked,
    Held,
    Passed,
    WouldBlock,
    NotReached,
}

impl Enforcement {
    pub const fn name(self) -> &'static str {
        match self {
            Enforcement::Blocked => "blocked",
            Enforcement::Held => "held",
            Enforcement::Passed => "passed",
            Enforcement::WouldBlock => "would_block",
            Enforcement::NotReached => "not_reached",
        }
    }
}

/// Which way to say no is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Lsm,
    FmodRet,
    Observe,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Lsm => "lsm",
            Mode::FmodRet => "fmod_ret",
            Mode::Observe => "observe",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    Kernel,
    Argument,
}

impl Judged {
    pub const fn name(self) -> &'static str {
        match self {
            Judged::Kernel => "kernel",
            Judged::Argument => "argument",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// The verdict on an attempt, with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    pub verdict: Verdict,
    pub enforcement: Enforcement,
    pub mode: Mode,
    pub degraded: bool,
    /// `RULE_DEFAULT` for the default.
    pub rule_id: String,
    pub reason: String,
    pub judged: Judged,
    pub severity: Severity,
    /// Host names that the policy knows the attempt's address by, with commas between them.
    pub host: Option<String>,
    /// Hex SHA-256 of the policy's text.
    pub policy_hash: String,
    /// Ids of the watching rules that matched.
    pub watched: Vec<String>,
    /// Labels that the rules set for the rest of the run.
    pub labels: Vec<String>,
    /// What the rules add to the risk.
    pub risk_added: i32,
    /// What the deciding rule asks of operators.
    pub approval: Option<Approval>,
}

/// What a rule that decided asks of an operator's approval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// It decided for there was one; else for there was none.
    pub given: bool,
    /// What is asked for, any of which is enough.
    pub names: Vec<String>,
    /// The record of the one that was given, while the daemon knows it.
    pub id: Option<String>,
}

impl Approval {
    pub const fn status(&self) -> &'static str {
        if self.given { "approved" } else { "required" }
    }
}

impl Judgement {
    /// Whether the action went ahead, or may yet.
    pub fn goes_ahead(&self) -> bool {
        matches!(self.enforcement, Enforcement::Passed | Enforcement::WouldBlock)
    }
}
