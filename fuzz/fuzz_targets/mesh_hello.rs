//! See `sockeye_sim::fuzz::cluster::mesh_hello`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::cluster::mesh_hello(data));
