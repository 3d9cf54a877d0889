//! See `sockeye_sim::fuzz::import_haproxy`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::import_haproxy(data));
