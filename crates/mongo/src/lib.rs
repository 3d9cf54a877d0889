//! Socket.IO nodes that speak to each other through MongoDB, on the wire of `@socket.io/mongo-adapter` 0.4: a document a message in one
//! collection, heard by a change stream.
//!
//! [`Mongo`] is an [`Adapter`](sockeye_cluster::adapter::Adapter). It decides nothing: who is alive, what an answer means and when a
//! request is over is [`Node`](sockeye_cluster::Node)'s. A change stream needs a replica set (of one server, if need be).
//!
//! ```no_run
//! # async fn f() -> Result<(), sockeye_mongo::ConfigError> {
//! use sockeye_mongo::{Config, Mongo};
//!
//! let config = Config::from_url("mongodb://db.example/app?collection=socket_io_events&recovery=true").await?;
//! let adapter = Mongo::new(config);
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept, and in which order
//!
//! Documents end by the time-to-live index on `createdAt` ([`Config::kept`]); Node.js servers have to be given `addCreatedAtField: true`. A
//! collection that is capped does as well, without recovery.
//!
//! An event's offset is its `_id`, as officially. But `_id`s are made by whoever publishes, and within a second say nothing of an order. The official adapter goes by
//! them all the same, and so repeats or loses events of that second. Here the order is that of the change stream: a node remembers
//! what it heard ([`LOG_EVENTS_MAX`], [`LOG_BYTES_MAX`]); for a client that comes with an older offset it reads the stream again, from a
//! place that was written down with the session. What cannot be promised is not given: the client begins anew.
//!
//! # What is lost, and when
//!
//! - A connection that was lost goes on from its place in the stream: nothing is lost while the server's oplog reaches back so far. Otherwise the
//!   channel hears `Arrival::Resumed { whole: false }`.
//! - A session that a Node.js server wrote goes on here only while this node remembers the client's offset: it says no place in the stream.
//! - To take a session costs a small insertion, by which the node knows that it has heard everything before.
//! - This was run with a server that speaks MongoDB's protocol (`nx-27017`) and with the official packages beside it, not with a mongod. Tailable cursors
//!   (capped collections without a replica set) are not there.
//! - Where a server leaves, official servers notice by its silence (10 s); ours are told, by a document of type 14, which official ones pass over.

mod adapter;
mod channel;
mod config;
mod document;
mod failure;
mod house;
mod log;
mod members;
mod sessions;
mod stream;
mod values;

pub use adapter::Mongo;
pub use config::{Config, ConfigError};
pub use log::{LOG_BYTES_MAX, LOG_EVENTS_MAX};
