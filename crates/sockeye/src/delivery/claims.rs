//! How a client goes on with a session that its backplane keeps, on any server.

use super::attendance::PRESENT;
use super::kept::{NO_DATA, Taken};
use super::lane::Entry;
use super::{Claim, Control, Hub, Kept, Member};
use crate::draft::Draft;
use crate::emitted::Recipients;
use crate::outgoing::Outgoing;
use crate::payload::Args;
use serde_json::json;
use sockeye_cluster::adapter::{Channel, Position, Returned};
use sockeye_cluster::recovery::{at_place, stamped};
use sockeye_cluster::{Flags, Message, Packet, Pid, REQUEST_TIMEOUT, Selector};
use std::cmp::Ordering;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// The event by which servers learn that a session goes on elsewhere.
pub(super) const MOVED: &str = "sockeye:moved";

/// Bytes of the longest id of a session, and of the longest offset, that a client may name. Ours have 32 and at most 40, official ones 20.
const WORD_BYTES_MAX: usize = 128;

impl Hub {
    /// Takes the session of a client that comes back, if it can go on, for as long as [`REQUEST_TIMEOUT`].
    pub(crate) async fn seek(self: Arc<Self>, pid: String, offset: Option<String>) -> Option<Claim> {
        if let Some((kept, _)) = self.placed() {
            return self.seek_placed(kept, Pid::new(&pid), offset).await;
        }
        if pid.len() > WORD_BYTES_MAX || offset.as_ref().is_some_and(|offset| offset.len() > WORD_BYTES_MAX) {
            return None;
        }
        let pid = Pid::new(&pid);
        let kept = Arc::clone(self.kept()?);
        let fetched = tokio::time::timeout(REQUEST_TIMEOUT, async {
            let turn = Arc::clone(&kept.turns).acquire_owned().await.ok()?;
            // What became of it here is written down first.
            kept.settled(&pid).await;
            let channel = self.branch()?.opened().await?;
            let (tell, told) = oneshot::channel();
            // It ends with the backplane's answer. What nobody waits for any more is given back.
            tokio::spawn(Arc::clone(&self).fetch(
                channel,
                pid,
                offset.map(|text| Position(text.into())),
                turn,
                tell,
            ));
            told.await.ok()?
        });
        let taken = fetched.await.ok().flatten();
        let Taken { session, .. } = taken.as_ref()?;
        let (pid, sid) = (session.pid.clone(), session.sid);
        // What is not set reads as nothing.
        let data = if session.data == NO_DATA { Vec::new() } else { session.data.to_vec() };
        Some(Claim { pid, offset: None, sid, data, ends: None, kept: taken, help: None })
    }

    async fn fetch(
        self: Arc<Self>,
        channel: Arc<dyn Channel>,
        pid: Pid,
        met: Option<Position>,
        turn: OwnedSemaphorePermit,
        tell: oneshot::Sender<Option<Taken>>,
    ) {
        let taken = self.take_session(&channel, &pid, met).await;
        drop(turn);
        if let Err(Some(taken)) = tell.send(taken) {
            self.abandon_taken(taken);
        }
    }

    async fn take_session(
        &self,
        channel: &Arc<dyn Channel>,
        pid: &Pid,
        met: Option<Position>,
    ) -> Option<Taken> {
        let (kept, sessions) = (self.kept()?, channel.sessions()?);
        // First: what is delivered from here on is remembered, what was before is among what was missed.
        let pending = kept.expect();
        let take = async || match sessions.take(pid, met.as_ref().map(|met| &*met.0)).await {
            Ok(returned) => returned,
            Err(error) => {
                tracing::warn!(nsp = %self.nsp(), %error, "a session cannot be taken from the backplane");
                None
            }
        };
        let returned = take().await;
        kept.count(|stats| stats.unknown += u64::from(returned.is_none()));
        let mut returned = returned?;
        let holding = self.branch()?.hold(&returned.session.rooms).await;
        if holding.is_some() {
            // What is said to its rooms has to come here before it is read what was said.
            sessions.save(&returned.session, kept.config.max_disconnection_duration).await.ok()?;
            returned = take().await?;
        }
        let Returned { session, mut missed } = returned;
        if let Some(start) = &session.start {
            // A client keeps the offset of a former session until it meets an event.
            missed.retain(|missed| sessions.order(&missed.offset, start).is_gt());
        }
        if missed.iter().map(|missed| missed.packet.bytes()).sum::<usize>() > kept.config.missed_bytes_max {
            kept.count(|stats| stats.incomplete += 1);
            return None;
        }
        Some(Taken { session, missed, met, pending, holding })
    }

    /// Lists a socket whose session goes on: what was missed goes first, then the answer. `false`: it cannot go on, and is gone.
    pub(super) fn resume_kept(
        &self,
        kept: &Kept,
        member: &Member,
        pid: &Pid,
        taken: Taken,
        welcome: Outgoing,
    ) -> bool {
        let order = |one: &Position, other: &Position| self.order(one, other);
        let Taken { session, missed, met, pending, holding } = taken;
        let lane = kept.lane.lock();
        let floor =
            missed.last().map(|missed| missed.offset.clone()).or(met).or_else(|| session.start.clone());
        let later = lane.borrow().after(pending.beginning, floor.as_ref(), &session.rooms, order);
        let Some(later) = later else {
            kept.count(|stats| stats.incomplete += 1);
            return false;
        };
        // A socket has one session.
        drop(member.profile.pid.set(pid.clone()));
        let later = later.iter().map(|entry| (&entry.at, &entry.flags, &entry.packet));
        for (at, flags, packet) in
            missed.iter().map(|missed| (&missed.offset, &missed.flags, &missed.packet)).chain(later)
        {
            // What could not be sent then was not sent to anybody.
            if let Ok(outgoing) = self.remote_event(&at_place(packet, at), None) {
                member.mailbox.post(&self.marked(outgoing, flags).shared());
            }
        }
        member.mailbox.post(&welcome.shared());
        let former = kept.enter(pid, member.clone(), session.start);
        if let Some(former) = &former {
            self.rooms().remove(former.id, &former.profile);
        }
        self.rooms().add(member.clone());
        session.rooms.iter().for_each(|room| self.rooms().join(member.id, room));
        if let Some(floor) = floor {
            lane.borrow_mut().set_ahead(member.id, floor, order);
        }
        drop(lane);
        drop((pending, holding));
        kept.count(|stats| stats.restored += 1);
        match former {
            Some(former) => close(&former),
            // Who has it does not know that it is gone.
            None => self.tell(Message::ServerSideEmit {
                packet: Packet::text(json!([MOVED, pid.as_str()]).to_string()),
                request_id: None,
            }),
        }
        true
    }

    /// Hears who is where, or that a session goes on elsewhere.
    pub(crate) fn hear_reserved(&self, name: &str, args: &Args) {
        if name == PRESENT
            && let Some(attendance) = self.attendance()
        {
            attendance.hear(args.json());
        }
        if name == MOVED
            && let (Some(kept), Ok(pid)) = (self.kept(), args.data::<String>())
            && let Some(former) = kept.moved(&Pid::new(&pid))
        {
            close(&former);
        }
    }

    /// Writes a session down again whose client did not get in.
    pub(super) fn abandon_taken(&self, taken: Taken) {
        if let Some(kept) = self.kept() {
            kept.give_back(taken.session);
        }
    }

    /// Delivers an event that came from the backplane at its place, or did not get there. `own`: who listens was told when it was said.
    pub(crate) fn deliver_at(
        &self,
        at: Option<&Position>,
        own: bool,
        selector: &Selector,
        flags: Flags,
        packet: &Packet,
    ) {
        if !own {
            let to = Recipients::Rooms { rooms: &selector.rooms, except: &selector.except };
            self.tell_listeners(to, &Draft::remote(self.nsp(), packet));
        }
        let delivered = match (self.kept(), at) {
            (Some(kept), Some(at)) => self.deliver_in_lane(kept, at, selector, flags, packet),
            _ => self.post(selector, flags, Draft::remote(self.nsp(), packet)),
        };
        if let Err(error) = delivered {
            tracing::debug!(%error, "an event cannot be written for our clients");
        }
    }

    fn deliver_in_lane(
        &self,
        kept: &Kept,
        at: &Position,
        selector: &Selector,
        flags: Flags,
        packet: &Packet,
    ) -> Result<(), crate::payload::EmitError> {
        let entry = || Entry {
            at: at.clone(),
            selector: selector.clone(),
            flags: flags.clone(),
            packet: packet.clone(),
        };
        let lane = kept.lane.lock();
        let ahead = lane.borrow_mut().advance(entry, at, &kept.config, |one, other| self.order(one, other));
        let outgoing = self.remote_event(&at_place(packet, at), None)?;
        let outgoing = self.marked(outgoing, &flags).shared();
        self.rooms().for_each(selector, |member| {
            if !ahead.contains(&member.id) {
                member.mailbox.post(&outgoing);
            }
        });
        Ok(())
    }

    /// Hands an event without a place on, as it is to be sent after the last one that has one.
    pub(super) fn with_stamp<R>(&self, kept: &Kept, packet: &Packet, post: impl FnOnce(&Packet) -> R) -> R {
        let lane = kept.lane.lock();
        let last = lane.borrow().last.clone();
        post(&stamped(packet, last.as_ref()))
    }

    fn order(&self, one: &Position, other: &Position) -> Ordering {
        let channel = self.branch().and_then(|branch| branch.channel());
        match channel.as_ref().and_then(|channel| channel.sessions()) {
            Some(sessions) => sessions.order(one, other),
            None => one.in_order_of_numbers(other),
        }
    }
}

/// Ends a connection that was not known to be dead: its sockets in other namespaces may come back, too.
fn close(former: &Member) {
    // It may be gone by itself.
    drop(former.mailbox.control(Control::Close));
}
