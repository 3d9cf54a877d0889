//! See `sockeye_sim::fuzz::ws_server`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::ws_server(data));
