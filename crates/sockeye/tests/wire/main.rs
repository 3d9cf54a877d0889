//! The library on real sockets: what clients send and see, byte for byte.
//!
//! One program, so that it is linked once; a file is about one thing.

#![expect(clippy::unwrap_used, reason = "a test that fails to set itself up may panic")]

mod abuse;
mod answers;
mod auth;
mod backplane;
mod backplane_recovery;
mod backpressure;
mod carrier;
mod cors;
mod deflate;
mod dynamic_namespaces;
mod engine_io_refusals;
mod engine_io_upgrade;
mod engine_io_v3;
mod engine_io_v4;
mod engine_io_websocket;
mod engine_options;
mod harness;
mod hooks;
mod http_compression;
mod limits;
mod limits_table;
mod node_link;
mod presence;
mod protocol_table;
mod recovery;
mod rooms;
mod service;
mod slow_clients;
mod socket_io_acks;
mod socket_io_ends;
mod socket_io_v5;
mod stats;
mod two_ways;
