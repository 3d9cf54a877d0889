//! How a message that is encoded already reaches its recipients: found by room ([`Rooms`]), posted to each
//! connection's [`Mailbox`].

mod hub;
mod mailbox;
mod questions;
mod rooms;
mod watch;

pub(crate) use hub::Hub;
pub(crate) use mailbox::{Control, Mail, Mailbox, Overflowed};
pub(crate) use rooms::{Member, Rooms};
pub use watch::RoomEvent;
pub(crate) use watch::{OnRoom, Watch};
