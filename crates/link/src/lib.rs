//! What a parent and its worker say to each other: ready, connection (descriptor, peer and the bytes read so far),
//! receipt, load, drain.
//!
//! The link is one `SOCK_SEQPACKET` Unix socket a worker, and one message is one packet (`message.rs` holds the
//! table). The parent [`Listener`] accepts workers; each becomes a [`Handover`] (the door to that worker) and its
//! [`Reports`]. The worker's end is [`Parent`], and [`Reporter`] for whoever counts.
//!
//! A connection that was passed is kept by the parent until the worker's receipt. If the worker goes first, it comes
//! back as [`Report::Returned`], unharmed, since the worker has not run it.
//!
//! A worker that cannot take descriptors, such as an unmodified Node.js app, has a [`plain`] link.
//!
//! Absent on purpose: who gets which connection (the edge), when a worker is started or killed (the supervisor), and
//! any connection that belongs to nobody yet: the parent reads no byte of one that it passed.

mod config;
mod connection;
mod door;
mod message;
mod packet;
pub mod pages;
mod parent;
pub mod plain;
mod reports;
mod window;
mod worker;

pub use config::{Config, HEAD_BYTES_MAX};
pub use connection::Connection;
pub use door::Report;
pub use message::{Assign, Hello, Load, Ready, VERSION};
pub use parent::{Arrival, Handover, Listener};
pub use reports::Reports;
pub use window::Stats;
pub use worker::{Event, LINK_VARIABLE, Parent, Reporter, WORKER_VARIABLE};
