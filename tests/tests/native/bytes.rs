//! Names of any bytes, in the agent's calls and in the record.

use rgt_tests::native::{Exec, Ledger, native};

/// Reads names from standard input, each ended by NUL, and opens each.
const OPENER: &str = r#"
import os, sys
names = open(sys.argv[1], "rb").read().split(b"\0")[:-1]
for name in names:
    try: os.close(os.open(name, os.O_RDONLY))
    except OSError as error: print(error.errno)
"#;

fn opened(dir: &rgt_tests::native::Dir, names: &[Vec<u8>]) -> (Ledger, Vec<i64>) {
    let (script, list) = (dir.join("opener.py"), dir.join("names"));
    std::fs::write(&script, OPENER).unwrap();
    std::fs::write(&list, names.iter().flat_map(|name| [name.as_slice(), b"\0"].concat()).collect::<Vec<u8>>())
        .unwrap();
    let python = rgt_tests::native::program("python3").unwrap();
    let done = Exec::new(dir, "ledger").run([python.as_os_str(), script.as_os_str(), list.as_os_str()]);
    let results = done.out.lines().map(|line| -line.parse::<i64>().unwrap()).collect();
    (done.succeeded(), results)
}

#[test]
fn odd_bytes_in_paths() {
    native("odd_bytes_in_paths", &[], |dir| {
        let long = |length: usize| {
            let mut name = b"/odd".to_vec();
            while name.len() < length {
                name.extend_from_slice(format!("/{length:0>99}").as_bytes());
            }
            name.truncate(length);
            name
        };
        let mut names: Vec<Vec<u8>> = [
            &b"/odd/new\nline"[..],
            b"/odd/'single' \"double\" `back`",
            b"/odd/<&>",
            b"/odd/100%",
            b"/odd/%41%zz%",
            b"/odd/back\\slash\\n\\u0000",
            b"/odd/\x7f",
            b"/odd/\xff\xfe\x80 not UTF-8",
            b"/odd/\xc3\xa4 \xe2\x82\xac \xf0\x9f\xa6\x80",
            b"/odd/\xed\xa0\x80 surrogate",
            b"/odd/tab\tcr\rbell\x07esc\x1b[31m",
            b" ",
            b"",
            b"/odd/{\"a\":null}",
            b"/odd/./../odd//twice",
        ]
        .map(<[u8]>::to_vec)
        .into();
        names.push([b"/odd/".to_vec(), (1..=255).filter(|byte| *byte != b'/').collect()].concat());
        // One byte each, so that each is seen to come back.
        names.extend((1..=255).map(|byte| vec![b'/', b'o', b'd', b'd', b'-', byte]));
        for length in [255, 256, 257, 511, 512, 1023, 1024, 2047, 2048, 4094, 4095, 4096, 5000] {
            names.push(long(length));
        }
        let (ledger, results) = opened(dir, &names);
        assert_eq!(results.len(), names.len());
        let mut whole = 0;
        for (name, result) in names.iter().zip(&results) {
            if name.len() >= 4096 {
                continue;
            }
            let found = ledger.find("openat", name);
            let shown = String::from_utf8_lossy(&name[..name.len().min(80)]).into_owned();
            assert_eq!(found.len(), 1, "{} bytes, {shown:?}", name.len());
            assert_eq!(found[0].result, Some(*result), "{shown:?}");
            assert!(found[0].incomplete.is_empty(), "{:?}", found[0].incomplete);
            whole += 1;
        }
        // The kernel takes no more than 4,095: refused, recorded with what there is of it.
        let refused: Vec<_> = ledger.attempts.iter().filter(|each| each.result == Some(-36)).collect();
        let too_long = results.iter().filter(|result| **result == -36).count();
        assert_eq!(refused.len(), too_long, "ENAMETOOLONG");
        for each in refused.iter().filter(|each| each.argument.as_ref().is_some_and(|name| name.len() > 4000)) {
            println!(
                "longer than the kernel takes: {} bytes recorded, incomplete {:?}",
                each.argument.as_ref().unwrap().len(),
                each.incomplete
            );
        }
        println!(
            "{whole} odd names came back byte for byte, of 4,095 bytes too; {too_long} too long for the kernel are recorded"
        );
    });
}

#[test]
fn odd_bytes_elsewhere() {
    native("odd_bytes_elsewhere", &[], |dir| {
        let script = r#"
import os, socket
def refused(call, *args):
    try: call(*args)
    except OSError: pass
refused(os.rename, b"/odd/one\n\xff", b"/odd/two\"%<&>")
refused(os.symlink, b"target \x80\x7f", b"/odd/none/link\n")
refused(socket.socket(socket.AF_UNIX).connect, b"/odd/socket\n\xff%")
refused(socket.socket(socket.AF_UNIX).connect, b"\0odd\n\xff\0%")
refused(os.execv, b"/odd/program\xff", [b"argv\n0", b"", b"\xff\x7f%\"<&>", "ü".encode()])
os.mkdir(b"dir \xff\n"); os.rmdir(b"dir \xff\n")
"#;
        let file = dir.join("script.py");
        std::fs::write(&file, script).unwrap();
        let python = rgt_tests::native::program("python3").unwrap();
        let ledger = Exec::new(dir, "ledger").run([python.as_os_str(), file.as_os_str()]).succeeded();
        let renamed = ledger.one("rename", b"/odd/one\n\xff");
        assert_eq!(renamed.argument2.as_deref(), Some(&b"/odd/two\"%<&>"[..]));
        let linked = ledger.one("symlink", b"target \x80\x7f");
        assert_eq!(linked.argument2.as_deref(), Some(&b"/odd/none/link\n"[..]));
        ledger.one("connect", b"/odd/socket\n\xff%");
        ledger.one("connect", b"@odd\n\xff\0%");
        let program = ledger.one("execve", b"/odd/program\xff");
        assert_eq!(program.argv, [&b"argv\n0"[..], b"", b"\xff\x7f%\"<&>", "ü".as_bytes()]);
        assert_eq!(ledger.one("mkdir", b"dir \xff\n").result, Some(0));
        assert_eq!(ledger.one("rmdir", b"dir \xff\n").result, Some(0));
    });
}
