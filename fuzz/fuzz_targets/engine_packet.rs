#![no_main]
//! See `sockeye_sim::fuzz::engine_packet`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::engine_packet(data));
