//! See `sockeye_sim::fuzz::cluster::envelope`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::cluster::envelope(data));
