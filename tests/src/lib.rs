//! Tests that need a kernel, a VM or a real server.
