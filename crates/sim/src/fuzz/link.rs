//! What must hold for any bytes that a worker sends its parent.

use sockeye_link::plain::{Event, Inbox, Misbehaved, ToParent, ToWorker};

/// A stream of words means the same however it is cut, and each word that reads is written as what reads the same.
pub fn plain(data: &[u8]) {
    let whole = hear(data, usize::MAX);
    for size in [1, 3, data.first().map_or(1, |byte| usize::from(byte % 61) + 1)] {
        assert_eq!(hear(data, size), whole, "in pieces of {size}");
    }
    for line in data.split(|byte| *byte == b'\n') {
        if let Some(word) = ToParent::decode(line) {
            let again = word.encode();
            assert_eq!(again.iter().position(|byte| *byte == b'\n'), Some(again.len() - 1), "one line");
            assert_eq!(ToParent::decode(&again), Some(word));
        }
        if let Some(word) = ToWorker::decode(line) {
            assert_eq!(ToWorker::decode(&word.encode()), Some(word));
        }
    }
}

fn hear(data: &[u8], size: usize) -> (Vec<Event>, Option<Misbehaved>) {
    let mut inbox = Inbox::default();
    let mut events = Vec::new();
    for mut piece in data.chunks(size) {
        while !piece.is_empty() {
            match inbox.decode(&mut piece) {
                Ok(event) => events.extend(event),
                Err(error) => return (events, Some(error)),
            }
        }
    }
    assert!(
        events.iter().skip(1).all(|event| !matches!(event, Event::Hello(_))),
        "hello comes once, and first"
    );
    (events, None)
}
