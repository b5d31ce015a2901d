//! What `strace -f -xx` says.
