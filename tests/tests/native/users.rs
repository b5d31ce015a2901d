//! What an ordinary user may ask of the daemon.

use std::fs;
use std::path::Path;

use rgt_tests::native::daemon::Daemon;
use rgt_tests::native::said::{NOBODY, by_nobody, copy_for_nobody, says, told};
use rgt_tests::native::{Dir, native, program, root};

fn policy(dir: &Dir) -> String {
    let file = dir.join("policy.yaml");
    fs::copy(root().join("policies/article.yaml"), &file).unwrap();
    file.to_str().unwrap().to_owned()
}

/// `NoNewPrivs` of what `rgt exec OPTIONS` runs.
fn renounced(rgt: &Path, options: &[&str]) -> bool {
    let args: Vec<&str> = [&["exec"], options, &["--", "grep", "NoNewPrivs:", "/proc/self/status"]].concat();
    let (code, text) = by_nobody(rgt, &args);
    assert_eq!(code, 0, "{text}");
    text.contains("NoNewPrivs:\t1")
}

/// Speaks to the socket by itself, with a child that may gain rights.
const BY_HAND: &str = "
import json, os, socket, sys, time
child = os.fork()
if child == 0:
    time.sleep(20)
    os._exit(0)
end = socket.socket(socket.AF_UNIX)
end.connect('/run/rgt/control.sock')
ask = {'op': 'exec', 'pid': child, 'command': 'x', 'policy': open(sys.argv[1]).read()}
end.sendall(json.dumps(ask).encode() + b'\\n')
print(end.makefile().readline())
os.kill(child, 9)
";

#[test]
fn a_users_policy_binds_no_setuid_program() {
    native("a_users_policy_binds_no_setuid_program", &["setpriv", "timeout"], |dir| {
        let (copy, policy) = (copy_for_nobody(dir), policy(dir));
        let daemon = Daemon::start(dir, &dir.join("ledger"));
        assert!(renounced(&copy, &["--policy", &policy]));
        assert!(!renounced(&copy, &["--policy", &policy, "--observe"]), "nothing is refused, so nothing is renounced");
        assert!(!renounced(&copy, &[]));
        let python = program("python3").unwrap();
        let by_hand = ["setpriv"].into_iter().chain(NOBODY).chain([python.to_str().unwrap(), "-c", BY_HAND, &policy]);
        says(told(by_hand), 0, &["forbidden", "no_new_privs"]);
        assert_eq!(daemon.stop(), 0);
    });
}
