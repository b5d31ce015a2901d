//! A Kafka broker of one's own: KRaft, one node, loopback only, killed at the end.

use std::fs::{self, File};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::kafka_fetch;

/// Seen: 3 s idle, 37 s on a machine that compiles beside it.
const START: Duration = Duration::from_secs(120);
const LOG4J: &str = include_str!("../kafka/log4j2.properties");
/// Partitions of a topic that a producer makes by writing to it.
pub const PARTITIONS: u32 = 3;

/// What the tests need from outside; the error is the reason for a skip.
pub struct Tools {
    jars: PathBuf,
    pub python: PathBuf,
}

pub fn tools() -> Result<Tools> {
    Command::new("java")
        .arg("-version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .context("no java: `apt-get install default-jre-headless`")?;
    let cache = cache()?;
    Ok(Tools { jars: kafka_fetch::ensure(&cache)?, python: kafka_fetch::ensure_consumer(&cache)? })
}

/// As xtask finds it: `$RGT_CACHE`, else `rgt` in the user's cache directory.
fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("RGT_CACHE")
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("rgt")))
        .or_else(|| Some(set("HOME")?.join(".cache/rgt")))
        .context("neither RGT_CACHE nor HOME is set")
}

/// A port that nobody listens on now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

pub struct Broker {
    home: PathBuf,
    jars: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    /// Formats an empty storage and starts a broker on it; returns when it takes requests.
    pub fn start(tools: &Tools, port: u16) -> Result<Self> {
        let home = std::env::temp_dir().join(format!("rgt-kafka-{}-{port}", std::process::id()));
        let mut broker = Self { home, jars: tools.jars.clone(), port, child: None };
        broker.format()?;
        broker.restart()?;
        Ok(broker)
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// SIGKILL: no farewell to clients, nothing flushed.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// Starts it again on what is in its storage.
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        let log = self.home.join("broker.log");
        let out = File::create(&log)?;
        let mut java = self.java();
        java.args(["kafka.Kafka", "server.properties"]).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        // SAFETY: prctl is async-signal-safe, and the closure touches nothing else.
        unsafe {
            // A test that is killed must not leave its broker behind.
            java.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        let mut child = java.spawn().context("java")?;
        let begun = Instant::now();
        loop {
            let said = fs::read_to_string(&log).unwrap_or_default();
            if said.contains("Kafka Server started") {
                break;
            }
            if let Some(status) = child.try_wait()? {
                bail!("the broker ended ({status}):\n{said}");
            }
            if begun.elapsed() > START {
                child.kill()?;
                child.wait()?;
                bail!("the broker has not started in {START:?}:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        self.child = Some(child);
        Ok(())
    }

    /// SIGSTOP: its connections stay open and nothing answers.
    pub fn stop(&self) -> Result<()> {
        self.signal(libc::SIGSTOP)
    }

    pub fn cont(&self) -> Result<()> {
        self.signal(libc::SIGCONT)
    }

    fn signal(&self, signal: libc::c_int) -> Result<()> {
        let pid = self.child.as_ref().context("the broker does not run")?.id();
        // SAFETY: a plain system call; the pid is our child's, not yet waited for, so nobody else's.
        match unsafe { libc::kill(pid.cast_signed(), signal) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).context("kill"),
        }
    }

    fn format(&self) -> Result<()> {
        fs::create_dir_all(&self.home)?;
        fs::write(self.home.join("log4j2.properties"), LOG4J)?;
        let (port, controller) = (self.port, free_port()?);
        let data = self.home.join("data");
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\n\
             controller.quorum.voters=1@127.0.0.1:{controller}\ncontroller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             advertised.listeners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nnum.partitions={PARTITIONS}\n\
             offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n\
             # A killed broker may register again only when its old session has ended.\n\
             broker.session.timeout.ms=6000\n",
            data.display()
        );
        fs::write(self.home.join("server.properties"), properties)?;
        let out = self
            .java()
            .args(["kafka.tools.StorageTool", "format", "-t", "cmd0LXRlc3RzLWthZmthMQ", "-c", "server.properties"])
            .output()
            .context("java")?;
        if !out.status.success() {
            bail!("StorageTool: {}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }

    fn java(&self) -> Command {
        let mut java = Command::new("java");
        java.current_dir(&self.home)
            .args([
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.configurationFile=log4j2.properties",
            ])
            .arg("-cp")
            .arg(self.jars.join("*"));
        java
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(error) = self.kill().and_then(|()| fs::remove_dir_all(&self.home).map_err(Into::into)) {
            eprintln!("broker in {}: {error:#}", self.home.display());
        }
    }
}

/// What the example consumer saw.
#[derive(Debug, PartialEq, Eq)]
pub struct Consumed {
    /// `chain.id chain.seq`, each once, in order of arrival.
    pub records: Vec<String>,
    pub keys: Vec<String>,
    pub duplicates: usize,
    pub not_genuine: usize,
}

/// Runs docs/examples/consumer.py until nothing has come for `patience`.
pub fn consume(tools: &Tools, broker: &Broker, topic: &str, key_file: &Path, patience: Duration) -> Result<Consumed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/consumer.py");
    let out = Command::new(&tools.python)
        .arg(script)
        .args([&broker.address(), topic])
        .arg(key_file)
        .arg(patience.as_secs().to_string())
        .output()?;
    let (said, sum) = (String::from_utf8(out.stdout)?, String::from_utf8(out.stderr)?);
    let numbers: Vec<usize> = sum.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [count, duplicates, not_genuine] = numbers[..] else { bail!("consumer.py ({}): {sum}", out.status) };
    let fields: Vec<Vec<&str>> = said.lines().map(|line| line.split(' ').collect()).collect();
    let records: Vec<String> = fields.iter().map(|f| f[..2].join(" ")).collect();
    if records.len() != count {
        bail!("consumer.py counts {count} records and prints {}", records.len());
    }
    Ok(Consumed { records, keys: fields.iter().map(|f| f[4].to_owned()).collect(), duplicates, not_genuine })
}
