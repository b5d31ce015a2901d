//! Enforcement that outlives the daemon, policies replaced under agents that run, and approvals: one boot each.

use rgt_tests::{
    machine,
    machine::{Done, Missing, Mode, Told, boot_with},
};

#[path = "vm/approve.rs"]
mod approve;
#[path = "vm/swap.rs"]
mod swap;

use approve::asks_for_approval;
use swap::{a_bad_policy_changes_nothing, follows_host_names, reads_policies_again, swaps_under_load};

/// Enforcement that outlives the daemon: a boot of its own.
macro_rules! survivors {
    ($($name:ident: $kernel:literal, $mode:expr;)+) => {
        $(machine!($name, $kernel, $mode, survive, [
            refuses_while_daemons_die,
            accounts_for_what_was_missed,
            outlives_a_clean_end,
            unloads_without_a_daemon,
            leaves_no_pin,
            goes_on_as_it_stood,
            swaps_under_load,
            a_bad_policy_changes_nothing,
            reads_policies_again,
            follows_host_names,
            asks_for_approval,
        ]);)+
    };
}

/// How often the daemon is killed.
fn kills() -> &'static str {
    if rgt_tests::vm::full() { "50" } else { "3" }
}

/// How often a policy is replaced under load.
fn swaps() -> &'static str {
    if rgt_tests::vm::full() { "300" } else { "20" }
}

fn survive(kernel: &str, mode: Mode) -> Result<Told, Missing> {
    // One kernel for each way of saying no.
    if !rgt_tests::vm::full() && !matches!((kernel, mode), ("6.1", Mode::FmodRet) | ("6.12", Mode::Lsm)) {
        return Err(Missing::Skipped("only with --full".to_owned()));
    }
    boot_with(kernel, mode, "survive", &[], &[kills(), swaps()])
}

survivors! {
    survive_lsm_6_1: "6.1", Mode::Lsm;
    survive_fmod_ret_6_1: "6.1", Mode::FmodRet;
    survive_lsm_6_12: "6.12", Mode::Lsm;
    survive_fmod_ret_6_12: "6.12", Mode::FmodRet;
}

fn number(told: &Told, fact: &str) -> u64 {
    told.fact(fact).parse().unwrap_or_else(|_| panic!("{fact}: {}", told.fact(fact)))
}

/// A daemon is killed again and again, at work and in its start: nothing is ever deleted.
fn refuses_while_daemons_die(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("pinned"), "yes");
    assert_eq!(told.fact("killed"), kills(), "{}", told.fact("adopted"));
    assert_eq!(told.fact("alone"), "refused");
    assert_eq!(told.fact("gone"), "0", "deletions got by");
    assert_eq!(told.fact("left"), "4");
    assert_eq!(told.fact("ready again"), "0");
    assert!(told.fact("agents").contains("survivor"), "{}", told.fact("agents"));
    assert_eq!(told.fact("generations"), "1");
    assert!(number(told, "attempted") > 100, "{}", told.fact("attempted"));
    Ok(())
}

/// Every attempt is recorded or declared lost. A kill between the two may do both.
fn accounts_for_what_was_missed(told: &Told, _: &str, _: Mode) -> Done {
    let (attempted, recorded, missed) = (number(told, "attempted"), number(told, "recorded"), number(told, "missed"));
    assert!(recorded + missed >= attempted, "{recorded} recorded, {missed} declared lost, {attempted} attempted");
    // At its end a daemon that reads loses next to nothing: most of it is recorded.
    assert!(recorded * 2 > attempted, "{recorded} recorded of {attempted}");
    assert_eq!(told.fact("verify survive"), "0");
    assert_eq!(told.fact("adoptions"), "yes");
    Ok(())
}

fn outlives_a_clean_end(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("after a clean end"), "yes");
    assert_eq!(told.fact("again"), "refused");
    assert_eq!(told.fact("agents afterwards"), "0");
    Ok(())
}

fn unloads_without_a_daemon(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("refused before unload"), "1");
    assert_eq!(told.fact("agent's own unload"), "1", "an agent may not end its own governance");
    assert_eq!(told.fact("unload"), "0");
    assert_eq!(told.fact("pins after unload"), "0");
    assert_eq!(told.fact("directory after unload"), "0");
    assert_eq!(told.fact("refused after unload"), "0");
    assert_eq!(told.fact("unload of nothing"), "0", "it is off already");
    Ok(())
}

fn leaves_no_pin(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("pinned at the end"), "0");
    assert_eq!(told.fact("state at the end"), "0");
    assert_eq!(told.fact("exec refused"), "1");
    assert_eq!(told.fact("pins after exec"), "0");
    Ok(())
}

/// Score, labels, counts, and what was written: none of it is anew because a daemon died.
fn goes_on_as_it_stood(told: &Told, _: &str, _: Mode) -> Done {
    assert_eq!(told.fact("stood counted before"), "2");
    assert_eq!(told.fact("stood own before"), "refused");
    assert!(number(told, "stood score") >= 60, "{}", told.fact("stood score"));
    assert_eq!(told.fact("stood cool"), "0", "refused above a score of 60");
    assert_eq!(told.fact("stood labelled"), "0");
    assert_eq!(told.fact("stood counted after"), "1", "three in all");
    assert_eq!(told.fact("stood own after"), "refused");
    assert_eq!(told.fact("stood other"), "runs");
    // What its shell holds, which the next daemon had from the one before.
    for (what, came) in [("made before", "made"), ("other made", "refused"), ("made after", "made")] {
        assert_eq!(told.fact(&format!("stood {what}")), came, "{what}");
    }
    // What its resolver was answered before, and what it is answered now.
    for (what, came) in [
        ("host before", "connected"),
        ("host after", "connected"),
        ("unasked after", "13"),
        ("asked after", "connected"),
    ] {
        assert_eq!(told.fact(&format!("stood {what}")), came, "{what}");
    }
    Ok(())
}
