//! What is wrong is said, with the place and the way out, and the exit code says so too.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rgt_tests::native::daemon::Daemon;
use rgt_tests::native::records::size;
use rgt_tests::native::said::{by_nobody, by_root, copy_for_nobody, says, told, without_daemon};
use rgt_tests::native::{Exec, Ledger, native, rgt, root, verify, wait_for};

#[test]
fn no_root() {
    native("no_root", &["setpriv", "timeout"], |dir| {
        let rgt = copy_for_nobody(dir);
        let nobody = |args: &[&str]| without_daemon(|| by_nobody(&rgt, args));
        says(nobody(&["run"]), 1, &["needs root", "sudo"]);
        says(nobody(&["exec", "--", "true"]), 125, &["needs root", "sudo rgt run"]);
        for command in ["agents", "top", "unload"] {
            says(nobody(&[command]), 1, &["no daemon is ready", "sudo rgt run"]);
        }
        says(nobody(&["doctor"]), 1, &["sudo rgt doctor"]);
        let ledger = dir.join("ledger");
        fs::create_dir(&ledger).unwrap();
        fs::set_permissions(&ledger, fs::Permissions::from_mode(0o700)).unwrap();
        let (code, text) = nobody(&["verify", ledger.to_str().unwrap()]);
        assert!(code != 0 && text.contains("Permission denied"), "{code}: {text}");
        // What needs no kernel needs no root.
        let policy = root().join("policies/article.yaml");
        let text = fs::read(policy).unwrap();
        fs::write(dir.join("policy.yaml"), text).unwrap();
        let policy = dir.join("policy.yaml");
        let policy = policy.to_str().unwrap();
        assert_eq!(by_nobody(&rgt, &["policy", "check", policy]).0, 0);
        says(nobody(&["policy", "apply", policy, "--agent", "a"]), 1, &["no daemon is ready", "sudo rgt run"]);
    });
}

#[test]
fn configuration() {
    native("configuration", &["setpriv", "timeout"], |dir| {
        let file = dir.join("rgt.toml");
        let name = file.to_str().unwrap().to_owned();
        for (text, part) in [
            (&b"[seal]\nmod = \"static\"\n"[..], ":2:1: unknown key `seal.mod`; did you mean `seal.mode`?"),
            (b"[seal]\nmode = \"x\"\n", ":2:8: seal.mode: `x` is none of: static, ratchet"),
            (b"[ledger\n", ":1:8: "),
            (b"[trajectory]\n\nlength = 65\n", ":3:10: trajectory.length"),
            (b"node.name = \"\xff\"\n", ": "),
        ] {
            fs::write(&file, text).unwrap();
            says(by_root(&["run", "--config", &name]), 1, &[&format!("{name}{part}")]);
        }
        let absent = dir.join("absent.toml");
        says(by_root(&["run", "--config", absent.to_str().unwrap()]), 1, &["absent.toml", "No such file", "--config"]);
        says(by_root(&["run", "--config", dir.0.to_str().unwrap()]), 1, &["directory"]);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        says(
            by_nobody(&copy_for_nobody(dir), &["run", "--config", &name]),
            1,
            &[&name, "Permission denied", "permissions"],
        );

        let near = "unknown key `ledger.dri`; did you mean `ledger.dir`?";
        says(by_root(&["run", "--set", "ledger.dri=/x"]), 1, &[near]);
        says(by_root(&["exec", "--set", "ledger.dri=/x", "--", "true"]), 125, &[near]);
        says(by_root(&["exec", "--set", "seal.mode", "--", "true"]), 125, &["section.key=value"]);
        says(by_root(&["exec", "--unknown-option"]), 2, &["--unknown-option"]);
        says(by_root(&["exec", "--name", "../../x", "--", "true"]), 2, &["--name", "a part of the name is `..`"]);
        says(by_root(&["tail", "--since", "yesterday"]), 2, &["--since", "10m"]);

        let policy = dir.join("policy.yaml");
        fs::write(&policy, "version: 1\nrules:\n  - idd: R\n").unwrap();
        let place = format!("{}:", policy.display());
        says(by_root(&["exec", "--policy", policy.to_str().unwrap(), "--", "true"]), 125, &[&place]);
        says(by_root(&["exec", "--policy", "/no/such.yaml", "--", "true"]), 125, &["/no/such.yaml", "No such file"]);

        let key = dir.join("bad.key");
        fs::write(&key, "not hexadecimal\n").unwrap();
        for key in [key.to_str().unwrap(), "/no/such.key"] {
            let (ledger, set) = (dir.join("ledger"), format!("seal.key_file={key}"));
            let found = by_root(&["exec", "--ledger", ledger.to_str().unwrap(), "--set", &set, "--", "true"]);
            says(found, 125, &[key]);
        }
    });
}

#[test]
fn ledger_that_cannot_be_written() {
    native("ledger_that_cannot_be_written", &["unshare", "mount", "timeout"], |dir| {
        let file = dir.join("file");
        fs::write(&file, "in the way").unwrap();
        let done = Exec::new(dir, "file").run(["true"]);
        says((done.code, done.err), 125, &[file.to_str().unwrap(), "is a file"]);
        let below = dir.join("file/below");
        says(
            by_root(&["exec", "--ledger", below.to_str().unwrap(), "--", "true"]),
            125,
            &["file/below", "Not a directory"],
        );
        assert_eq!(fs::read(&file).unwrap(), b"in the way");

        let place = dir.join("place");
        fs::create_dir(&place).unwrap();
        let (bind, tmpfs) =
            ("mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"", "mount -t tmpfs -o ro tmpfs \"$0\"");
        for (mount, below, part) in [(bind, "", "cannot be written to"), (tmpfs, "/ledger", "cannot be made")] {
            // A mount namespace of its own: nobody else sees the place read-only, and it is gone with the daemon.
            let script =
                format!("{mount} && exec \"$1\" run --set \"ledger.dir=$0{below}\" --set \"seal.key_file=$2\"");
            let (rgt, key) = (rgt(), dir.key());
            let found = wait_for("a daemon that is refused for its ledger", || {
                let args = ["unshare", "-m", "--propagation", "private", "sh", "-c", &script].map(OsStr::new);
                let found = told(args.into_iter().chain([place.as_os_str(), rgt.as_os_str(), key.as_os_str()]));
                (!found.1.contains("a daemon runs already")).then_some(found)
            });
            says(found, 1, &[place.to_str().unwrap(), part, "ledger.dir", "Read-only"]);
        }
        assert_eq!(fs::read_dir(&place).unwrap().count(), 0);
    });
}

#[test]
fn a_second_daemon_is_refused() {
    native("a_second_daemon_is_refused", &["setpriv", "timeout"], |dir| {
        let ledger = dir.join("ledger");
        let daemon = Daemon::start(dir, &ledger);
        let own = format!("ledger.dir={}", dir.join("other").display());
        let begun = Instant::now();
        says(
            by_root(&["run", "--set", &own]),
            1,
            &["a daemon runs already", &format!("process {};", daemon.pid()), "rgt unload"],
        );
        assert!(begun.elapsed() < Duration::from_secs(5), "refused at once");
        assert!(!dir.join("other").exists(), "and nothing made");
        let copy = copy_for_nobody(dir);
        let theirs = dir.join("theirs");
        let found = by_nobody(&copy, &["exec", "--ledger", theirs.to_str().unwrap(), "--", "true"]);
        says(found, 125, &["only root may choose where"]);
        let found = by_nobody(&copy, &["exec", "--set", "seal.key_file=/etc/shadow", "--", "true"]);
        says(found, 125, &["only root may set this"]);
        let found = by_nobody(&copy, &["exec", "--name", "exec/0/sh", "--", "true"]);
        says(found, 125, &["--name exec/0/sh", "given by rgt"]);
        // Nor has the daemon come to harm.
        assert_eq!(by_nobody(&copy, &["exec", "--name", "mine", "--", "sh", "-c", "exit 7"]).0, 7);
        assert_eq!(daemon.stop(), 0);
        let (code, text) = verify(&ledger, &dir.key());
        assert_eq!(code, 0, "{text}");
        let told = Ledger::read(&ledger);
        assert!(
            !told.attempts.is_empty() && told.attempts.iter().all(|each| each.agent == "exec/65534/mine"),
            "{:?}",
            told.attempts
        );
    });
}

#[test]
fn an_output_that_cannot_be_written_is_told() {
    native("an_output_that_cannot_be_written_is_told", &["timeout"], |dir| {
        let daemon = Daemon::start(dir, &dir.join("ledger"));
        for command in
            [&["doctor"][..], &["doctor", "--json"], &["agents"], &["top", "--once"], &["schema", "envelope"]]
        {
            let mut asked = Command::new(rgt());
            let done = asked.args(command).stdout(fs::File::create("/dev/full").unwrap()).output().unwrap();
            says(
                (done.status.code().unwrap(), String::from_utf8_lossy(&done.stderr).into_owned()),
                1,
                &[command[0], "No space left"],
            );
        }
        assert_eq!(daemon.stop(), 0);
    });
}

fn only_segment(ledger: &Path) -> PathBuf {
    let mut found = fs::read_dir(ledger).unwrap().map(|entry| entry.unwrap().path());
    found.find(|path| path.extension().is_some_and(|ending| ending == "jsonl")).unwrap()
}

#[test]
fn a_torn_line_is_moved_aside() {
    native("a_torn_line_is_moved_aside", &[], |dir| {
        let done = Exec::new(dir, "ledger").sh("exit 0");
        let before = done.succeeded().lines;
        let segment = only_segment(&done.ledger);
        let whole = fs::read(&segment).unwrap();
        // As a crash leaves it: after the head's last record, the next one has begun.
        let last = whole[..whole.len() - 1].rsplit(|byte| *byte == b'\n').next().unwrap();
        let half = &last[..last.len() / 2];
        fs::write(&segment, [&whole[..], half].concat()).unwrap();

        let again = Exec::new(dir, "ledger").sh("exit 0");
        let ledger = again.succeeded();
        assert!(ledger.lines > before);
        let told: Vec<_> = ledger
            .others
            .iter()
            .filter(|(kind, data)| kind.ends_with("audit.chain") && data.get("torn_file").is_some())
            .collect();
        assert_eq!(told.len(), 1, "{:?}", ledger.others);
        let (_, data) = told[0];
        assert_eq!((data["kind"].as_str(), data["torn_bytes"].as_u64()), (Some("open"), Some(half.len() as u64)));
        let torn = done.ledger.join(data["torn_file"].as_str().unwrap());
        assert_eq!(fs::read(&torn).unwrap(), half);
        println!("{} bytes in {}, told by {data}", half.len(), torn.display());
    });
}

#[test]
fn a_cut_ledger_is_not_continued() {
    native("a_cut_ledger_is_not_continued", &[], |dir| {
        let done = Exec::new(dir, "ledger").sh("exit 0");
        done.succeeded();
        let segment = only_segment(&done.ledger);
        let whole = fs::read(&segment).unwrap();
        fs::write(&segment, &whole[..whole.len() - 20]).unwrap();
        let again = Exec::new(dir, "ledger").sh("exit 0");
        // The head says more: no crash does this, and nothing may be written over it.
        says((again.code, again.err), 125, &[done.ledger.to_str().unwrap(), "shorter"]);
        assert_eq!(fs::read(&segment).unwrap(), whole[..whole.len() - 20]);
        let (code, text) = verify(&done.ledger, &done.key);
        assert_eq!(code, 13, "{text}");
    });
}

/// A filesystem of its own, of a few megabytes.
struct Small(PathBuf);

impl Small {
    fn mount(place: &Path) -> Small {
        fs::create_dir(place).unwrap();
        assert!(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
                .arg(place)
                .status()
                .unwrap()
                .success()
        );
        Small(place.to_owned())
    }

    fn grow(&self) {
        assert!(Command::new("mount").args(["-o", "remount,size=256m"]).arg(&self.0).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_loses_nothing_silently() {
    native("a_full_disk_loses_nothing_silently", &["mount", "umount"], |dir| {
        let small = Small::mount(&dir.join("small"));
        let ledger = dir.join("small/ledger");
        let daemon = Daemon::start(dir, &ledger);
        // More than fits on the disk and in memory; the agent is over before there is room again.
        let script = "i=0; while [ $i -lt 16000 ]; do true < /no/such/file/$i; i=$((i+1)); done 2>/dev/null; true";
        let (code, text) = by_root(&["exec", "--name", "many", "--", "sh", "-c", script]);
        assert_eq!(code, 0, "{text}");
        assert!(daemon.said().contains("make room on the disk"), "{}", daemon.said());
        small.grow();
        assert_eq!(daemon.stop(), 0);
        let (code, text) = verify(&ledger, &dir.key());
        assert_eq!(code, 0, "{text}");
        let told = Ledger::read(&ledger);
        let stop =
            told.others.iter().map(|(_, data)| data).find(|data| data["kind"] == "stop").expect("how the agent ended");
        let (made, lost) = (stop["attempts"].as_u64().unwrap(), told.declared_lost());
        let recorded = u64::try_from(told.attempts.len()).unwrap();
        println!("{made} made, {recorded} recorded, {lost} declared lost");
        assert!(lost > 1000, "the disk was not full: the test tests nothing");
        assert_eq!(recorded + lost, made);
    });
}

/// A command under the daemon that never ends by itself.
struct Load(Child);

impl Load {
    fn start() -> Load {
        let script = "while :; do true < /etc/hostname; cat /no/such/file; done 2>/dev/null";
        let mut command = Command::new(rgt());
        command.args(["exec", "--name", "load", "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Load(command.process_group(0).spawn().unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // SAFETY: kill(2) takes integers; the group was made for this child, which has not been awaited.
        unsafe { libc::kill(-libc::pid_t::try_from(self.0.id()).unwrap(), libc::SIGKILL) };
        let _ = self.0.wait();
    }
}

fn random() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

#[test]
fn a_killed_daemons_ledger_is_whole() {
    native("a_killed_daemons_ledger_is_whole", &[], |dir| {
        let seed = std::env::var("RGT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(random);
        let ledger = dir.join("ledger");
        for round in 0..3_u64 {
            let mut daemon = Daemon::start(dir, &ledger);
            let before = size(&ledger);
            let load = Load::start();
            wait_for("records", || (size(&ledger) > before + 20_000).then_some(()));
            let wait = (seed ^ (seed >> 7)).wrapping_mul(round * 2 + 1) % 400;
            thread::sleep(Duration::from_millis(wait));
            daemon.kill();
            drop(load);
            let written = size(&ledger);
            assert_eq!(Daemon::start(dir, &ledger).stop(), 0, "round {round}");
            let (code, text) = verify(&ledger, &dir.key());
            assert_eq!(code, 0, "round {round}, killed after {wait} ms: {text}");
            println!("killed after {wait} ms under load, {written} bytes written: {}", text.trim().replace('\n', "; "));
        }
        let all = Ledger::read(&ledger);
        let opens = all.others.iter().filter(|(_, data)| data["kind"] == "open").count();
        assert_eq!(opens, 6, "one record for each start");
        assert!(all.attempts.len() > 100);
    });
}

#[test]
fn without_the_kernels_types() {
    native("without_the_kernels_types", &["unshare", "mount", "timeout"], |_| {
        // An empty directory in the place of the kernel's types, in a mount namespace of its own.
        let script = "mount -t tmpfs tmpfs /sys/kernel/btf && exec \"$0\" \"$@\"";
        for (args, parts) in [
            (&["doctor"][..], &["missing", "CONFIG_DEBUG_INFO_BTF", "mode: none"][..]),
            (&["run"], &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"]),
        ] {
            let rgt = rgt();
            let found = wait_for("a look without other daemons", || {
                let shell = ["unshare", "-m", "--propagation", "private", "sh", "-c", script].map(OsStr::new);
                let found = told(shell.into_iter().chain([rgt.as_os_str()]).chain(args.iter().map(OsStr::new)));
                (!found.1.contains("a daemon runs already")).then_some(found)
            });
            says(found, 1, parts);
        }
    });
}
