//! A stream of events, cut anywhere.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::proxy::fuzzing::events(bytes));
