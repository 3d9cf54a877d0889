//! See `sockeye_sim::fuzz::proxy_header`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::proxy_header(data));
