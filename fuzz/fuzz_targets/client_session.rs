//! See `sockeye_client::fuzz::session`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sockeye_sim::fuzz::client_session(data));
