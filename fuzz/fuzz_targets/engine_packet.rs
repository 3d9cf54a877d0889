//! See `sockeye_sim::fuzz::engine_packet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::engine_packet(data));
