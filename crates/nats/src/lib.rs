//! Socket.IO nodes that speak to each other through NATS: core NATS for what is said once, and JetStream, if it is asked for, for what clients
//! miss while they are away. There is no official adapter for NATS; the format is ours and stands in `docs/nats.md`.
//!
//! [`Nats`] is an [`Adapter`](sockeye_cluster::adapter::Adapter). It decides nothing: who is alive, what an answer means and when a
//! request is over is [`Node`](sockeye_cluster::Node)'s.
//!
//! ```
//! use sockeye_nats::{Config, Nats};
//!
//! let config = Config::from_url("nats://chat@n1.example,n2.example:4223/?recovery=10m")?;
//! let adapter = Nats::new(config);
//! # drop(adapter);
//! # Ok::<(), sockeye_nats::ConfigError>(())
//! ```
//!
//! # What is lost, and when
//!
//! - Core NATS keeps nothing: what is published while this server's connection is away is lost to it, and each channel hears
//!   `Arrival::Resumed { whole: false }`. So it does when it reads too slowly and more than [`Config::waiting_max`] messages of one subject wait.
//! - With [`Config::recovery`] events, joins, leaves and disconnects go through a JetStream stream. After a lost connection they are read on from
//!   the last one that came: `whole: true`, unless the stream has forgotten some. Requests and their answers, and volatile events, go past the stream.

mod adapter;
mod batch;
mod channel;
mod config;
mod failure;
mod interest;
mod link;
mod reader;
mod sessions;
mod sources;
mod stream;
mod subject;
mod url;

pub use adapter::Nats;
pub use config::{Config, ConfigError, Credentials, Recovery, Tls};
pub use sessions::{MISSED_BYTES_MAX, SCANNED_EVENTS_MAX};
pub use subject::{NSP_BYTES_MAX, PREFIX_BYTES_MAX, ROOM_BYTES_MAX};
