//! See `sockeye_sim::fuzz::files::doctor`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::files::doctor(data));
