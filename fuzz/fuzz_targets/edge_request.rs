//! See `sockeye_sim::fuzz::edge_request`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::edge_request(data));
