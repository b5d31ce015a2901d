//! `rgt exec` on the machine itself, and what its ledger says afterwards.

pub mod daemon;
pub mod records;
pub mod said;
pub mod strace;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

pub use records::{Attempt, Ledger};

const KEY: &str = "1f0e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";

/// The binary under test.
pub fn rgt() -> PathBuf {
    std::env::var_os("RGT_BIN").map_or_else(|| root().join("target/release/rgt"), PathBuf::from)
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The long forms of the tests.
pub fn full() -> bool {
    std::env::var_os("RGT_FULL").is_some_and(|value| value == "1")
}

/// Where a program stands; Debian's own before any shim.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = ["/usr/bin", "/usr/sbin", "/bin", "/sbin"].map(PathBuf::from);
    own.into_iter().chain(std::env::split_paths(&path)).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// A test's own directory, gone after it unless the test failed.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("rgt-native-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::DirBuilder::new().mode(0o755).recursive(true).create(&dir).unwrap();
        fs::write(dir.join("seal.key"), format!("{KEY}\n")).unwrap();
        Dir(dir)
    }

    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    pub fn key(&self) -> PathBuf {
        self.join("seal.key")
    }

    /// Compiles a program of the test's.
    pub fn compile(&self, name: &str, source: &str, options: &[&str]) -> PathBuf {
        let (file, out) = (self.join(format!("{name}.c")), self.join(name));
        fs::write(&file, source).unwrap();
        let done = Command::new("cc").args(["-O1", "-w", "-o"]).arg(&out).arg(&file).args(options).output().unwrap();
        assert!(done.status.success(), "cc: {}", String::from_utf8_lossy(&done.stderr));
        out
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("what there is of it: {}", self.0.display());
        } else {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// Runs `test` where it can run, in a directory of its own.
pub fn native(name: &str, needs: &[&str], test: impl FnOnce(&Dir)) {
    // SAFETY: geteuid(2) cannot fail and touches no memory.
    let missing = if unsafe { libc::geteuid() } != 0 {
        Some("not root".to_owned())
    } else if !rgt().is_file() {
        Some(format!("no binary at {}; RGT_BIN says which", rgt().display()))
    } else {
        needs.iter().chain(&["python3"]).find(|need| program(need).is_none()).map(|need| format!("no {need} here"))
    };
    match missing {
        Some(reason) => println!("SKIP {name}: {reason}"),
        None => {
            let begun = Instant::now();
            test(&Dir::new(name));
            println!("{name}: {:.1} s", begun.elapsed().as_secs_f64());
        }
    }
}

/// One `rgt exec`.
pub struct Exec {
    command: Command,
    ledger: PathBuf,
    key: PathBuf,
    limit: Duration,
}

/// One that has started. What is dropped before its end is killed.
pub struct Running {
    child: Child,
    ledger: PathBuf,
    key: PathBuf,
    deadline: Instant,
}

/// How it ended.
pub struct Done {
    /// As a shell would say it.
    pub code: i32,
    pub out: String,
    pub err: String,
    pub ledger: PathBuf,
    pub key: PathBuf,
}

impl Exec {
    /// `name` is the ledger's below `dir`.
    pub fn new(dir: &Dir, name: &str) -> Exec {
        let (ledger, key) = (dir.join(name), dir.key());
        let mut command = Command::new(rgt());
        command.arg("exec").arg("--ledger").arg(&ledger).arg("--set");
        command.arg(format!("seal.key_file={}", key.display()));
        command.current_dir(&dir.0).stdin(Stdio::null()).process_group(0);
        Exec { command, ledger, key, limit: Duration::from_secs(60) }
    }

    /// An option of `rgt exec`.
    pub fn with(mut self, arg: impl AsRef<OsStr>) -> Exec {
        self.command.arg(arg);
        self
    }

    pub fn limit(mut self, limit: Duration) -> Exec {
        self.limit = limit;
        self
    }

    pub fn start<A: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = A>) -> Running {
        let out = fs::File::create(self.ledger.with_extension("out")).unwrap();
        let err = fs::File::create(self.ledger.with_extension("err")).unwrap();
        let args: Vec<OsString> = command.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let child = self.command.arg("--").args(args).stdout(out).stderr(err).spawn().unwrap();
        Running { child, ledger: self.ledger, key: self.key, deadline: Instant::now() + self.limit }
    }

    pub fn run<A: AsRef<OsStr>>(self, command: impl IntoIterator<Item = A>) -> Done {
        self.start(command).done()
    }

    pub fn sh(self, script: &str) -> Done {
        self.run(["sh", "-c", script])
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn done(mut self) -> Done {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < self.deadline, "`rgt exec` ({}) did not end in time", self.child.id());
            thread::sleep(Duration::from_millis(5));
        };
        let read = |extension| {
            let mut bytes = Vec::new();
            fs::File::open(self.ledger.with_extension(extension)).unwrap().read_to_end(&mut bytes).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Done {
            code: status.code().unwrap_or_else(|| 128 + status.signal().unwrap()),
            out: read("out"),
            err: read("err"),
            ledger: self.ledger.clone(),
            key: self.key.clone(),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            // SAFETY: kill(2) takes integers; the group was made for this child, which has not been awaited.
            unsafe { libc::kill(-libc::pid_t::try_from(self.child.id()).unwrap(), libc::SIGKILL) };
            let _ = self.child.wait();
        }
    }
}

impl Done {
    /// The ledger, which two implementations have verified.
    #[track_caller]
    pub fn ledger(&self) -> Ledger {
        let (code, told) = self.verify();
        assert_eq!(code, 0, "rgt verify: {told}");
        let (agrees, told) = self.verify_by_python();
        assert!(agrees, "rgt_verify.py: {told}");
        Ledger::read(&self.ledger)
    }

    /// The same, of a command that ended with 0.
    #[track_caller]
    pub fn succeeded(&self) -> Ledger {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.ledger()
    }

    pub fn verify(&self) -> (i32, String) {
        verify(&self.ledger, &self.key)
    }

    pub fn verify_by_python(&self) -> (bool, String) {
        verify_by_python(&self.ledger, &self.key)
    }
}

/// Bytes, signatures, chain, trajectories and scores, without any of rgt's code.
pub fn verify_by_python(ledger: &Path, key: &Path) -> (bool, String) {
    let script = root().join("tests/python/rgt_verify.py");
    let mut command = Command::new(program("python3").unwrap());
    command.arg(script).arg("--key-file").arg(key).arg(ledger);
    let (code, told) = output(&mut command);
    (code == 0, told)
}

/// `rgt verify`: exit code and what it said.
pub fn verify(path: &Path, key: &Path) -> (i32, String) {
    output(Command::new(rgt()).arg("verify").arg("--key-file").arg(key).arg(path))
}

/// Without a terminal: exit code and what it said.
pub fn output(command: &mut Command) -> (i32, String) {
    let done = command.stdin(Stdio::null()).output().unwrap();
    let told = [done.stdout, done.stderr].concat();
    (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&told).into_owned())
}

/// Waits for what must come soon.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(if full() { 200 } else { 20 });
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
