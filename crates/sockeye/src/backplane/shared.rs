//! What the handles and the task of a namespace on a backplane share.

use super::desk::{Delivery, Desk, Turn};
use super::event::{BackplaneEvent, BackplaneStats};
use super::interest::Interest;
use super::local::{Local, Published};
use crate::clock::now;
use parking_lot::Mutex;
use sockeye_cluster::adapter::{Adapter, Arrival, Channel};
use sockeye_cluster::node::Output;
use sockeye_cluster::{Flags, Message, Node, Nsp, Packet, Selector, Uid};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use tokio::sync::{Notify, watch};

/// The machine, and what is looked at without it.
pub(super) struct Shared {
    pub(super) adapter: Arc<dyn Adapter>,
    pub(super) nsp: Nsp,
    pub(super) uid: Uid,
    pub(super) ordered: bool,
    pub(super) desk: Mutex<Desk>,
    /// Rings when the task has something to look at.
    pub(super) bell: Notify,
    pub(super) local: OnceLock<Arc<dyn Local>>,
    pub(super) channel: watch::Sender<Option<Arc<dyn Channel>>>,
    /// When its first letter was out.
    pub(super) opened_at: OnceLock<Instant>,
    pub(super) interest: Option<Interest>,
    left: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(adapter: Arc<dyn Adapter>, nsp: Nsp, ordered: bool, bytes_max: usize) -> Self {
        let uid = Node::uid_of_sockeye(rand::random());
        let traits = adapter.traits();
        Self {
            adapter,
            nsp,
            uid: uid.clone(),
            ordered,
            desk: Mutex::new(Desk::new(uid, traits.presence, bytes_max)),
            bell: Notify::new(),
            local: OnceLock::new(),
            channel: watch::Sender::new(None),
            opened_at: OnceLock::new(),
            interest: traits.selects_rooms.then(Interest::default),
            left: watch::Sender::new(false),
        }
    }

    /// Lets the caller tell the machine something, and does what follows.
    pub(super) fn turn<R>(&self, tell: impl FnOnce(&mut Desk) -> R) -> R {
        let (told, turn) = self.turn_aside(tell);
        self.deliver(turn);
        told
    }

    pub(super) fn publish(&self, message: Message) -> Published {
        let (refused, turn) = self.turn_aside(|desk| {
            if desk.closing {
                return true;
            }
            desk.node.handle_publish(&self.nsp, message);
            false
        });
        let refused = refused || turn.refused > 0;
        self.deliver(turn);
        if refused { Published::Refused } else { Published::Queued }
    }

    /// Takes what the channel heard.
    pub(super) fn arrived(&self, arrival: Arrival) {
        match arrival {
            Arrival::Message { envelope, offset: Some(offset) } if self.ordered => {
                let event = as_event(&envelope.message);
                let own = envelope.uid == self.uid;
                let ((), mut turn) = self.turn_aside(|desk| desk.node.handle_arrival(envelope, now()));
                if let (Some((selector, flags, packet)), Some(local)) = (event, self.local.get()) {
                    // It is delivered with its place, one's own as well.
                    turn.deliveries
                        .retain(|delivery| !matches!(delivery, Delivery::Act(Output::Deliver { .. })));
                    local.deliver_at(Some(&offset), own, &selector, flags, &packet);
                }
                self.deliver(turn);
            }
            Arrival::Message { envelope, offset: _ } => {
                self.turn(|desk| desk.node.handle_arrival(envelope, now()));
            }
            Arrival::Malformed => self.tell(|nsp| BackplaneEvent::Malformed { nsp }),
            Arrival::Resumed { whole } => {
                if whole {
                    tracing::info!(nsp = %self.nsp, "the connection to the backplane is back, nothing is lost");
                } else {
                    tracing::warn!(nsp = %self.nsp, "the connection to the backplane is back; what others said meanwhile is lost");
                }
                self.tell(|nsp| BackplaneEvent::Resumed { nsp, whole });
            }
        }
    }

    pub(super) fn tell(&self, event: impl FnOnce(String) -> BackplaneEvent) {
        if let Some(local) = self.local.get() {
            local.tell(event(self.nsp.to_string()));
        }
    }

    /// Begins to leave.
    pub(super) fn close(&self) {
        self.turn(|desk| {
            if !desk.closing {
                desk.node.handle_close();
                desk.closing = true;
            }
        });
        self.bell.notify_one();
    }

    pub(super) fn set_left(&self) {
        self.left.send_replace(true);
    }

    /// Waits until the task has ended; where there never was one, nothing is waited for.
    pub(super) async fn left(&self) {
        if self.local.get().is_some() {
            // The sender is here.
            drop(self.left.subscribe().wait_for(|left| *left).await);
        }
    }

    pub(super) fn stats(&self) -> BackplaneStats {
        let channel = self.channel.borrow().as_ref().map(|channel| channel.stats()).unwrap_or_default();
        let desk = self.desk.lock();
        BackplaneStats {
            refused: desk.refused,
            waiting_bytes: desk.queue.bytes(),
            partial: desk.node.stats().partial,
            peers: desk.node.peers().len(),
            ..BackplaneStats::of_channel(channel)
        }
    }

    fn turn_aside<R>(&self, tell: impl FnOnce(&mut Desk) -> R) -> (R, Turn) {
        let (told, turn) = {
            let mut desk = self.desk.lock();
            let told = tell(&mut desk);
            (told, desk.settle())
        };
        if turn.alarm {
            self.bell.notify_one();
        }
        (told, turn)
    }

    /// Before the namespace is settled nobody is here: who asks is told by the time.
    fn deliver(&self, turn: Turn) {
        let Some(local) = self.local.get() else { return };
        for delivery in turn.deliveries {
            match delivery {
                Delivery::Act(output) => local.act(output),
                Delivery::Answer(question) => local.answer(question),
            }
        }
        if turn.refused > 0 {
            tracing::warn!(nsp = %self.nsp, messages = turn.refused, "too much waits for the backplane: backplane_bytes_max");
            self.tell(|nsp| BackplaneEvent::Unpublished { nsp, messages: turn.refused });
        }
    }
}

/// An event that wants no ack: whom it is for, how it is treated, and what it says.
pub(super) fn as_event(message: &Message) -> Option<(Selector, Flags, Packet)> {
    let Message::Broadcast { selector, flags, packet, request_id: None } = message else { return None };
    Some((selector.clone(), flags.clone(), packet.clone()))
}
