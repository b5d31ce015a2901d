//! Is this ledger whole, and is it what was written?
