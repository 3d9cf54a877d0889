//! See `sockeye_sim::fuzz::settings_file`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::settings_file(data));
