//! One run, two observers.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use rgt_tests::native::strace::{Outcome, Trace, filter};
use rgt_tests::native::{Attempt, Dir, Exec, Ledger, native, program};

type Key = (String, Option<Vec<u8>>, Outcome);
type Multiset = BTreeMap<Key, i64>;

const WORKLOAD: &str = r#"
set -eu
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
mkdir repo repo/sub
printf 'int main(void) { return 0; }\n' > repo/main.c
printf 'text\n' > repo/sub/file
git -C repo init -q -b main
git -C repo add -A
git -C repo commit -q -m one
git clone -q repo clone
git clone -q --no-local repo second
cc -O1 -o program clone/main.c
./program
cc -c nothing.c 2>/dev/null && exit 9
find clone -type f -newer repo/main.c > found || true
find /etc/apt /nowhere -name '*.list' > found2 2>/dev/null || true
tar czf archive.tgz clone
mkdir out
tar xzf archive.tgz -C out
ln -s out link; ln program program2; mv program2 program3; chmod 600 program3; chown 0:0 program3; truncate -s 7 program3
mkfifo fifo; rm fifo; rm -r out; rmdir repo 2>/dev/null || true; mkdir repo 2>/dev/null || true
"$PYTHON" script.py
"$PYTHON" server.py &
server=$!
until [ -s port ]; do sleep 0.05; done
curl -s -o fetched "http://127.0.0.1:$(cat port)/found"
curl -s -o /dev/null http://127.0.0.1:9/ || true
kill $server
wait $server || true
cmp found fetched
echo done
"#;

const SCRIPT: &str = r#"
import os, json, socket, subprocess, sqlite3, tempfile, threading, xml.dom.minidom, errno
def refused(call, *args):
    try: call(*args)
    except OSError: pass
for path in ("/nowhere/at/all", "x" * 300, "found/below", "/proc/self/fd/999"):
    refused(open, path)
refused(os.open, "link", os.O_RDONLY | os.O_NOFOLLOW)
refused(os.rename, "nothing", "else")
refused(os.unlink, "/proc/1/status")
refused(os.setxattr, "found", b"user.a", b"b")
refused(os.removexattr, "found", b"user.none")
refused(os.kill, 2**22 - 1, 0)
refused(os.setuid, 0)
with tempfile.TemporaryDirectory() as name:
    with open(os.path.join(name, "ä\n\"'"), "w") as file:
        file.truncate(5000); os.posix_fallocate(file.fileno(), 0, 6000); os.fchmod(file.fileno(), 0o600)
    sqlite3.connect(os.path.join(name, "db")).execute("create table t (a)").connection.commit()
a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
a.sendmsg([b"x"])
s = socket.socket(socket.AF_UNIX); s.bind("\0rgt-oracle-%d" % os.getpid()); s.listen()
c = socket.socket(socket.AF_UNIX); c.connect("\0rgt-oracle-%d" % os.getpid())
refused(socket.socket(socket.AF_UNIX).connect, "/nowhere/socket")
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u.sendto(b"x", ("127.0.0.1", 9))
if socket.has_ipv6:
    refused(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).sendto(b"x", ("::1", 9)))
def work(number):
    for turn in range(20): refused(open, "/nowhere/%d/%d" % (number, turn))
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
subprocess.run(["sh", "-c", "cat found > /dev/null; exit 3"])
pid = os.fork()
if pid == 0:
    refused(os.chroot, "/nowhere"); os._exit(0)
os.waitpid(pid, 0)
"#;

const SERVER: &str = r#"
import http.server, os
class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Quiet)
with open("port.new", "w") as file: file.write(str(server.server_port))
os.rename("port.new", "port")
server.serve_forever()
"#;

#[test]
fn oracle() {
    native("oracle", &["strace", "git", "cc", "find", "tar", "curl"], |dir| {
        let work = workload(dir);
        let out = dir.join("strace.out");
        let strace = program("strace").unwrap();
        let done = Exec::new(dir, "ledger").limit(Duration::from_secs(90)).run(
            ["env".as_ref(), "-C".as_ref(), work.as_os_str(), strace.as_os_str()]
                .into_iter()
                .chain(
                    ["-f", "--seccomp-bpf", "-qq", "-xx", "-s", "4096", "-e", &filter(), "-e", "signal=none", "-o"]
                        .map(AsRef::as_ref),
                )
                .chain([out.as_os_str(), "sh".as_ref(), "workload.sh".as_ref()]),
        );
        let ledger = done.succeeded();
        assert!(done.out.ends_with("done\n"), "{}{}", done.out, done.err);
        let trace = Trace::parse(&fs::read_to_string(&out).unwrap());
        compare(&ledger, &trace);
    });
}

fn workload(dir: &Dir) -> std::path::PathBuf {
    let work = dir.join("work");
    fs::create_dir(&work).unwrap();
    let python = program("python3").unwrap();
    fs::write(work.join("workload.sh"), format!("PYTHON={}\n{WORKLOAD}", python.display())).unwrap();
    fs::write(work.join("script.py"), SCRIPT).unwrap();
    fs::write(work.join("server.py"), SERVER).unwrap();
    work
}

fn compare(ledger: &Ledger, trace: &Trace) {
    let (theirs, own): (Vec<&Attempt>, Vec<&Attempt>) = ledger.attempts.iter().partition(|each| {
        // The tracee before its exec is strace's own code: it stops itself, strace does not show it.
        trace.tids.contains(&each.tid) && (!is_strace(each) || each.syscall == "execve")
    });
    // strace is the command itself, and forks children to try what the kernel can.
    let root = ledger.attempts[0].pid;
    for each in &own {
        assert!(is_strace(each) || each.pid == root, "neither strace's own nor traced: {each:?}");
    }
    let mut recorded = Multiset::new();
    for each in &theirs {
        *recorded.entry((each.syscall.clone(), each.argument.clone(), outcome(each))).or_default() += 1;
    }
    let mut traced = Multiset::new();
    for each in &trace.calls {
        *traced.entry((each.name.clone(), each.argument.clone(), each.outcome)).or_default() += 1;
    }
    let (only_rgt, only_strace) = (less(&recorded, &traced), less(&traced, &recorded));
    println!(
        "oracle: rgt recorded {} attempts, strace {} calls ({} different, {} tasks); {} of strace's own left out; declared lost {}",
        theirs.len(),
        trace.calls.len(),
        traced.len(),
        trace.tids.len(),
        own.len(),
        ledger.declared_lost(),
    );
    let mut by_call: BTreeMap<&str, u64> = BTreeMap::new();
    for each in &trace.calls {
        *by_call.entry(&each.name).or_default() += 1;
    }
    println!("oracle: {by_call:?}");
    show("rgt", &only_rgt);
    show("strace", &only_strace);
    assert_eq!(ledger.declared_lost(), 0);
    assert!(only_rgt.is_empty() && only_strace.is_empty(), "the two observers differ");
    assert!(trace.calls.len() > 2000, "no real workload: {}", trace.calls.len());
}

fn is_strace(attempt: &Attempt) -> bool {
    Path::new(&*String::from_utf8_lossy(&attempt.exe)).file_name().is_some_and(|name| name == "strace")
}

fn outcome(attempt: &Attempt) -> Outcome {
    match attempt.result {
        // -512 to -516: the kernel's own, never a program's to see.
        Some(-516..=-512) | None => Outcome::Unseen,
        Some(error) if error < 0 => Outcome::Failed(i32::try_from(-error).unwrap()),
        Some(_) => Outcome::Done,
    }
}

fn less(one: &Multiset, other: &Multiset) -> Vec<(Key, i64)> {
    let more = |(key, count): (&Key, &i64)| {
        let surplus = count - other.get(key).unwrap_or(&0);
        (surplus > 0).then(|| (key.clone(), surplus))
    };
    one.iter().filter_map(more).collect()
}

fn show(who: &str, surplus: &[(Key, i64)]) {
    let count: i64 = surplus.iter().map(|(_, count)| count).sum();
    println!("oracle: only {who} has {count}");
    for ((name, argument, outcome), count) in surplus.iter().take(20) {
        let argument = argument.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        println!("    {count} × {name} {argument:?} {outcome:?}");
    }
}
