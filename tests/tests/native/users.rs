//! What an ordinary user may ask of the daemon.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rgt_tests::native::daemon::Daemon;
use rgt_tests::native::said::{NOBODY, by_nobody, by_root, copy_for_nobody, says, told};
use rgt_tests::native::{Dir, Ledger, native, program, rgt, root};

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

/// In a cgroup as container runtimes make them.
struct Container(PathBuf);

impl Container {
    fn new(id: &str) -> Container {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount =
            mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()).find(|fields| fields[2] == "cgroup2");
        let path = Path::new(mount.expect("cgroup v2 is mounted")[1]).join(format!("docker-{id}.scope"));
        fs::create_dir(&path).unwrap();
        Container(path)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_command_from_a_container_bears_its_id() {
    native("a_command_from_a_container_bears_its_id", &["timeout"], |dir| {
        let id = format!("{:08x}", std::process::id()).repeat(8);
        let container = Container::new(&id);
        let script =
            "echo $$ >\"$0/cgroup.procs\" && exec \"$1\" exec --ledger \"$2\" --set \"seal.key_file=$3\" -- true";
        let (rgt, ledger, key) = (rgt(), dir.join("ledger"), dir.key());
        let args = [OsStr::new("sh"), OsStr::new("-c"), OsStr::new(script), container.0.as_os_str()];
        let (code, text) = told(args.into_iter().chain([rgt.as_os_str(), ledger.as_os_str(), key.as_os_str()]));
        assert_eq!(code, 0, "{text}");
        let told = Ledger::read(&ledger);
        let (_, registered) = told.others.iter().find(|(_, data)| data["kind"] == "registered").unwrap();
        assert_eq!(registered["container"], id.as_str(), "{registered}");
    });
}

#[test]
fn what_may_not_be_seen_is_not_missing() {
    native("what_may_not_be_seen_is_not_missing", &["setpriv", "timeout"], |dir| {
        let copy = copy_for_nobody(dir);
        let closed = dir.join("closed");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        for ledger in [closed.clone(), closed.join("below")] {
            let ledger = ledger.to_str().unwrap();
            for args in [
                &["tail", "--ledger", ledger][..],
                &["tail", "-f", "--ledger", ledger],
                &["show", "--ledger", ledger, "x"],
            ] {
                let found = by_nobody(&copy, args);
                assert!(!found.1.contains("no such directory"), "{}", found.1);
                says(found, 1, &[ledger, "Permission denied", "sudo"]);
            }
        }
        let absent = dir.join("absent");
        says(by_nobody(&copy, &["tail", "--ledger", absent.to_str().unwrap()]), 1, &["no such directory"]);
        // The name of what failed, and of who says so, once each.
        for (code, said) in
            [by_nobody(&copy, &["run"]), by_root(&["exec", "--ledger", copy.to_str().unwrap(), "--", "true"])]
        {
            assert_ne!(code, 0);
            for once in ["rgt run", "rgt exec", copy.to_str().unwrap()] {
                assert!(said.matches(once).count() <= 1, "{once}: {said}");
            }
        }
    });
}
