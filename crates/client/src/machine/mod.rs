//! What a client decides, without a socket, a clock or randomness of its own: [`Session`] is all of it.
//!
//! [`Engine`] is one Engine.IO session from its first request to its end; [`Sockets`] are the namespaces, which outlive it;
//! [`Reconnect`] says when the next try is due.

mod engine;
mod entry;
mod frame;
mod reconnect;
mod session;
mod sockets;

pub(crate) use engine::{Limits, Preference};
pub(crate) use frame::Frame;
pub use reconnect::Reconnection;
pub(crate) use session::{Output, Phase, Session, Settings};
pub(crate) use sockets::{Draft, Lost};
