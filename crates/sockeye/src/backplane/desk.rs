//! The machine of a namespace on a backplane, and the letters that wait: what changes under one lock.

use super::queue::Queue;
use crate::clock::now;
use sockeye_cluster::adapter::{Letter, Presence};
use sockeye_cluster::node::{Output, Question, Step};
use sockeye_cluster::{Node, Nsp, Outcome, Refused, Request, RequestId, Uid};
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// What a namespace knows of the others, and what it has to tell them.
pub(super) struct Desk {
    pub(super) node: Node,
    pub(super) queue: Queue,
    waiting: BTreeMap<RequestId, oneshot::Sender<Outcome>>,
    /// Letters for which there was no room.
    pub(super) refused: u64,
    /// The server leaves: what waits is sent, and nothing follows.
    pub(super) closing: bool,
}

/// What is to be done or answered here, in order.
pub(super) enum Delivery {
    Act(Output),
    Answer(Question),
}

/// What a turn left to whoever caused it.
#[derive(Default)]
pub(super) struct Turn {
    pub(super) deliveries: Vec<Delivery>,
    /// Letters for which there was no room.
    pub(super) refused: u64,
    /// The task has something to look at.
    pub(super) alarm: bool,
}

impl Desk {
    pub(super) fn new(uid: Uid, presence: Presence, bytes_max: usize) -> Self {
        let node = Node::on_backplane(uid, presence, now());
        let waiting = BTreeMap::new();
        let mut desk = Self { node, queue: Queue::new(bytes_max), waiting, refused: 0, closing: false };
        // It begins by asking who is there: a letter, which waits for the channel.
        desk.settle();
        desk
    }

    /// Takes a request; the receiver hears how it ends.
    pub(super) fn request(
        &mut self,
        nsp: &Nsp,
        request: Request,
    ) -> Result<oneshot::Receiver<Outcome>, Refused> {
        let id = self.node.handle_request(nsp, request, rand::random(), now())?;
        let (tell, told) = oneshot::channel();
        self.waiting.insert(id, tell);
        Ok(told)
    }

    /// Does what the node says, as far as it can be done at once.
    pub(super) fn settle(&mut self) -> Turn {
        let due = self.node.poll_timeout();
        let mut turn = Turn::default();
        while let Some(step) = self.node.poll_step() {
            match step {
                Step::Act(Output::Publish(letter)) => {
                    turn.alarm = true;
                    self.post(letter, &mut turn);
                }
                Step::Act(output) => turn.deliveries.push(Delivery::Act(output)),
                Step::Answer(question) => turn.deliveries.push(Delivery::Answer(question)),
                Step::Finish(outcome) => {
                    if let Some(tell) = self.waiting.remove(&outcome.request_id) {
                        // Who does not wait any more does not mind.
                        drop(tell.send(outcome));
                    }
                }
            }
        }
        turn.alarm |= self.node.poll_timeout() != due || due.is_some_and(|due| due <= now());
        turn
    }

    fn post(&mut self, letter: Letter, turn: &mut Turn) {
        if self.queue.has_room(&letter) {
            self.queue.push(letter);
        } else {
            turn.refused += 1;
            self.refused += 1;
            self.node.handle_unpublished(letter.message.asks());
        }
    }
}
