//! `cargo xtask vm`: a command as root in a throw-away VM, emulated, with one of Debian's kernels.
//! stdout is the command's alone; the exit status is the command's unless the machine itself failed.

mod cpio;
mod initramfs;
mod kernels;
mod modules;
mod ports;
mod qemu;
mod watch;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::{command, paths, setup};

#[derive(Args)]
pub struct Options {
    /// 5.10, 6.1, 6.12, 7.2 or unstable
    #[arg(long)]
    pub kernel: String,
    /// The kernel's list of security modules, as in `lockdown,yama,apparmor`; its own default otherwise
    #[arg(long, value_name = "LIST")]
    pub lsm: Option<String>,
    /// One guest instruction is one nanosecond: figures repeat to the digit
    #[arg(long)]
    pub icount: bool,
    /// Processors
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=16))]
    pub smp: u32,
    /// A file or directory of this machine, programs with their shared libraries
    #[arg(long, value_name = "HOST:GUEST")]
    pub add: Vec<String>,
    /// More kernel parameters
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    pub append: Option<String>,
    /// For boot and command together
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub timeout: u64,
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    pub memory: u32,
    /// The emulated processor
    #[arg(long, default_value = CPU)]
    pub cpu: String,
    /// Show the kernel's messages too, on stderr
    #[arg(long, short)]
    pub verbose: bool,
    /// The command; found on PATH in the VM
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<String>,
}

/// All that the emulator can do but to copy strings fast: it does so byte by byte, which takes a third of a start, and each byte
/// counts as an instruction.
pub const CPU: &str = "max,-erms,-fsrm";

/// A boot that never reached our first line says nothing about the code under test.
const BOOTS: u32 = 3;

/// How a run ended. All but `Exited` are failures of the machine, not of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Exited(u8),
    Panic(String),
    Oops(String),
    SoftLockup(String),
    Hang,
    Died,
    /// Never printed anything of ours.
    NoBoot(String),
}

impl Outcome {
    /// Exit statuses of failures; a command can return the same, so stderr's last line names the outcome.
    fn status(&self) -> u8 {
        match self {
            Self::Exited(status) => *status,
            Self::Panic(_) => 240,
            Self::Oops(_) => 241,
            Self::SoftLockup(_) => 242,
            Self::Hang => 243,
            Self::Died => 244,
            Self::NoBoot(_) => 245,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Exited(_) => "exited",
            Self::Panic(_) => "panic",
            Self::Oops(_) => "oops",
            Self::SoftLockup(_) => "soft-lockup",
            Self::Hang => "hang",
            Self::Died => "died",
            Self::NoBoot(_) => "no-boot",
        }
    }
}

/// The status that says "this kernel cannot be had here", as automake's tests do.
const UNAVAILABLE: u8 = 77;

pub fn run(options: &Options) -> Result<u8> {
    setup::run()?;
    let root = paths::root()?;
    let image = match kernels::image(&options.kernel) {
        Ok(image) => image,
        Err(error) => match error.downcast_ref::<kernels::Unavailable>() {
            Some(unavailable) => {
                let line = format!("vm: SKIP {unavailable}");
                report(&format!("kernel={} outcome=unavailable status={UNAVAILABLE}", options.kernel))?;
                eprintln!("{}", line.replace('\n', " · "));
                return Ok(UNAVAILABLE);
            }
            None => return Err(error),
        },
    };
    if options.icount && options.smp > 1 {
        bail!("--icount counts the instructions of one processor: leave --smp out");
    }
    let dir = paths::target(&root).join("vm");
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    sweep(&dir);
    sweep(&std::env::temp_dir());
    let initrd = Temporary(dir.join(format!("initramfs-{}.cpio", std::process::id())));
    initramfs::build(&initrd.0, &root, &modules::of(&image), options)?;

    // Two VMs may run at once; the last to end leaves its words under the kernel's name.
    let console = dir.join(format!("console-{}.log", options.kernel));
    let own = Temporary(dir.join(format!("running-{}.log", std::process::id())));
    let mut boot = 1;
    let (outcome, times) = loop {
        let machine = qemu::Machine {
            image: &image,
            initrd: &initrd.0,
            options,
            deadline: Duration::from_secs(options.timeout),
            console: &own.0,
        };
        let (outcome, times) = machine.run()?;
        let again = matches!(outcome, Outcome::NoBoot(_)) && boot < BOOTS;
        if !again {
            break (outcome, times);
        }
        boot += 1;
        command::say(format_args!("kernel {} printed nothing of ours: boot {boot} of {BOOTS}", options.kernel));
    };
    let _ = std::fs::rename(&own.0, &console);
    match &outcome {
        Outcome::Exited(_) => {}
        Outcome::Panic(line) | Outcome::Oops(line) | Outcome::SoftLockup(line) | Outcome::NoBoot(line) => {
            eprintln!(
                "vm: FAILED: {}: {line}\nvm: the kernel's last words ({}):\n{}",
                outcome.word(),
                console.display(),
                last_words(&console)
            );
        }
        Outcome::Hang => {
            eprintln!(
                "vm: FAILED: hang: no end within {} s (--timeout)\nvm: the kernel's last words ({}):\n{}",
                options.timeout,
                console.display(),
                last_words(&console)
            );
        }
        Outcome::Died => eprintln!(
            "vm: FAILED: the VM ended without a status\nvm: the kernel's last words ({}):\n{}",
            console.display(),
            last_words(&console)
        ),
    }
    let line = format!(
        "kernel={} outcome={} status={} boot={:.1}s total={:.1}s",
        options.kernel,
        outcome.word(),
        outcome.status(),
        times.boot.as_secs_f32(),
        times.total.as_secs_f32()
    );
    report(&line)?;
    eprintln!("vm: {line}");
    Ok(outcome.status())
}

/// Test programs read how a run ended from the file that $RGT_VM_OUTCOME names.
fn report(line: &str) -> Result<()> {
    if let Some(file) = std::env::var_os("RGT_VM_OUTCOME").filter(|file| !file.is_empty()) {
        std::fs::write(&file, format!("{line}\n"))
            .with_context(|| format!("RGT_VM_OUTCOME={}", file.to_string_lossy()))?;
    }
    Ok(())
}

fn last_words(console: &std::path::Path) -> String {
    let bytes = std::fs::read(console).unwrap_or_default();
    command::tail(&String::from_utf8_lossy(&bytes), 60)
}

/// Removes what runs that were killed left behind: `NAME-PID…` of processes that are no more.
fn sweep(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let rest = ["rgt-vm-", "initramfs-", "running-"].iter().find_map(|prefix| name.strip_prefix(prefix));
        let Some(pid) = rest.and_then(|rest| rest.split(['-', '.']).next()?.parse::<u32>().ok()) else {
            continue;
        };
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            let _ = std::fs::remove_file(entry.path()).or_else(|_| std::fs::remove_dir_all(entry.path()));
        }
    }
}

/// A file that is removed when done with, also on an error.
struct Temporary(std::path::PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
