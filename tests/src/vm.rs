//! One boot of a kernel of the matrix, in either way of saying no.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Lsm,
    FmodRet,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Lsm => "lsm",
            Self::FmodRet => "fmod_ret",
        }
    }
}

/// Why a boot told nothing.
#[derive(Debug)]
pub enum Missing {
    /// This kernel cannot be had here.
    Skipped(String),
    Failed(String),
}

pub struct Boot {
    kernel: String,
    mode: Mode,
    arguments: Vec<OsString>,
    timeout: u64,
}

impl Boot {
    pub fn new(kernel: &str, mode: Mode) -> Self {
        let arguments = match (mode, kernel) {
            (Mode::FmodRet, _) => vec!["--lsm".into(), "lockdown,yama,apparmor".into()],
            (Mode::Lsm, "5.10") => vec!["--lsm".into(), "lockdown,yama,apparmor,bpf".into()],
            // The kernel's own list.
            (Mode::Lsm, _) => Vec::new(),
        };
        Self { kernel: kernel.to_owned(), mode, arguments, timeout: 240 }
    }

    /// A file or directory of this machine.
    pub fn add(mut self, host: &Path, guest: &str) -> Self {
        self.arguments.push("--add".into());
        self.arguments.push(format!("{}:{guest}", host.display()).into());
        self
    }

    /// More options of `xtask vm`.
    pub fn options(mut self, options: &[&str]) -> Self {
        self.arguments.extend(options.iter().map(OsString::from));
        self
    }

    pub fn seconds(mut self, timeout: u64) -> Self {
        self.timeout = timeout;
        self
    }

    /// What the command said on stdout. It and stderr are kept below `target`, by `name`.
    pub fn run(self, name: &str, command: &[&str]) -> Result<String, Missing> {
        let Some(xtask) = std::env::var_os("XTASK").filter(|path| !path.is_empty()) else {
            let reason = "XTASK does not name the xtask program: `cargo xtask test` sets it";
            return Err(Missing::Skipped(reason.into()));
        };
        let (kernel, mode) = (&self.kernel, self.mode.name());
        let done = Command::new(xtask)
            .args(["vm", "--kernel", kernel, "--timeout"])
            .arg(self.timeout.to_string())
            .args(&self.arguments)
            .arg("--")
            .args(command)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| Missing::Failed(format!("$XTASK: {error}")))?;
        let err = String::from_utf8_lossy(&done.stderr);
        let file = scratch().join(format!("{name}-{kernel}-{mode}"));
        let _ = std::fs::write(file.with_added_extension("out"), &done.stdout);
        let _ = std::fs::write(file.with_added_extension("err"), &done.stderr);
        if done.status.code() == Some(77) {
            let reason = err.lines().rev().find_map(|line| line.strip_prefix("vm: SKIP "));
            return Err(Missing::Skipped(reason.unwrap_or("this kernel cannot be had").to_owned()));
        }
        if !done.status.success() {
            return Err(Missing::Failed(format!("{kernel} {mode}: {}\n{err}", done.status)));
        }
        if let Some(last) = err.lines().next_back() {
            println!("{mode} {last}");
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}

/// Where tests of VMs leave what they made.
pub fn scratch() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp");
    let _ = std::fs::create_dir_all(&dir);
    dir
}

/// `cargo xtask test --full`.
pub fn full() -> bool {
    std::env::var_os("RGT_FULL").is_some_and(|full| full == "1")
}
