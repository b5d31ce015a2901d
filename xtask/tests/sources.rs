//! What holds of the project's own sources.

use std::path::Path;
use std::process::Command;

/// `rustfmt.toml` says how; the kernel side is a workspace of its own.
#[test]
fn sources_are_formatted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for workspace in [root, &root.join("sensor-ebpf")] {
        let output = Command::new("cargo").args(["fmt", "--all", "--check"]).current_dir(workspace).output().unwrap();
        let trouble = String::from_utf8_lossy(&output.stderr);
        if trouble.contains("no such command") || trouble.contains("is not installed") {
            return println!("SKIP sources_are_formatted: no rustfmt here (`rustup component add rustfmt`)");
        }
        let differences = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "run `cargo fmt --all` in {}: {trouble}{differences}", workspace.display());
    }
}
