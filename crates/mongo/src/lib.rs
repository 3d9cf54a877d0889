//! Socket.IO nodes that speak to each other through MongoDB, on the wire of `@socket.io/mongo-adapter` 0.4: a document a message in one
//! collection, heard by a change stream, or by a cursor at the end of a capped collection.
//!
//! [`Mongo`] is an [`Adapter`](sockeye_cluster::adapter::Adapter). It decides nothing: who is alive, what an answer means and when a
//! request is over is [`Node`](sockeye_cluster::Node)'s.
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
//! # Two collections, two ways to hear them
//!
//! | URL | documents end | heard by | wants | Node.js servers beside it |
//! | --- | --- | --- | --- | --- |
//! | (nothing) | by a time-to-live index on `createdAt` ([`Config::kept`]) | a change stream | a replica set, of one server if need be | `addCreatedAtField: true` |
//! | `created_at=false` | where a capped collection is full ([`Config::capped_bytes`]) | a change stream | the same | without that option |
//! | `mode=tailable` | the same | a cursor that waits at its end | any server | without that option; a replica set, since they hear by change streams alone |
//!
//! The official adapter chooses by `addCreatedAtField`, ours by `created_at`; all nodes choose the same. Nodes of the last two rows hear each other. The collection is made where there is none. One
//! that is there stays as it is: a cursor on one that is not capped is refused, and in one that is not capped documents without `createdAt` never end.
//!
//! # What is kept, and in which order
//!
//! An event's offset is its `_id`, as officially. But `_id`s are made by whoever publishes, and within a second say nothing of an order. The official adapter goes by
//! them all the same, and so repeats or loses events of that second. Here the order is that of the change stream, or of insertion: a node remembers
//! what it heard ([`LOG_EVENTS_MAX`], [`LOG_BYTES_MAX`]); for a client that comes with an older offset it reads again, with a change stream from a
//! place that was written down with the session, with a cursor from the event itself. What cannot be promised is not given: the client begins anew.
//!
//! In a capped collection no session is deleted. It gets a tombstone, as officially; of several nodes that want it the one whose tombstone was inserted first has it.
//! (A Node.js server looks before it writes one: it may take a session twice.) Each change of a session is one document more.
//!
//! # What is lost, and when
//!
//! - A connection that was lost goes on from its place: nothing is lost while the server's oplog, or the capped collection, reaches back so far. Otherwise the
//!   channel hears `Arrival::Resumed { whole: false }`.
//! - By a change stream a session that a Node.js server wrote goes on here only while this node remembers the client's offset: it says no place in the stream. By a cursor it does
//!   while the event is in the collection.
//! - To take a session costs a small insertion, by which the node knows that it has heard everything before; in a capped collection one more, and the server reads all of the collection for it.
//! - A node that begins, and one that lost its connection, reads all of a capped collection by its cursor, to find its place.
//! - This was run with a server that speaks MongoDB's protocol (`nx-27017`) and with the official packages beside it, not with a mongod. Capped collections and tailable cursors are not that server's: they are laid
//!   over it by a file of our tests (`tests/python/mongo_capped.py`), after MongoDB's manual.
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
mod source;
mod stream;
mod values;

pub use adapter::Mongo;
pub use config::{Config, ConfigError, Mode};
pub use log::{LOG_BYTES_MAX, LOG_EVENTS_MAX};
