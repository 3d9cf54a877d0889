//! See `sockeye_sim::fuzz::cluster::presence`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::cluster::presence(data));
