//! The words that the kernel side and the daemon both speak. No logic that only one side needs.
#![cfg_attr(not(any(feature = "std", test)), no_std)]

pub mod action;
pub mod answer;
pub mod contents;
pub mod event;
pub mod guard;
pub mod hash;
pub mod layout;
pub mod numbers;
pub mod syscalls;
pub mod table;
