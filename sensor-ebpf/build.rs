//! The getters are compiled by `cargo xtask build` and linked in: a change there means a new link.

fn main() {
    println!("cargo:rerun-if-changed=src/getters.c");
    println!("cargo:rerun-if-changed=src");
}
