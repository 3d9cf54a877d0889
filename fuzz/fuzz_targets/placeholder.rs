#![no_main]
//! See `sockeye_sim::fuzz::placeholders`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::placeholders(data));
