//! A request body, and the bootstrap fields spliced into it.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::proxy::fuzzing::request(bytes));
