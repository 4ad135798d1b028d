//! A chunked body, cut anywhere.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::upstream::fuzzing::chunked(bytes));
