//! More than the daemon reads: what it has not got, it has counted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rgt_tests::native::{Exec, full, native, records, rgt, wait_for};
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
#include <unistd.h>
static void await(const char *name) { while (access(name, F_OK)) usleep(2000); }
static void tell(const char *word) { write(1, word, strlen(word)); }
int main(int argc, char **argv) {
    long each[3] = { atol(argv[2]), atol(argv[3]), atol(argv[4]) };
    for (int child = 0; child < 4; child++) {
        if (fork()) continue;
        char path[256];
        long number = 0;
        tell("ready\n");
        for (int turn = 0; turn < 3; turn++) {
            char go[8] = { 'g', 'o', '0' + turn };
            await(go);
            for (long n = 0; n < each[turn]; n++) {
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

fn said(out: &Path, word: &str) -> Option<()> {
    let told = fs::read_to_string(out).unwrap_or_default();
    (told.lines().filter(|line| *line == word).count() as u64 >= PROCESSES).then_some(())
}

fn said_turns(out: &Path, turns: u64) -> Option<()> {
    let told = fs::read_to_string(out).unwrap_or_default();
    (told.lines().filter(|line| *line == "turn").count() as u64 >= PROCESSES * turns).then_some(())
}

#[test]
fn every_event_is_accounted_for() {
    native("every_event_is_accounted_for", &["cc", "zstd"], |dir| {
        let total: u64 = if full() { 2_000_000 } else { 200_000 };
        let flooder = dir.compile("flooder", FLOODER, &[]);
        let prefix = format!("/flood-{}/", std::process::id());
        let agent = format!("flood-{}", std::process::id());
        let each = [total / 20, total * 3 / 20, total / 20].map(|number| number.to_string());
        let out: PathBuf = dir.join("ledger.out");
        let limit = Duration::from_secs(if full() { 900 } else { 100 });
        let mut command = vec![flooder.display().to_string(), prefix.clone()];
        command.extend(each);
        let running = Exec::new(dir, "ledger").with("--name").with(&agent).with("--set").with("trajectory.length=1").limit(limit).start(&command);
        wait_for("four children", || said(&out, "ready"));
        let daemon = match own_daemon(&agent) {
            Ok(daemon) => daemon,
            Err(reason) => {
                println!("SKIP every_event_is_accounted_for: {reason}");
                return;
            }
        };
        fs::write(dir.join("go0"), "").unwrap();
        wait_for("the first turn", || said_turns(&out, 1));
        let begun = Instant::now();
        {
            let _stopped = Stopped::new(daemon);
            fs::write(dir.join("go1"), "").unwrap();
            wait_for("the second turn", || said_turns(&out, 2));
            thread::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed()));
            fs::write(dir.join("go2"), "").unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        let stopped = begun.elapsed();
        wait_for("the third turn", || said_turns(&out, 3));
        fs::write(dir.join("finish"), "").unwrap();
        let done = running.done();
        assert_eq!(done.code, 0, "{}", done.err);
        let read = Instant::now();
        let (code, told) = done.verify();
        assert_eq!(code, 0, "{told}");
        let (agrees, told) = done.verify_by_python();
        assert!(agrees, "{told}");
        let marker = format!("\"argument\":\"{prefix}");
        let (mut recorded, mut lost, mut gaps, mut lines) = (0_u64, 0_u64, Vec::new(), 0_u64);
        records::each_line(&done.ledger, |line| {
            lines += 1;
            let line = std::str::from_utf8(line).unwrap();
            // The trajectory names it `object`: once a record.
            recorded += line.matches(&marker).count() as u64;
            assert!(!line.contains("\"outcome_of\""), "an outcome record: {line}");
            if line.contains("\"kind\":\"gap\"") {
                let gap: Value = serde_json::from_str(line).unwrap();
                let gap = &gap["data"];
                lost += gap["dropped"].as_u64().unwrap();
                gaps.push(format!("{}: {} of {} ({})", gap["ring"], gap["dropped"], gap["made"], gap["reason"]));
            }
        });
        println!(
            "flood: daemon stopped {:.1} s; recorded {recorded} + declared lost {lost} = {}, performed {total}; {lines} lines, read in {:.1} s; gaps {gaps:?}",
            stopped.as_secs_f64(),
            recorded + lost,
            read.elapsed().as_secs_f64(),
        );
        println!("rgt exec said: {}", done.err.trim());
        assert_eq!(recorded + lost, total);
        assert!(recorded >= total / 20, "the first turn was read");
    });
}
