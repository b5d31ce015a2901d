//! What an attempt means: the verbs that policies speak of and the class of each.

/// Number of a class of the mission's taxonomy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    ReadOnly,
    LowRiskWrite,
    SensitiveWrite,
    Destructive,
    PrivilegedAdministration,
}

impl Class {
    pub const ALL: [Class; 5] = [
        Class::ReadOnly,
        Class::LowRiskWrite,
        Class::SensitiveWrite,
        Class::Destructive,
        Class::PrivilegedAdministration,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Class::ReadOnly => "read_only",
            Class::LowRiskWrite => "low_risk_write",
            Class::SensitiveWrite => "sensitive_write",
            Class::Destructive => "destructive",
            Class::PrivilegedAdministration => "privileged_administration",
        }
    }
}

macro_rules! actions {
    ($($variant:ident = $number:literal, $verb:literal, $class:ident;)*) => {
        /// One verb. Its number is its bit in a rule's action mask; never reuse a number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Action { $($variant = $number,)* }

        impl Action {
            pub const ALL: &'static [Action] = &[$(Action::$variant,)*];

            pub const fn verb(self) -> &'static str {
                match self { $(Action::$variant => $verb,)* }
            }

            pub const fn class(self) -> Class {
                match self { $(Action::$variant => Class::$class,)* }
            }

            pub const fn from_number(number: u8) -> Option<Action> {
                match number { $($number => Some(Action::$variant),)* _ => None }
            }
        }
    };
}

actions! {
    FileRead = 0, "file.read", ReadOnly;
    FileWrite = 1, "file.write", LowRiskWrite;
    FileCreate = 2, "file.create", LowRiskWrite;
    FileDelete = 3, "file.delete", Destructive;
    FileRename = 4, "file.rename", LowRiskWrite;
    FileLink = 5, "file.link", LowRiskWrite;
    FileAttr = 6, "file.attr", SensitiveWrite;
    FileMapExec = 7, "file.map_exec", LowRiskWrite;
    DirList = 8, "dir.list", ReadOnly;
    NetConnect = 9, "net.connect", LowRiskWrite;
    NetSend = 10, "net.send", LowRiskWrite;
    NetBind = 11, "net.bind", LowRiskWrite;
    NetListen = 12, "net.listen", LowRiskWrite;
    ProcExec = 13, "proc.exec", LowRiskWrite;
    ProcSignal = 14, "proc.signal", SensitiveWrite;
    ProcPtrace = 15, "proc.ptrace", PrivilegedAdministration;
    SysMount = 16, "sys.mount", PrivilegedAdministration;
    SysNamespace = 17, "sys.namespace", PrivilegedAdministration;
    SysBpf = 18, "sys.bpf", PrivilegedAdministration;
    SysModule = 19, "sys.module", PrivilegedAdministration;
    SysCgroup = 20, "sys.cgroup", PrivilegedAdministration;
    SysIoUring = 21, "sys.io_uring", PrivilegedAdministration;
    SysSetuid = 22, "sys.setuid", PrivilegedAdministration;
    ProcControl = 23, "proc.control", PrivilegedAdministration;
    SysPerf = 24, "sys.perf", PrivilegedAdministration;
    SysMachine = 25, "sys.machine", PrivilegedAdministration;
    SysCapability = 26, "sys.capability", PrivilegedAdministration;
    SysKeys = 27, "sys.keys", PrivilegedAdministration;
}

impl Action {
    pub const fn bit(self) -> u32 {
        1 << (self as u8)
    }

    /// Whether only its own verb speaks of it, and no family, class or `*`: the kernel asks for capabilities at every turn,
    /// for what has verbs of its own.
    pub const fn is_named_alone(self) -> bool {
        matches!(self, Action::SysCapability)
    }

    pub fn from_verb(verb: &str) -> Option<Action> {
        Action::ALL.iter().copied().find(|action| action.verb() == verb)
    }
}
