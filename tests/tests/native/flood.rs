//! More than the daemon reads: what it has not got, it has counted.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rgt_tests::native::{Dir, Done, Exec, Running, full, native, records, rgt, wait_for};
use serde_json::Value;

const PROCESSES: u64 = 4;

/// Each child opens in three turns and waits before each for a file to be there; access(2) is not covered,
/// neither is write(2): between "ready" and "finish" nothing but the opens is the agent's.
const FLOODER: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
static void await(const char *name) { while (access(name, F_OK)) usleep(2000); }
static void tell(const char *word) { write(1, word, strlen(word)); }
int main(int argc, char **argv) {
    long each[3] = { atol(argv[2]), atol(argv[3]), atol(argv[4]) };
    long pace = argc > 5 ? atol(argv[5]) : 0;
    for (int child = 0; child < 4; child++) {
        if (fork()) continue;
        char path[256];
        long number = 0;
        tell("ready\n");
        for (int turn = 0; turn < 3; turn++) {
            char go[8] = { 'g', 'o', '0' + turn };
            await(go);
            struct timespec begun, now;
            clock_gettime(CLOCK_MONOTONIC, &begun);
            for (long n = 0; n < each[turn]; n++) {
                /* Never ahead of the pace, if there is one. */
                if (pace && n % 50 == 0) for (;;) {
                    clock_gettime(CLOCK_MONOTONIC, &now);
                    double passed = now.tv_sec - begun.tv_sec + (now.tv_nsec - begun.tv_nsec) / 1e9;
                    if (n <= passed * pace) break;
                    usleep(200);
                }
                int length = sprintf(path, "%s%d/%ld", argv[1], child, number++);
                if (syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) != -1) _exit(1);
            }
            tell("turn\n");
        }
        await("finish");
        _exit(0);
    }
    int bad = 0, status;
    while (wait(&status) > 0) bad |= status;
    return bad != 0;
}
"#;

/// The daemon, stopped; it goes on when this is dropped.
struct Stopped(libc::pid_t);

impl Stopped {
    fn new(daemon: libc::pid_t) -> Stopped {
        // SAFETY: kill(2) takes integers; the pid is the lock's holder.
        assert_eq!(unsafe { libc::kill(daemon, libc::SIGSTOP) }, 0);
        Stopped(daemon)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::kill(self.0, libc::SIGCONT) };
    }
}

/// The daemon that holds the lock, if it governs this one agent alone.
fn own_daemon(agent: &str) -> Result<libc::pid_t, String> {
    let listed = Command::new(rgt()).args(["agents", "--json"]).output().unwrap();
    let agents: Vec<String> = String::from_utf8_lossy(&listed.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["agent_id"].as_str().unwrap().to_owned())
        .collect();
    if agents != [agent] {
        return Err(format!("the daemon governs {agents:?}"));
    }
    let holder = fs::read_to_string("/run/rgt/lock").map_err(|error| error.to_string())?;
    match holder.trim().split_once(' ') {
        Some((pid, "ephemeral")) => pid.parse().map_err(|_| holder.clone()),
        _ => Err(format!("the daemon is not this test's: {holder}")),
    }
}

/// What a ledger says of the flood.
struct Account {
    recorded: u64,
    lost: u64,
    gaps: Vec<String>,
}

impl Account {
    #[track_caller]
    fn of(done: &Done, prefix: &str) -> Account {
        assert_eq!(done.code, 0, "{}", done.err);
        let (code, told) = done.verify();
        assert_eq!(code, 0, "{told}");
        let marker = format!("\"argument\":\"{prefix}");
        let mut account = Account { recorded: 0, lost: 0, gaps: Vec::new() };
        records::each_line(&done.ledger, |line| {
            let line = std::str::from_utf8(line).unwrap();
            // A trajectory names it `object`: once a record.
            account.recorded += line.matches(&marker).count() as u64;
            assert!(!line.contains("\"outcome_of\""), "an outcome record: {line}");
            if line.contains("\"kind\":\"gap\"") {
                let gap: Value = serde_json::from_str(line).unwrap();
                let gap = &gap["data"];
                account.lost += gap["dropped"].as_u64().unwrap();
                account
                    .gaps
                    .push(format!("{}: {} of {} ({})", gap["ring"], gap["dropped"], gap["made"], gap["reason"]));
            }
        });
        account
    }

    /// The slow part.
    #[track_caller]
    fn agrees(&self, done: &Done) {
        let (agrees, told) = done.verify_by_python();
        assert!(agrees, "{told}");
    }

    fn total(&self) -> u64 {
        self.recorded + self.lost
    }
}

/// A flooder that waits for its turns.
struct Flood {
    running: Running,
    prefix: String,
    agent: String,
    out: PathBuf,
    dir: PathBuf,
}

impl Flood {
    /// Opens of each child in its three turns; of each child in a second, 0 for as many as it can.
    fn start(dir: &Dir, each: [u64; 3], pace: u64) -> Flood {
        let flooder = dir.compile("flooder", FLOODER, &[]);
        let prefix = format!("/flood-{}/", std::process::id());
        let agent = format!("flood-{}", std::process::id());
        let mut command = vec![flooder.display().to_string(), prefix.clone()];
        command.extend(each.into_iter().chain([pace]).map(|number| number.to_string()));
        let limit = Duration::from_secs(if full() { 900 } else { 100 });
        // A short trajectory: Python reads all of it.
        let exec = Exec::new(dir, "ledger").with("--name").with(&agent).with("--set").with("trajectory.length=1");
        let running = exec.limit(limit).start(&command);
        let flood = Flood { running, prefix, agent, out: dir.join("ledger.out"), dir: dir.0.clone() };
        wait_for("four children", || flood.said("ready", 1));
        flood
    }

    fn go(&self, turn: u64) {
        fs::write(self.dir.join(format!("go{turn}")), "").unwrap();
    }

    fn turns(&self, turns: u64) {
        wait_for("the end of a turn", || self.said("turn", turns));
    }

    fn said(&self, word: &str, times: u64) -> Option<()> {
        let told = fs::read_to_string(&self.out).unwrap_or_default();
        (told.lines().filter(|line| *line == word).count() as u64 >= PROCESSES * times).then_some(())
    }

    fn finish(self) -> (Done, String) {
        fs::write(self.dir.join("finish"), "").unwrap();
        (self.running.done(), self.prefix)
    }
}

#[test]
fn every_event_is_accounted_for() {
    native("every_event_is_accounted_for", &["cc", "zstd"], |dir| {
        let total: u64 = if full() { 2_000_000 } else { 200_000 };
        let flood = Flood::start(dir, [total / 20, total * 3 / 20, total / 20], 0);
        let daemon = match own_daemon(&flood.agent) {
            Ok(daemon) => daemon,
            Err(reason) => {
                println!("SKIP every_event_is_accounted_for: {reason}");
                return;
            }
        };
        flood.go(0);
        flood.turns(1);
        let begun = Instant::now();
        {
            let _stopped = Stopped::new(daemon);
            flood.go(1);
            flood.turns(2);
            thread::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed()));
            flood.go(2);
            thread::sleep(Duration::from_millis(20));
        }
        let stopped = begun.elapsed().as_secs_f64();
        flood.turns(3);
        let (done, prefix) = flood.finish();
        let account = Account::of(&done, &prefix);
        println!(
            "flood: daemon stopped {stopped:.1} s; recorded {} + declared lost {} = {}, performed {total}; gaps {:?}",
            account.recorded,
            account.lost,
            account.total(),
            account.gaps
        );
        assert_eq!(account.total(), total);
        assert!(account.recorded >= total / 20, "what the daemon had time for is there");
        assert!(account.lost > 0, "the ring held it all: the test tests nothing");
        assert!(done.err.contains(&account.lost.to_string()), "`rgt exec` says it: {}", done.err);
        account.agrees(&done);
    });
}

#[test]
fn a_reader_that_runs_loses_nothing() {
    native("a_reader_that_runs_loses_nothing", &["cc", "zstd"], |_| {
        // A burst of 20,000, then 50,000 a second from four processes.
        let seconds = if full() { 20 } else { 1 };
        let paced = 50_000 * seconds;
        for (name, each, pace) in [("burst", 5_000, 0), ("paced", paced / PROCESSES, 50_000 / PROCESSES)] {
            let dir = Dir::new(&format!("flood-{name}"));
            let flood = Flood::start(&dir, [each, 0, 0], pace);
            let begun = Instant::now();
            (0..3).for_each(|turn| flood.go(turn));
            flood.turns(3);
            let took = begun.elapsed().as_secs_f64();
            let (done, prefix) = flood.finish();
            let account = Account::of(&done, &prefix);
            let total = each * PROCESSES;
            println!(
                "{name}: {total} opens in {took:.2} s, {:.0} a second; recorded {}, declared lost {}; gaps {:?}",
                total as f64 / took,
                account.recorded,
                account.lost,
                account.gaps
            );
            assert_eq!(account.total(), total);
            if name == "burst" {
                assert!(account.lost * 1000 < total, "0.1 % and more of a burst were lost");
            } else {
                assert_eq!(account.lost, 0);
            }
            account.agrees(&done);
        }
    });
}
