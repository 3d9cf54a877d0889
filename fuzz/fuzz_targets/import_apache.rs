//! See `sockeye_sim::fuzz::import_apache`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::import_apache(data));
