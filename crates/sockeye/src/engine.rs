//! Bare Engine.IO: messages without namespaces, rooms or acks.
//!
//! For protocols of one's own on top of the transports. Most programs want [`Server`](crate::Server).
//!
//! ```no_run
//! use sockeye::engine::Message;
//! use sockeye::{Config, Server};
//!
//! # async fn example() -> std::io::Result<()> {
//! let config = Config { path: "/engine.io/".to_owned(), ..Config::default() };
//! let shout = Server::engine(config, |client, message| match message {
//!     Message::Text(text) => client.send(Message::Text(&text.to_uppercase())),
//!     Message::Binary(_) => client.close(),
//! });
//! shout.listen("127.0.0.1:3000").await
//! # }
//! ```

use crate::delivery::{Control, Mailbox};
use crate::outgoing::Outgoing;
use std::sync::Arc;

/// A message, as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

/// The other end of a session.
#[derive(Debug, Clone)]
pub struct Client {
    mailbox: Arc<Mailbox>,
}

impl Client {
    pub(crate) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox }
    }

    /// Sends a message. Never waits; to a closed session it is a no-op.
    pub fn send(&self, message: Message<'_>) {
        let outgoing = match message {
            Message::Text(text) => Outgoing::text(&[text.as_bytes()]),
            Message::Binary(bytes) => Outgoing::binary(bytes),
        };
        self.mailbox.post(&outgoing.expendable(true).shared());
    }

    /// Closes the session.
    pub fn close(&self) {
        // A session that is gone is closed.
        drop(self.mailbox.control(Control::Close));
    }
}
