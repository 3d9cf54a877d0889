//! See `sockeye_sim::fuzz::socket_event`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::socket_event(data));
