//! See `sockeye_sim::fuzz::cluster::mesh_word`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::cluster::mesh_word(data));
