//! The namespace here, as the backplane speaks to it.

use super::event::BackplaneEvent;
use sockeye_cluster::adapter::Position;
use sockeye_cluster::node::{Output, Question};
use sockeye_cluster::{Flags, Packet, Room, Selector};

/// Does here what others want done. It is called from several tasks and must not block.
pub(crate) trait Local: Send + Sync {
    /// Does something.
    fn act(&self, output: Output);
    /// Answers something, at once or later.
    fn answer(&self, question: Question);
    /// Delivers an event that has a place among the others, or none, because it was not published. `own`: this server said it.
    fn deliver_at(
        &self,
        at: Option<&Position>,
        own: bool,
        selector: &Selector,
        flags: Flags,
        packet: &Packet,
    );
    /// Whether anybody here is in a room.
    fn has_room(&self, room: &Room) -> bool;
    /// Tells the application.
    fn tell(&self, event: BackplaneEvent);
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// It waits to be published.
    Queued,
    /// Too much waits.
    Refused,
}
