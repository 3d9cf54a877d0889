//! Servers that share rooms and events through Redis, with or without Node.js beside them.

mod classic;
mod connection;
mod counters;
mod glob;
mod ids;
pub mod limits;
mod link;
mod place;
mod routes;
mod server;
mod sharded;
mod subscriber;

pub use classic::{Classic, ClassicOptions};
pub use server::{Kind, Server, Tls};
pub use sharded::{Mode, Sharded, ShardedOptions};
