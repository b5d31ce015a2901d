//! The binary on this machine's own kernel, as root: `rgt exec`, real programs, real ledgers.

#[path = "native/attribution.rs"]
mod attribution;
#[path = "native/contract.rs"]
mod contract;
#[path = "native/oracle.rs"]
mod oracle;
