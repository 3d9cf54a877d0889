//! See `sockeye_sim::fuzz::http_head`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::http_head(data));
