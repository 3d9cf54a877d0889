//! See `sockeye_sim::fuzz::edge_answer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::edge_answer(data));
