//! Whose an attempt is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rgt_tests::native::{Exec, Ledger, full, native, records, wait_for};

/// A cgroup outside every agent, gone after the test.
struct Outside(PathBuf);

fn v2() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("cgroup v2 is mounted");
    PathBuf::from(mount.split(' ').nth(1).unwrap())
}

impl Outside {
    fn new(name: &str) -> Outside {
        let path = v2().join(format!("rgt-native-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Outside(path)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("{} is not empty", self.0.display());
    }
}

/// The agent's cgroup, found as it finds it itself.
const CGROUP: &str = r#"
mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/self/mounts)
own=$mount$(sed -n 's/^0:://p' /proc/self/cgroup)
"#;

#[track_caller]
fn has(ledger: &Ledger, path: &str) {
    let found = ledger.find("openat", path);
    assert_eq!(found.len(), 1, "opens of {path}: {found:?}");
    assert_eq!(found[0].result, Some(-2), "{:?}", found[0]);
}

#[test]
fn nested_cgroups() {
    native("nested_cgroups", &["awk"], |dir| {
        let outside = Outside::new("nested");
        let script = format!(
            "{CGROUP}
            mkdir -p $own/one/two
            sh -c 'echo $$ > '$own'/one/cgroup.procs; cat /nested/one; sh -c \"cat /nested/child\"; true'
            sh -c 'echo $$ > '$own'/one/two/cgroup.procs; cat /nested/two; true'
            sh -c 'echo $$ > {}/cgroup.procs; cat /nested/left; sh -c \"cat /nested/left/child\"; true'
            rmdir $own/one/two $own/one
            exit 0",
            outside.0.display()
        );
        let ledger = Exec::new(dir, "ledger").sh(&script).succeeded();
        for name in ["one", "child", "two", "left", "left/child"] {
            has(&ledger, &format!("/nested/{name}"));
        }
        println!("nested cgroups, made later and left: all {} attempts the agent's", ledger.attempts.len());
    });
}

#[test]
fn daemonised() {
    native("daemonised", &["setsid"], |dir| {
        let done = dir.join("daemon-done");
        let script = format!(
            "(setsid sh -c '(sleep 0.3; cat /daemon/first; sh -c \"cat /daemon/child; true\"; touch {0}) > /dev/null 2>&1 &' &)
            until [ -e {0} ]; do sleep 0.05; done",
            done.display()
        );
        let ledger = Exec::new(dir, "ledger").sh(&script).succeeded();
        has(&ledger, "/daemon/first");
        has(&ledger, "/daemon/child");
    });
}

#[test]
fn moved_by_an_outsider() {
    native("moved_by_an_outsider", &[], |dir| {
        let outside = Outside::new("moved");
        let script = "echo $$ > pid.new; mv pid.new pid; until [ -e go ]; do sleep 0.02; done
            cat /moved/child; exec cat /moved/itself";
        let running = Exec::new(dir, "ledger").start(["sh", "-c", script]);
        let pid = wait_for("the agent's pid", || fs::read_to_string(dir.join("pid")).ok());
        fs::write(outside.0.join("cgroup.procs"), pid.trim()).unwrap();
        fs::write(dir.join("go"), "").unwrap();
        let done = running.done();
        assert_eq!(done.code, 1, "cat of an absent file: {}", done.err);
        let ledger = done.ledger();
        has(&ledger, "/moved/child");
        has(&ledger, "/moved/itself");
    });
}

#[test]
fn moved_in_by_an_outsider() {
    native("moved_in_by_an_outsider", &["awk"], |dir| {
        let neighbour = "until [ -e go ]; do sleep 0.02; done; cat /joined/child; exec cat /joined/itself";
        let mut neighbour =
            Command::new("sh").args(["-c", neighbour]).current_dir(&dir.0).stderr(Stdio::null()).spawn().unwrap();
        let script = format!("{CGROUP} echo $own > own.new; mv own.new own; until [ -e over ]; do sleep 0.05; done");
        let running = Exec::new(dir, "ledger").start(["sh", "-c", &script]);
        let own = wait_for("the agent's cgroup", || fs::read_to_string(dir.join("own")).ok());
        fs::write(Path::new(own.trim()).join("cgroup.procs"), neighbour.id().to_string()).unwrap();
        fs::write(dir.join("go"), "").unwrap();
        neighbour.wait().unwrap();
        fs::write(dir.join("over"), "").unwrap();
        let ledger = running.done().succeeded();
        has(&ledger, "/joined/child");
        has(&ledger, "/joined/itself");
    });
}

const CLONE_INTO: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
/* into CGROUP PATH: a child that begins in CGROUP, whose first call opens PATH. */
int main(int argc, char **argv) {
    struct clone_args args;
    memset(&args, 0, sizeof args);
    args.flags = 0x200000000ULL;
    args.exit_signal = SIGCHLD;
    args.cgroup = open(argv[1], O_RDONLY | O_DIRECTORY);
    if ((int)args.cgroup < 0) return 10;
    long pid = syscall(SYS_clone3, &args, sizeof args);
    if (pid < 0) return 11;
    if (pid == 0) { syscall(SYS_openat, AT_FDCWD, argv[2], O_RDONLY); _exit(0); }
    int status;
    waitpid(pid, &status, 0);
    return status != 0;
}
"#;

#[test]
fn cloned_into_a_cgroup() {
    native("cloned_into_a_cgroup", &["cc", "awk"], |dir| {
        let into = dir.compile("into", CLONE_INTO, &[]);
        let outside = Outside::new("clone");
        let script = format!(
            "{CGROUP} echo $own > own.new; mv own.new own
            mkdir $own/below; {0} $own/below /cloned/below || exit 8; rmdir $own/below
            {0} {1} /cloned/out || exit 9
            until [ -e over ]; do sleep 0.05; done",
            into.display(),
            outside.0.display()
        );
        let running = Exec::new(dir, "ledger").start(["sh", "-c", &script]);
        let own = wait_for("the agent's cgroup", || fs::read_to_string(dir.join("own")).ok());
        let status = Command::new(&into).args([own.trim(), "/cloned/in"]).status().unwrap();
        fs::write(dir.join("over"), "").unwrap();
        assert!(status.success(), "{status}");
        let ledger = running.done().succeeded();
        for path in ["/cloned/below", "/cloned/out", "/cloned/in"] {
            has(&ledger, path);
        }
        // The parent of /cloned/in is nobody's.
        let parent = own.trim().as_bytes();
        let opened = ledger.find("openat", parent);
        assert!(opened.is_empty(), "the outsider's own open is recorded: {opened:?}");
    });
}

#[test]
fn new_namespaces() {
    native("new_namespaces", &["unshare", "chroot"], |dir| {
        fs::create_dir(dir.join("root")).unwrap();
        let script = "
            unshare -m cat /namespace/mount
            unshare -p -f --mount-proc sh -c 'cat /namespace/pid; true'
            unshare -U -r cat /namespace/user
            unshare -C cat /namespace/cgroup
            unshare -m -u -i -n -p -f -C sh -c 'cat /namespace/all; sh -c \"cat /namespace/all/child\"; true'
            exit 0";
        let done = Exec::new(dir, "ledger").sh(script);
        let ledger = done.succeeded();
        for name in ["mount", "pid", "user", "cgroup", "all", "all/child"] {
            has(&ledger, &format!("/namespace/{name}"));
        }
        let unshared = ledger.attempts.iter().filter(|each| each.syscall == "unshare").count();
        assert_eq!(unshared, 5);
        // One numbering of processes, whatever namespace they are in.
        let inner = ledger.find("openat", "/namespace/pid")[0];
        assert!(inner.pid > 2, "{inner:?}");
    });
}

#[test]
fn many_agents_at_once() {
    native("many_agents_at_once", &[], |dir| {
        let count = if full() { 200 } else { 20 };
        let script = |number: usize| {
            format!("for turn in 1 2 3 4 5; do cat /many/{number}/$turn; done 2> /dev/null; exit {}", number % 100)
        };
        let running: Vec<_> = (0..count)
            .map(|number| {
                let name = format!("ledger-{number}");
                let limit = Duration::from_secs(if full() { 300 } else { 60 });
                Exec::new(dir, &name).limit(limit).start(["sh", "-c", &script(number)])
            })
            .collect();
        let mut attempts = 0;
        for (number, running) in running.into_iter().enumerate() {
            let done = running.done();
            assert_eq!(done.code, i32::try_from(number % 100).unwrap(), "{}", done.err);
            let (code, told) = done.verify();
            assert_eq!(code, 0, "{told}");
            let ledger = if number % 20 == 0 { done.ledger() } else { Ledger::read(&done.ledger) };
            let own = format!("/many/{number}/");
            for turn in 1..=5 {
                has(&ledger, &format!("{own}{turn}"));
            }
            for each in &ledger.attempts {
                let argument = each.argument();
                assert!(!argument.starts_with("/many/") || argument.starts_with(&own), "{number} has {each:?}");
            }
            assert_eq!(ledger.declared_lost(), 0);
            attempts += ledger.attempts.len();
        }
        println!("{count} agents at once, {attempts} attempts, each in its own agent's ledger");
    });
}

#[test]
fn neighbour_leaves_no_trace() {
    native("neighbour_leaves_no_trace", &[], |dir| {
        let neighbour = "until [ -e over ]; do cat /neighbour/file /neighbour/$$; cat own; done > /dev/null 2>&1";
        let mut neighbour = Command::new("sh").args(["-c", neighbour]).current_dir(&dir.0).spawn().unwrap();
        let script = "for turn in 1 2 3 4 5 6 7 8 9 10; do cat /agent/$turn; sleep 0.05; done 2> /dev/null; exit 0";
        let done = Exec::new(dir, "ledger").sh(script);
        fs::write(dir.join("over"), "").unwrap();
        neighbour.wait().unwrap();
        let ledger = done.succeeded();
        for turn in 1..=10 {
            has(&ledger, &format!("/agent/{turn}"));
        }
        let mut lines = 0;
        for place in [done.ledger.as_path(), Path::new("/var/lib/rgt/ledger")] {
            if place.is_dir() {
                lines += no_trace(place);
            }
        }
        println!("a neighbour left no trace in {lines} lines");
    });
}

fn no_trace(ledger: &Path) -> u64 {
    let mut lines = 0;
    records::each_line(ledger, |line| {
        lines += 1;
        let found = line.windows(11).any(|part| part == b"/neighbour/");
        assert!(!found, "{}", String::from_utf8_lossy(line));
    });
    lines
}
