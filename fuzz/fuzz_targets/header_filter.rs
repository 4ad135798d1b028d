//! Headers of clients and workers.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| adaptive_router::proxy::fuzzing::header_filter(bytes));
