//! Compression of WebSocket messages (permessage-deflate, RFC 7692): the settings, as
//! [`Config::per_message_deflate`](crate::Config::per_message_deflate) takes them.
//!
//! The official server's advice holds: leave it off unless bandwidth is dear. By default each message is compressed on its own, once
//! for all recipients of a broadcast; a connection then keeps nothing between messages.
//!
//! ```
//! use sockeye::deflate::DeflateConfig;
//! use sockeye::{Config, Server};
//!
//! let per_message_deflate = Some(DeflateConfig { threshold: 4096, ..DeflateConfig::default() });
//! let io = Server::new(Config { per_message_deflate, ..Config::default() });
//! ```

pub use sockeye_proto::ws::deflate::{DeflateConfig, Limit, Window};
