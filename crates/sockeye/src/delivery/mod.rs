//! How a message that is encoded already reaches its recipients: found by room ([`Rooms`]), posted to each
//! connection's [`Mailbox`].

mod attendance;
mod attending;
mod carrier;
mod census;
mod claims;
mod excess;
mod hub;
mod kept;
mod keyed;
mod lane;
mod mail;
mod mailbox;
mod meshed;
mod questions;
mod recovery;
mod rooms;
mod saver;
mod sessions;
mod watch;

pub(crate) use attendance::Attendance;
pub(crate) use carrier::Carriers;
pub(crate) use census::{RESERVED, of_nobody};
pub(crate) use hub::Hub;
pub(crate) use kept::Kept;
pub(crate) use mail::{Control, Mail};
pub(crate) use mailbox::{Mailbox, Overflowed};
pub(crate) use rooms::{Member, Rooms};
pub(crate) use sessions::{Claim, Sessions};
pub use watch::RoomEvent;
pub(crate) use watch::{OnRoom, Watch};
