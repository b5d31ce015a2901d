//! Embeds the kernel side: the object that `cargo xtask build` made, or none.

use std::{env, fs, path::PathBuf};

fn main() {
    println!("cargo:rerun-if-env-changed=RGT_EBPF_OBJECT");
    let default = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../target/rgt-ebpf.o");
    let object = env::var_os("RGT_EBPF_OBJECT").map_or(default, PathBuf::from);
    println!("cargo:rerun-if-changed={}", object.display());
    // Without it the crate still builds: its host tests need no kernel; `Sensor::load` says what is missing.
    let bytes = fs::read(&object).unwrap_or_default();
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("rgt-ebpf.o");
    if let Err(error) = fs::write(&out, bytes) {
        println!("cargo:warning=cannot write {}: {error}", out.display());
    }
}
