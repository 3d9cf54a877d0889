//! The half of the driver that talks to processes on the plain link: what they ask for and say becomes events.

use std::collections::BTreeMap;
use std::time::Instant;

use sockeye_link::plain::{self, Sids};
use tokio::sync::mpsc;
use tracing::warn;

use super::{Input, Supervisor};
use crate::asking::Asking;
use crate::event::Event;
use crate::slot::{Heard, Talk, remove};

impl Supervisor {
    /// A process said Hello on the plain link: if it is of a group of ours, it gets a tag.
    pub(super) fn called(&mut self, arrival: plain::Arrival) {
        let instance = arrival.instance;
        let Some(slot) = self.slots.get_mut(&instance) else {
            return warn!(
                pid = arrival.pid,
                instance, "a process says that it is of a worker which we do not have"
            );
        };
        if !slot.process.as_ref().is_some_and(|process| process.leads(arrival.pid)) {
            return warn!(
                pid = arrival.pid,
                instance, "a process says that it is of a worker of which it is not"
            );
        }
        self.talks += 1;
        let (talk, generation, sender) = (self.talks, slot.generation, self.sender.clone());
        let tag = (self.config.tag)();
        let assign = plain::Assign {
            tag: tag.clone(),
            mesh_dir: self.directory.mesh(),
            http_dir: self.directory.http_dir(),
        };
        let (worker, events) = arrival.assign(assign);
        slot.talks.insert(talk, Talk { tag, worker, listens: BTreeMap::new(), sessions: 0 });
        self.tasks.spawn(hear(instance, generation, talk, events, sender));
    }

    /// One word of a process, or its end.
    pub(super) fn said(
        &mut self,
        instance: u32,
        generation: u64,
        number: u64,
        event: Option<plain::Event>,
        now: Instant,
    ) {
        let Some(slot) = self.slots.get_mut(&instance) else { return };
        let Some(talk) = slot.talks.get_mut(&number) else { return };
        match event {
            Some(plain::Event::Listen(listen)) => {
                let path = self.directory.listen(&talk.tag, listen.id);
                let asking = Asking::new(talk.worker.clone(), &listen, path.clone(), slot.port);
                talk.listens.insert(listen.id, Heard { listen, path, sids: None });
                self.events.push_back(Event::Asks { instance, asking });
            }
            Some(plain::Event::Ready { id, sids }) => {
                let Some(heard) = talk.listens.get_mut(&id) else { return };
                if heard.sids.replace(sids) == Some(sids) {
                    return;
                }
                let (host, port) = (heard.listen.host, heard.listen.port);
                let (tag, path, tagged) = (talk.tag.clone(), heard.path.clone(), sids == Sids::Tagged);
                self.events.push_back(Event::PlainReady { instance, tag, host, port, path, tagged });
                if slot.generation == generation {
                    self.fleet.handle_worker(instance, now, |worker| worker.handle_ready(now));
                }
            }
            Some(plain::Event::Load { sessions, arrived }) => {
                talk.sessions = sessions;
                self.events.push_back(Event::PlainLoad {
                    instance,
                    tag: talk.tag.clone(),
                    sessions,
                    arrived,
                });
                slot.sessions = slot.talks.values().map(|talk| talk.sessions).sum();
            }
            Some(plain::Event::Closed { id }) => {
                if let Some(heard) = talk.listens.remove(&id) {
                    remove(&heard.path);
                    self.events.push_back(Event::PlainGone { tag: talk.tag.clone(), path: heard.path });
                }
            }
            Some(plain::Event::Unfit { reason }) => {
                self.events.push_back(Event::Unfit { instance, reason });
                // It goes on by itself, and says nothing more, or ends.
                if slot.generation == generation {
                    self.fleet.handle_worker(instance, now, |worker| worker.handle_ready(now));
                }
            }
            Some(plain::Event::Hello(_)) => {}
            None => {
                let talk = slot.talks.remove(&number).expect("it is there");
                self.directory.forget(&talk.tag);
                slot.sessions = slot.talks.values().map(|talk| talk.sessions).sum();
                for heard in talk.listens.into_values() {
                    remove(&heard.path);
                    self.events.push_back(Event::PlainGone { tag: talk.tag.clone(), path: heard.path });
                }
            }
        }
    }
}

/// The task that hears one process; ends with it.
async fn hear(
    instance: u32,
    generation: u64,
    talk: u64,
    mut events: plain::Events,
    sender: mpsc::Sender<Input>,
) {
    loop {
        let event = events.next().await;
        let ended = event.is_none();
        if sender.send(Input::Said(instance, generation, talk, event)).await.is_err() || ended {
            return;
        }
    }
}
