//! See `sockeye_sim::fuzz::deflate::offer`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::deflate::offer(data));
