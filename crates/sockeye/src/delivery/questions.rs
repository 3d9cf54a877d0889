//! What a namespace answers when it is asked, by another node or by this one.

use super::Hub;
use crate::acks::Unexpected;
use crate::cluster::{Cluster, Unanswered, now};
use crate::draft::Draft;
use crate::emitted::Recipients;
use crate::payload::{self, Args};
use crate::remote_handshake::RemoteHandshake;
use serde::Serialize;
use serde_json::value::RawValue;
use sockeye_cluster::node::{Asker, Question};
use sockeye_cluster::{Flags, Outcome, Packet, REQUEST_TIMEOUT, Request, Room, Selector};
use std::sync::Arc;

/// A socket as other nodes get to know it; the official fields.
#[derive(Serialize)]
struct Described<'a> {
    id: &'a str,
    handshake: RemoteHandshake,
    rooms: Vec<String>,
    data: &'a RawValue,
}

impl Hub {
    /// Puts a request to all nodes, this one included, and waits for the end.
    pub(crate) async fn ask(&self, request: Request) -> Result<Outcome, Unanswered> {
        if self.is_parent() {
            return Err(Unanswered::ManyNamespaces);
        }
        let cluster = self.cluster();
        let here = |question| self.answer(&cluster, question);
        cluster.request(self.nsp(), request, here).await
    }

    /// Answers a question; one that is for the application is given back.
    pub(crate) fn take(&self, cluster: &Cluster, question: Question) -> Option<(Option<Asker>, Packet)> {
        match question {
            Question::DeliverWithAck { asker, nsp: _, selector, flags, packet } => {
                self.deliver_with_ack(cluster, asker, &selector, flags, &packet);
            }
            Question::FetchSockets { asker, nsp: _, selector } => {
                let sockets = self.describe(&selector);
                cluster.answer(|node| node.handle_sockets(asker, Packet::text(sockets)));
            }
            Question::ServerSideEmit { asker, nsp: _, packet } => return Some((asker, packet)),
        }
        None
    }

    fn answer(&self, cluster: &Cluster, question: Question) {
        // A node does not hear what it says to the others.
        drop(self.take(cluster, question));
    }

    fn deliver_with_ack(
        &self,
        cluster: &Cluster,
        asker: Asker,
        selector: &Selector,
        flags: Flags,
        packet: &Packet,
    ) {
        let until = now() + flags.timeout.unwrap_or(REQUEST_TIMEOUT);
        let to = Recipients::Rooms { rooms: &selector.rooms, except: &selector.except };
        self.tell_listeners(to, &Draft::remote(self.nsp(), packet));
        let asker = Arc::new(asker);
        // Whatever a node says: an answer is awaited from each.
        let flags = Flags { coalesce: None, ..flags };
        let mut clients = 0;
        for member in self.rooms().select(selector) {
            let (cluster, asker) = (cluster.clone(), Arc::clone(&asker));
            let hand_in =
                move |args: Args| cluster.answer(|node| node.handle_ack(&asker, payload::first(&args)));
            match member.profile.acks.expect_until(until, Box::new(hand_in)) {
                Ok(id) => {
                    // What cannot be written for this client is missing in the end, too.
                    if let Ok(outgoing) = self.remote_event(packet, Some(id)) {
                        member.mailbox.post(&self.marked(outgoing, &flags).shared());
                    }
                    clients += 1;
                }
                // It was meant, and will be missing.
                Err(Unexpected::Full) => clients += 1,
                Err(Unexpected::Closed) => {}
            }
        }
        cluster.answer(|node| node.handle_client_count(&asker, clients));
    }

    /// The selected sockets of this node, as JSON.
    fn describe(&self, selector: &Selector) -> Vec<u8> {
        let mut sockets = b"[".to_vec();
        for member in self.rooms().select(selector) {
            let rooms = self.rooms().rooms_of(member.id);
            // It has left meanwhile.
            if rooms.is_empty() {
                continue;
            }
            let before = sockets.len();
            if before > 1 {
                sockets.push(b',');
            }
            let data = member.profile.data.lock().clone();
            let socket = Described {
                id: member.id.as_str(),
                handshake: RemoteHandshake::of(&member.profile.handshake),
                rooms: rooms.iter().map(Room::to_string).collect(),
                data: data.as_deref().unwrap_or(nothing()),
            };
            if let Err(error) = serde_json::to_writer(&mut sockets, &socket) {
                tracing::error!(%error, "a socket cannot be described");
                sockets.truncate(before);
            }
        }
        sockets.push(b']');
        sockets
    }
}

/// The data of a socket that has none, as officially.
fn nothing() -> &'static RawValue {
    static NOTHING: std::sync::LazyLock<Box<RawValue>> =
        std::sync::LazyLock::new(|| RawValue::from_string("{}".to_owned()).expect("it is JSON"));
    &NOTHING
}
