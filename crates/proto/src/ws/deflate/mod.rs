//! Compression of messages: permessage-deflate, RFC 7692, both halves.
//!
//! A handshake is settled by [`DeflateConfig::answer`] (server) or [`DeflateConfig::offer`] and [`DeflateConfig::accept`]
//! (client); what both sides then hold to is an [`Agreement`]. A [`Decoder`](super::Decoder) is told of it once and hands
//! out inflated messages; a [`Compressor`] or a [`Deflater`] makes the payloads of frames that go out, and
//! [`encoder::deflated_frame`](super::encoder::deflated_frame) the frames.
//!
//! Nothing here knows which messages are worth it: small ones ([`DeflateConfig::threshold`]) and those that an application
//! marked are the caller's to send plain.

pub mod agreement;
pub mod answer;
pub mod budget;
pub mod compress;
pub mod config;
pub mod grammar;
pub(super) mod inflate;
pub mod offer;
mod params;
pub mod window;

pub use agreement::{Agreement, Role};
pub use answer::AnswerError;
pub use budget::{Budget, Lease};
pub use compress::{Compressor, Deflater};
pub use config::{DeflateConfig, Limit};
pub use offer::Answer;
pub use window::Window;

/// What a compressed message ends with before it is sent, and again before it is inflated: RFC 7692 §7.2.1.
const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];
