//! See `sockeye_sim::fuzz::engine_v3::binary`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::engine_v3::binary(data));
