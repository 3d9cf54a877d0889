//! Socket.IO nodes that speak to each other through PostgreSQL, on the wire of `@socket.io/postgres-adapter` 0.5: `LISTEN`, `NOTIFY`,
//! and a table for what is binary or too long to be notified.
//!
//! [`Postgres`] is an [`Adapter`](sockeye_cluster::adapter::Adapter). It decides nothing: who is alive, what an answer means and when a
//! request is over is [`Node`](sockeye_cluster::Node)'s.
//!
//! ```no_run
//! use sockeye_postgres::{Config, Postgres};
//!
//! let config = Config::from_url("postgres://app@db.example/app?recovery=true")?;
//! let adapter = Postgres::new(config);
//! # Ok::<(), sockeye_postgres::ConfigError>(())
//! ```
//!
//! # What is lost, and when
//!
//! - A notification is not kept: what is published while this server's connection is away is lost to it, and each channel hears
//!   `Arrival::Resumed { whole: false }`.
//! - With [`Config::recovery`], broadcasts that want no ack and are not volatile are written down (table `socket_io_events`) in the transaction
//!   that notifies, so that a client that comes back gets them, on any node. Events that Node.js servers and emitters publish are not
//!   written down by them: clients that miss those do not get them.
//! - The official adapter has no recovery and ignores the offset that is added to its messages.
//! - A namespace's channel (`socket.io#/news`) has at most 63 bytes: PostgreSQL takes no longer name. The official adapter loses what is
//!   said in longer ones; here they are refused.

mod adapter;
mod channel;
mod config;
mod connect;
mod desk;
mod ear;
mod failure;
mod house;
mod janitor;
mod members;
mod post;
mod schema;
mod sessions;
mod table;
mod tls;
mod topic;
mod wire;

pub use adapter::Postgres;
pub use config::{Config, ConfigError, Recovery};
pub use sessions::{MISSED_BYTES_MAX, MISSED_EVENTS_MAX};
pub use table::{NoTable, Table};
pub use tls::Verify;
