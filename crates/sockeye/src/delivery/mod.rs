//! How a message reaches its recipients: encoded once ([`Outgoing`]), found by room ([`Rooms`]), posted to each
//! connection's [`Mailbox`].

mod hub;
mod mailbox;
mod outgoing;
mod rooms;

pub(crate) use hub::Hub;
pub(crate) use mailbox::{Control, Mail, Mailbox, Overflowed};
pub(crate) use outgoing::Outgoing;
pub(crate) use rooms::{Member, Rooms};
