//! A configuration file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::config::fuzzing::file(bytes));
