//! See `sockeye_sim::fuzz::ws_client`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::ws_client(data));
