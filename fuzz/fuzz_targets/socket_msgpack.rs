//! See `sockeye_sim::fuzz::dialects::socket_msgpack`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::dialects::socket_msgpack(data));
