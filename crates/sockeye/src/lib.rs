//! Socket.IO at any scale: a server that stock clients of every language use unchanged, alone or as one of many nodes.
//!
//! Start with [`Server`]. A handler gets an [`Event`], speaks to its [`Socket`], to a [`Namespace`], or to some of it
//! ([`Broadcast`]); what it says and hears is any `serde` type ([`Payload`], [`Args`]).

mod accept;
mod acks;
mod answers;
mod broadcast;
mod caller;
mod client_bundle;
mod cluster;
mod compression;
mod config;
mod connection;
mod cookie;
mod core;
mod cors;
mod counters;
mod definition;
mod delivery;
#[cfg(doctest)]
mod documents;
mod doors;
mod draft;
mod emitted;
mod error;
mod event;
mod framing;
mod gate;
mod handle;
mod handler;
mod handshake;
mod http;
mod id;
mod limit;
mod listen;
mod mesh;
mod meter;
mod metrics;
mod namespace;
mod outgoing;
mod payload;
mod profile;
mod realms;
mod recovery;
mod redacted;
mod remote_handshake;
mod remote_socket;
mod route;
mod seat;
mod server;
mod server_event;
mod server_events;
mod service;
mod session;
mod site;
mod socket;
mod stats;
mod stranger;
mod traffic;
mod transport;
mod worker;

pub mod deflate;
pub mod engine;

pub use answers::{Answers, AskError, Missing};
pub use broadcast::Broadcast;
pub use compression::HttpCompression;
pub use config::{Config, EventsExcess};
pub use cookie::{Cookie, SameSite};
pub use cors::{Cors, CorsError, CorsOptions, Origin};
pub use definition::Definition;
pub use delivery::RoomEvent;
pub use emitted::{Emitted, Recipients};
pub use error::{HandlerError, Ok, Result};
pub use event::Event;
pub use handle::Handle;
pub use handler::{Outcome, Refusal};
pub use handshake::Handshake;
pub use id::SocketId;
pub use limit::Limit;
pub use namespace::Namespace;
pub use payload::{Args, EmitError, FromArgs, Payload};
pub use recovery::Recovery;
pub use remote_handshake::RemoteHandshake;
pub use remote_socket::RemoteSocket;
pub use server::Server;
pub use server_event::ServerEvent;
pub use service::Service;
pub use socket::{AckError, Socket};
pub use stats::Stats;
pub use traffic::Traffic;

pub use sockeye_cluster::{Refused, Room};
pub use sockeye_files::Files;
pub use sockeye_proto::engine::Transport;
pub use sockeye_proto::socket::{DisconnectReason, Parser};
