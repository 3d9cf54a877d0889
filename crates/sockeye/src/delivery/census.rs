//! What servers of Sockeye's ask each other that the official ones have no message for: how many, which rooms, and whether a join is done.
//!
//! They ask by a server-side event whose name begins with `sockeye:`. Where a server of Node.js may be there, it is asked for its sockets.

use super::Hub;
use crate::answers::{AskError, Gathered, Missing};
use crate::cluster::Cluster;
use crate::payload::Args;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sockeye_cluster::node::Asker;
use sockeye_cluster::{Answer, Flags, Outcome, Packet, REQUEST_TIMEOUT, Request, Room, Selector};
use sockeye_proto::socket::Event;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How the names of such events begin.
pub(crate) const RESERVED: &str = "sockeye:";

const COUNT: &str = "sockeye:count";
const ROOMS: &str = "sockeye:rooms";
const JOINED: &str = "sockeye:joined";

/// A selector as it is sent.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Chosen {
    rooms: Vec<String>,
    except: Vec<String>,
}

/// What is known of a socket when its rooms are asked for.
#[derive(Deserialize)]
struct Roomy {
    #[serde(default)]
    rooms: Vec<Room>,
}

impl Hub {
    /// How many sockets are selected, on all servers.
    pub(crate) async fn count(&self, selector: Selector, flags: Flags) -> Result<Gathered<u64>, AskError> {
        let here = self.count_here(&selector);
        let (value, missing) = self
            .gather(
                COUNT,
                selector,
                flags,
                here,
                |sum, told: u64| sum + told,
                |sockets: Vec<Roomy>| sockets.len() as u64,
            )
            .await?;
        Ok(Gathered { value, missing })
    }

    /// The rooms of the selected sockets, on all servers.
    pub(crate) async fn rooms_of_all(
        &self,
        selector: Selector,
        flags: Flags,
    ) -> Result<Gathered<BTreeSet<Room>>, AskError> {
        let here = self.rooms_here(&selector);
        let union = |mut rooms: BTreeSet<Room>, told: BTreeSet<Room>| {
            rooms.extend(told);
            rooms
        };
        let rooms = |sockets: Vec<Roomy>| sockets.into_iter().flat_map(|socket| socket.rooms).collect();
        let (value, missing) = self.gather(ROOMS, selector, flags, here, union, rooms).await?;
        Ok(Gathered { value, missing })
    }

    /// Waits until what is said to these rooms is heard here and, where every server is Sockeye's, by all that had them joined before.
    pub(crate) async fn joined(&self, rooms: &[Room], everywhere: bool) {
        self.heard_here(rooms).await;
        let Some(branch) = self.branch().filter(|branch| everywhere && branch.interest().is_some()) else {
            return;
        };
        if branch.knows_all().await && branch.is_all_sockeye() {
            let names: Vec<_> = rooms.iter().map(Room::as_str).collect();
            let packet = Packet::text(json!([JOINED, names]).to_string());
            // Who does not answer in time is not waited for any longer.
            drop(self.ask(Request::ServerSideEmit { packet, timeout: None }).await);
        }
    }

    /// Answers such an event, at once or later.
    pub(crate) fn answer_reserved(
        self: &Arc<Self>,
        cluster: &Cluster,
        asker: Asker,
        name: &str,
        args: &Args,
    ) {
        let cluster = cluster.clone();
        let value = match name {
            COUNT => args.data().map(|chosen| json!(self.count_here(&selector_of(chosen)))),
            ROOMS => args.data().map(|chosen| {
                let rooms = self.rooms_here(&selector_of(chosen));
                json!(rooms.iter().map(Room::as_str).collect::<Vec<_>>())
            }),
            JOINED => {
                let Ok(rooms) = args.data::<Vec<Room>>() else { return };
                let hub = Arc::clone(self);
                // Ends in time, whatever the backplane does.
                tokio::spawn(async move {
                    if tokio::time::timeout(REQUEST_TIMEOUT, hub.heard_here(&rooms)).await.is_ok() {
                        cluster.answer(|node| node.handle_value(asker, Packet::text("true")));
                    }
                });
                return;
            }
            _ => return,
        };
        if let Ok(value) = value {
            cluster.answer(|node| node.handle_value(asker, Packet::text(value.to_string())));
        }
    }

    async fn heard_here(&self, rooms: &[Room]) {
        let Some(interest) = self.interest() else { return };
        let here = rooms.iter().filter(|room| self.rooms().holds(room));
        join_all(here.map(|room| interest.heard(room))).await;
    }

    /// Sums up what is here and what others tell: by the event of that name where every other server understands it, else by their sockets.
    async fn gather<T, S>(
        &self,
        name: &str,
        selector: Selector,
        flags: Flags,
        here: T,
        sum: impl Fn(T, T) -> T,
        of_sockets: impl Fn(Vec<S>) -> T,
    ) -> Result<(T, Missing), AskError>
    where
        T: for<'de> Deserialize<'de>,
        S: for<'de> Deserialize<'de>,
    {
        if self.is_parent() {
            return Err(AskError::ManyNamespaces);
        }
        let cluster = self.cluster();
        if flags.local || matches!(cluster, Cluster::Alone(_)) {
            return Ok((here, Missing::default()));
        }
        let timeout = flags.timeout;
        let (outcome, by_sockets) = if cluster.is_all_sockeye().await {
            (self.ask(reserved(name, &selector, timeout)).await?, false)
        } else {
            (self.ask(Request::FetchSockets { selector, flags }).await?, true)
        };
        let mut missing = Missing { nodes: outcome.missing.len(), ..Missing::default() };
        let mut total = here;
        for answer in others(&outcome, &cluster) {
            let told = match by_sockets {
                true => serde_json::from_slice(&answer.packet.data).map(&of_sockets),
                false => serde_json::from_slice(&answer.packet.data),
            };
            match told {
                Ok(told) => total = sum(total, told),
                Err(_) => missing.unreadable += 1,
            }
        }
        Ok((total, missing))
    }

    fn count_here(&self, selector: &Selector) -> u64 {
        let mut count = 0;
        self.rooms().for_each(selector, |_| count += 1);
        count
    }

    fn rooms_here(&self, selector: &Selector) -> BTreeSet<Room> {
        let members = self.rooms().select(selector);
        members.iter().flat_map(|member| self.rooms().rooms_of(member.id)).collect()
    }
}

/// What is answered to such an event in a namespace that is not here: nobody is in it.
pub(crate) fn of_nobody(packet: &Packet) -> Option<Packet> {
    let event = Event::split(std::str::from_utf8(&packet.data).ok()?).ok()?;
    match &*event.name {
        COUNT => Some(Packet::text("0")),
        ROOMS => Some(Packet::text("[]")),
        JOINED => Some(Packet::text("true")),
        _ => None,
    }
}

/// What others answered; this server's own answer is known already.
fn others<'a>(outcome: &'a Outcome, cluster: &Cluster) -> impl Iterator<Item = &'a Answer> {
    let own = cluster.uid();
    outcome.answers.iter().filter(move |answer| Some(&answer.uid) != own.as_ref())
}

fn reserved(name: &str, selector: &Selector, timeout: Option<Duration>) -> Request {
    let strings = |rooms: &[Room]| rooms.iter().map(Room::to_string).collect();
    let chosen = Chosen { rooms: strings(&selector.rooms), except: strings(&selector.except) };
    Request::ServerSideEmit { packet: Packet::text(json!([name, chosen]).to_string()), timeout }
}

fn selector_of(chosen: Chosen) -> Selector {
    let rooms = |names: Vec<String>| names.into_iter().map(Room::from).collect();
    Selector { rooms: rooms(chosen.rooms), except: rooms(chosen.except) }
}
