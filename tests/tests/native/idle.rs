//! A machine on which nobody is governed pays nothing for its calls.

use std::fs;
use std::process::{Command, Stdio};

use rgt_tests::native::daemon::Daemon;
use rgt_tests::native::{Ledger, native, rgt, wait_for};

/// Raw tracepoints that a process holds a link to.
fn attached(pid: &str) -> usize {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).unwrap();
    let links = infos.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    links.filter(|info| info.contains("link_type:\traw_tracepoint")).count()
}

#[test]
fn capture_rests_while_nobody_is_governed() {
    native("capture_rests_while_nobody_is_governed", &[], |dir| {
        let ledger = dir.join("ledger");
        let daemon = Daemon::start(dir, &ledger);
        let pid = daemon.pid();
        let rests = || wait_for("capture to be detached", || (attached(&pid) == 0).then_some(()));
        rests();
        for round in 0..3 {
            let mut command = Command::new(rgt());
            command.args(["exec", "--name", &format!("round-{round}"), "--", "sh", "-c", "echo; read _; cat /no/such"]);
            let mut agent = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            // It has said something: it runs.
            let mut byte = [0];
            std::io::Read::read_exact(agent.stdout.as_mut().unwrap(), &mut byte).unwrap();
            assert_eq!(attached(&pid), 8, "while an agent runs");
            drop(agent.stdin.take());
            agent.wait().unwrap();
            rests();
        }
        assert_eq!(daemon.stop(), 0);
        let told = Ledger::read(&ledger);
        for round in 0..3 {
            let of_round: Vec<_> = told.attempts.iter().filter(|each| each.agent == format!("round-{round}")).collect();
            assert!(of_round[0].syscall == "execve" && of_round[0].argument().ends_with("/sh"), "{:?}", of_round[0]);
            assert!(of_round.iter().any(|each| each.argument() == "/no/such"), "{of_round:?}");
        }
        assert!(told.others.iter().all(|(_, data)| data["kind"] != "gap"), "nothing was lost");
    });
}
