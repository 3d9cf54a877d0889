//! See `sockeye_sim::fuzz::engine_opened`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::engine_opened(data));
