//! See `sockeye_sim::fuzz::sid`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::sid(data));
