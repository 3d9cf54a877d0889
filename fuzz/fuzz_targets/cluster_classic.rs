//! See `sockeye_sim::fuzz::cluster::classic`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::cluster::classic(data));
