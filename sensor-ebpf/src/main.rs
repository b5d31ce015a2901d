//! The kernel side of rgt.
//!
//! capture → who → slot → args, name → emit. Programs are in `capture`, `lineage` and the hooks' files (`open`,
//! `make`, `remove`, `attr`, …); the rest are functions they call.
#![no_std]
#![no_main]

mod ancillary;
mod answers;
mod args;
mod at_once;
mod attr;
mod automaton;
mod broker;
mod btrfs;
mod call;
mod capability;
mod capture;
mod contents;
mod dentry;
mod descriptor;
mod emit;
mod exec;
mod file;
mod followed;
mod found;
mod guard;
mod judge;
mod kernel;
mod limits;
mod lineage;
mod make;
mod maps;
mod name;
mod net;
mod open;
mod process;
mod program;
mod remove;
mod rules;
mod section;
mod slot;
mod system;
mod turn;
mod unix;
mod walk;
mod watch;
mod who;
mod written;

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    // SAFETY: no program can panic: arithmetic wraps in release and nothing indexes unchecked.
    unsafe { core::hint::unreachable_unchecked() }
}
