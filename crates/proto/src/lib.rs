//! Engine.IO, Socket.IO and WebSocket as values and machines: bytes in, decisions out.
//!
//! Nothing here opens a socket, reads a clock, spawns a task or draws a random number: callers pass
//! time, randomness and bytes. What is absent: JSON *values* (payloads stay raw text until somebody
//! asks for a type, see [`payload`]), and every policy that concerns more than one client.
//!
//! ```
//! use sockeye_proto::engine::{Content, Packet};
//!
//! assert_eq!(Packet::decode_text("4hello"), Ok(Packet::Message(Content::Text("hello"))));
//! ```

pub mod engine;
pub mod http;
pub mod json;
pub mod msgpack;
pub mod payload;
pub mod proxy_header;
pub mod sid;
pub mod socket;
pub mod ws;

pub use proxy_header::ProxyHeader;
pub use sid::{Sid, Tag};
