#![no_main]
//! See `sockeye_sim::fuzz::http_head`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::http_head(data));
