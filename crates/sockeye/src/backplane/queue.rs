//! Letters that wait to be published: bounded in bytes. The newest is refused where there is no room.

use sockeye_cluster::adapter::Letter;
use sockeye_cluster::{Message, Packet, Room, Selector};
use std::collections::VecDeque;

/// How many letters are published at once.
const BATCH_LETTERS: usize = 256;

/// About how many bytes are published at once.
const BATCH_BYTES: usize = 1 << 20;

/// What one letter costs beside what it says.
const LETTER_BYTES: usize = 128;

/// Letters that wait.
#[derive(Debug)]
pub(super) struct Queue {
    letters: VecDeque<(Letter, usize)>,
    bytes: usize,
    pub(super) bytes_max: usize,
}

impl Queue {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { letters: VecDeque::new(), bytes: 0, bytes_max }
    }

    /// Whether there is room for a letter. What is larger than the queue may pass it, alone.
    pub(super) fn has_room(&self, letter: &Letter) -> bool {
        self.letters.is_empty() || self.bytes + bytes_of(&letter.message) <= self.bytes_max
    }

    /// Takes a letter.
    pub(super) fn push(&mut self, letter: Letter) {
        let bytes = bytes_of(&letter.message);
        self.bytes += bytes;
        self.letters.push_back((letter, bytes));
    }

    /// The next letters to be published; none where none wait.
    pub(super) fn batch(&mut self) -> Vec<Letter> {
        let mut batch = Vec::new();
        let mut total = 0;
        while batch.len() < BATCH_LETTERS
            && total < BATCH_BYTES
            && let Some((letter, bytes)) = self.letters.pop_front()
        {
            total += bytes;
            self.bytes -= bytes;
            batch.push(letter);
        }
        batch
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

/// About what a message costs while it waits.
fn bytes_of(message: &Message) -> usize {
    let rooms = |rooms: &[Room]| rooms.iter().map(|room| room.len() + size_of::<Room>()).sum::<usize>();
    let selected = |selector: &Selector| rooms(&selector.rooms) + rooms(&selector.except);
    let said = match message {
        Message::Broadcast { selector, packet, .. } => selected(selector) + packet.bytes(),
        Message::SocketsJoin { selector, rooms: joined }
        | Message::SocketsLeave { selector, rooms: joined } => selected(selector) + rooms(joined),
        Message::DisconnectSockets { selector, .. } | Message::FetchSockets { selector, .. } => {
            selected(selector)
        }
        Message::FetchSocketsResponse { sockets: packet, .. }
        | Message::ServerSideEmit { packet, .. }
        | Message::ServerSideEmitResponse { packet, .. }
        | Message::BroadcastAck { packet, .. } => Packet::bytes(packet),
        Message::InitialHeartbeat
        | Message::Heartbeat
        | Message::BroadcastClientCount { .. }
        | Message::AdapterClose => 0,
    };
    LETTER_BYTES + said
}
