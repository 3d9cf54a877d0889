//! Engine.IO v3, as socket.io-client 2 speaks it: packets, payloads, JSONP.
//!
//! The packets mean what those of v4 mean, so they are [`super::Packet`]s; only their bytes differ. Absent: the heartbeat,
//! whose direction is [`super::session::Session`]'s business.
//!
//! ```
//! use sockeye_proto::engine::{Content, Packet, v3};
//!
//! let packets: Result<Vec<_>, _> = v3::payload::decode_text("2:4€6:2probe").collect();
//! assert_eq!(packets, Ok(vec![Packet::Message(Content::Text("€")), Packet::Ping("probe")]));
//! ```

pub mod jsonp;
pub mod packet;
pub mod payload;

pub use jsonp::Jsonp;
