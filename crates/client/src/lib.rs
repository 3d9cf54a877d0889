//! A Socket.IO client: polling, WebSocket and the move between them, namespaces, events and acks with `serde` types, attachments,
//! coming back with what was missed. It speaks to servers of Socket.IO 3 and 4.
//!
//! ```no_run
//! use sockeye_client::{Client, Config, Incoming};
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::new("https://chat.example.com", Config::default())?;
//! let chat = client.socket("/")?;
//! chat.connected().await?;
//! chat.emit("msg", "hello")?;
//! let sum: i64 = chat.emit_with_ack("add", (2, 3)).await?;
//! while let Some(incoming) = chat.next().await {
//!     match incoming {
//!         Incoming::Event(event) if event.name() == "msg" => println!("{}", event.data::<String>()?),
//!         Incoming::Event(event) => event.ack("thanks")?, // nothing is sent where the server wants no ack
//!         Incoming::Disconnected(why) => println!("{why}; it comes back by itself"),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! [`bytes::Bytes`] anywhere in a payload, either way, is a binary attachment. A tuple is several arguments.
//!
//! Inside, `machine` decides everything (which transport, when to try again, what a packet means) and knows no socket and no
//! clock; one task a client does what it says. Absent: Engine.IO v3 (servers of Socket.IO 2), msgpack, compression, proxies.

mod address;
mod auth;
mod cause;
mod client;
mod command;
mod config;
mod cookies;
mod driver;
mod error;
mod event;
mod inbox;
mod incoming;
mod machine;
mod notice;
mod requests;
mod socket;
mod status;
mod tls;
mod websocket;

#[doc(hidden)]
pub mod fuzz;
pub mod http;

pub use address::Address;
pub use cause::{Cause, Closed};
pub use client::Client;
pub use config::{Config, Excess, Limits, Reconnection};
pub use error::{AckError, ConfigError, ConnectError, EmitError, JoinError};
pub use event::Event;
pub use incoming::Incoming;
pub use notice::{Connected, Disconnected};
pub use socket::Socket;
pub use status::{Greeting, Phase, Status, Upgrade};
pub use tls::Tls;

pub use sockeye_proto::engine::Transport;
pub use sockeye_proto::payload::{Args, FromArgs, Payload};
