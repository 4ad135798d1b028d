//! The load generator against simulated workers on real sockets.

mod program;
mod runs;
mod support;
