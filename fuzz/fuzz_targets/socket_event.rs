#![no_main]
//! See `sockeye_sim::fuzz::socket_event`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::socket_event(data));
