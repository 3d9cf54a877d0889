//! What came in together, put in order.
//!
//! Messages come on several subjects and so by several queues; which was first is not seen. What the stream has is in the order of its sequence. What goes past the
//! stream has its sender's count, and stands where that count says among what the sender put into the stream.

use std::collections::{BTreeMap, VecDeque};

use sockeye_cluster::{Envelope, Uid};

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// What it says; `None`: it is no message.
    pub(crate) envelope: Option<Envelope>,
    /// Its place in the stream, if it has one.
    pub(crate) sequence: Option<u64>,
    /// The sender's count of its messages; 0: it does not count.
    pub(crate) count: u64,
}

/// Puts messages in order.
pub(crate) fn in_order(mut batch: Vec<Heard>) -> Vec<Heard> {
    if batch.len() < 2 {
        return batch;
    }
    let total = batch.len();
    let (mut kept, mut passing): (Vec<_>, Vec<_>) =
        batch.drain(..).partition(|heard| heard.sequence.is_some());
    kept.sort_by_key(|heard| heard.sequence);
    passing.sort_by_key(|heard| heard.count);
    let mut waiting: BTreeMap<Option<Uid>, VecDeque<Heard>> = BTreeMap::new();
    for heard in passing {
        waiting.entry(sender(&heard)).or_default().push_back(heard);
    }
    let mut ordered = Vec::with_capacity(total);
    for heard in kept {
        if let Some(earlier) = waiting.get_mut(&sender(&heard)) {
            while earlier.front().is_some_and(|passing| passing.count < heard.count) {
                ordered.extend(earlier.pop_front());
            }
        }
        ordered.push(heard);
    }
    ordered.extend(waiting.into_values().flatten());
    ordered
}

fn sender(heard: &Heard) -> Option<Uid> {
    heard.envelope.as_ref().map(|envelope| envelope.uid.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_cluster::Message;

    #[test]
    fn the_order_of_the_stream_and_of_each_sender_is_kept() {
        // (uid, sequence, count): as they came, and as they are heard.
        type Row = (&'static str, Option<u64>, u64);
        for (came, expected) in [
            (vec![("a", None, 2), ("a", None, 1)], vec![("a", None, 1), ("a", None, 2)]),
            (vec![("a", Some(9), 1), ("b", Some(8), 7)], vec![("b", Some(8), 7), ("a", Some(9), 1)]),
            (
                vec![("a", Some(5), 3), ("a", None, 4), ("a", None, 2), ("b", Some(4), 1)],
                vec![("b", Some(4), 1), ("a", None, 2), ("a", Some(5), 3), ("a", None, 4)],
            ),
            // Who does not count is heard as it came.
            (vec![("e", None, 0), ("e", None, 0)], vec![("e", None, 0), ("e", None, 0)]),
        ] as [(Vec<Row>, Vec<Row>); 4]
        {
            let heard = in_order(came.iter().copied().map(heard).collect());
            assert_eq!(heard, expected.into_iter().map(self::heard).collect::<Vec<_>>(), "{came:?}");
        }
    }

    fn heard((uid, sequence, count): (&str, Option<u64>, u64)) -> Heard {
        let envelope = Envelope { uid: uid.into(), nsp: "/".into(), message: Message::Heartbeat };
        Heard { envelope: Some(envelope), sequence, count }
    }
}
