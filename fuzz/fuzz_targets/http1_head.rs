//! The head of a worker's answer.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::upstream::fuzzing::head(bytes));
