//! Every kernel of the matrix, by fmod_ret: one boot each, and what must be true of it.

#[macro_use]
#[path = "vm/checks.rs"]
mod checks;

use checks::*;
use rgt_tests::machine::Mode;

machines! {
    fmod_ret_5_10: "5.10", Mode::FmodRet;
    fmod_ret_6_1: "6.1", Mode::FmodRet;
    fmod_ret_6_12: "6.12", Mode::FmodRet;
    fmod_ret_7_2: "7.2", Mode::FmodRet;
}
