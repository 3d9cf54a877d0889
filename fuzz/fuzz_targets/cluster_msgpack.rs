//! See `sockeye_sim::fuzz::cluster::msgpack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::cluster::msgpack(data));
