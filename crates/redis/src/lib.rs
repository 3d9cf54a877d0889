//! Servers that share rooms and events through Redis, with or without Node.js beside them.
//!
//! Three adapters, each in the format of an official one, so that servers and emitters in Node.js take part:
//!
//! | adapter | official one | kept across a lost connection | Redis |
//! | --- | --- | --- | --- |
//! | [`Classic`] | `createAdapter` of `@socket.io/redis-adapter` 8 | nothing | 6 |
//! | [`Sharded`] | `createShardedAdapter` of the same | nothing | 7 |
//! | [`Streams`] | `@socket.io/redis-streams-adapter` 0.3 | events and sessions, as long as the stream is | 6.2, better 7 |
//!
//! ```no_run
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! use sockeye_redis::Address;
//!
//! let adapter = "redis+sharded://10.0.0.7:6379?mode=dynamic".parse::<Address>()?.into_adapter();
//! # Ok(()) }
//! ```
//!
//! A single server, a Redis Cluster (several addresses) and sentinels ([`Kind`]); TLS by rustls. Connections are made when a channel is
//! opened and kept by the adapter, for all of its channels: one for commands, one that listens, one for each stream. All speak RESP3.
//!
//! The official options `requestsTimeout` and `heartbeat…` have no counterpart here: who waits for answers decides how long.

mod address;
mod classic;
mod connection;
mod glob;
mod ids;
pub mod limits;
mod link;
mod place;
mod publisher;
mod routes;
mod server;
mod sharded;
mod streams;
mod subscriber;

pub use address::{Address, AddressError};
pub use classic::{Classic, ClassicOptions};
pub use server::{Kind, Server, Tls};
pub use sharded::{Mode, Sharded, ShardedOptions};
pub use streams::{REPLAY_ENTRIES_MAX, Streams, StreamsOptions};
