//! The recent actions of one run.
