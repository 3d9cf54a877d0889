//! What a namespace tells.

use crate::event::Event;
use crate::notice::{Connected, Disconnected, Notice};

/// What happens in a namespace.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// The client is in.
    Connected(Connected),
    /// An event.
    Event(Event),
    /// The client is out.
    Disconnected(Disconnected),
    /// The server refuses the client, which asks again only after [`Socket::connect`](crate::Socket::connect).
    Refused {
        /// In the server's words.
        message: String,
        /// What the server added, as JSON.
        data: Option<String>,
    },
}

impl From<Notice> for Incoming {
    fn from(notice: Notice) -> Self {
        match notice {
            Notice::Connected(connected) => Self::Connected(connected),
            Notice::Disconnected(why) => Self::Disconnected(why),
            Notice::Refused { message, data } => Self::Refused { message, data },
        }
    }
}
