//! A cluster file.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::cluster::fuzzing::file(bytes));
