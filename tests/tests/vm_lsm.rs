//! Every kernel of the matrix, by BPF LSM: one boot each, and what must be true of it.

#[macro_use]
#[path = "vm/checks.rs"]
mod checks;

use checks::*;
use rgt_tests::machine::Mode;

machines! {
    lsm_5_10: "5.10", Mode::Lsm;
    lsm_6_1: "6.1", Mode::Lsm;
    lsm_6_12: "6.12", Mode::Lsm;
    lsm_7_2: "7.2", Mode::Lsm;
}
