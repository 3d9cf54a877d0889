//! An event on its way out, as a catch-all listener sees it.

use crate::id::SocketId;
use crate::payload::Args;
use sockeye_cluster::{Nsp, Room};
use std::sync::Arc;

/// A listener of everything that is emitted.
pub(crate) type OnEmit = Arc<dyn Fn(&Emitted<'_>) + Send + Sync>;

/// An event that the server emits; once for each `emit`, however many sockets it is for.
#[derive(Debug)]
pub struct Emitted<'a> {
    pub(crate) nsp: &'a Nsp,
    pub(crate) name: &'a str,
    pub(crate) args: Args,
    pub(crate) to: Recipients<'a>,
}

/// Whom an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipients<'a> {
    /// One socket, spoken to by its own handle.
    Socket(SocketId),
    /// Those sockets of this node that are in one of the rooms (in any or none where there are no rooms).
    Rooms {
        /// The rooms.
        rooms: &'a [Room],
        /// The rooms whose sockets are left out.
        except: &'a [Room],
    },
}

impl Emitted<'_> {
    /// The namespace's name.
    pub fn namespace(&self) -> &str {
        self.nsp
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        self.name
    }

    /// The arguments as they go out.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Whom it is for.
    pub fn recipients(&self) -> Recipients<'_> {
        self.to
    }
}
