//! `lookup_only OBJECT HOOK…`: attaches the tracepoints of `tests/bench/lookup.c` and those of its hooks that are
//! named, says so, and keeps them until its standard input ends. For `cargo xtask bench` alone.

use std::io::{self, Read as _};

use anyhow::{Context as _, Result};
use aya::programs::{Lsm, ProgramError, RawTracePoint};
use aya::{Btf, Ebpf};

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let object = arguments.next().context("lookup_only OBJECT HOOK…")?;
    let hooks: Vec<String> = arguments.collect();
    let types = Btf::from_sys_fs()?;
    let mut object = Ebpf::load_file(&object).with_context(|| object.clone())?;
    let mut attached = 0;
    for (name, program) in object.programs_mut() {
        if let Some(tracepoint) = name.strip_prefix("on_") {
            let program: &mut RawTracePoint = program.try_into()?;
            program.load()?;
            program.attach(tracepoint)?;
        } else if hooks.iter().any(|hook| hook == name) {
            let program: &mut Lsm = program.try_into()?;
            let loaded: Result<(), ProgramError> = program.load(name, &types);
            loaded.with_context(|| name.to_owned())?;
            program.attach()?;
        } else {
            continue;
        }
        attached += 1;
    }
    println!("attached {attached}");
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
