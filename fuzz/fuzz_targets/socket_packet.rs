//! See `sockeye_sim::fuzz::socket_packet`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::socket_packet(data));
