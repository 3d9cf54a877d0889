//! What users say and hear: any `serde` type, a tuple for several arguments, [`bytes::Bytes`] for binary anywhere inside.
//!
//! JSON is written once and read only when a handler asks for a type; until then arguments stay as they came ([`Args`]).
//! Absent: event names, and who may say what.

mod args;
mod binary;
mod decode;
mod encode;
mod raw;
mod shape;

pub use args::Args;
pub use decode::FromArgs;
pub use encode::Payload;
