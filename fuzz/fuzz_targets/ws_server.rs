#![no_main]
//! See `sockeye_sim::fuzz::ws_server`.

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::ws_server(data));
