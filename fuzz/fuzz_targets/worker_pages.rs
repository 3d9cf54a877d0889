//! See `sockeye_sim::fuzz::link::pages`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::link::pages(data));
