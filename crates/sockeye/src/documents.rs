//! The Rust of the README and of `docs/`, compiled with the documentation tests so that it stays true.

#![doc = include_str!("../../../README.md")]
#![doc = include_str!("../../../docs/library.md")]
#![doc = include_str!("../../../docs/admin.md")]
