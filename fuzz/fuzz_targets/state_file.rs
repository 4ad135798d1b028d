//! A state file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::launch::process::fuzzing::state_file(bytes));
