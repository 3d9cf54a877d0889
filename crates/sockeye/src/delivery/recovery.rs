//! How a socket's session begins, waits for its client, and goes on.

use super::{Claim, Hub, Member};
use crate::cluster::now;
use crate::outgoing::Outgoing;
use crate::payload::{EmitError, Payload};
use sockeye_cluster::recovery::without_offset;
use sockeye_cluster::{Pid, Room};
use sockeye_proto::sid::Sid;
use sockeye_proto::socket::DisconnectReason;
use std::time::Instant;

impl Hub {
    /// Takes the session of a client that comes back, if it can go on. Until the socket is listed by [`Hub::resume`] nobody else gets it.
    pub(crate) fn claim(&self, pid: &str, offset: Option<String>) -> Option<Claim> {
        let pid = Pid::new(pid);
        let restored = self.sessions()?.change(|store| store.restore(&pid, offset.as_deref(), now()))?;
        let (sid, data, ends) = (restored.sid, restored.data.to_vec(), restored.ends);
        Some(Claim { pid, offset, sid, data, ends, kept: None, help: None })
    }

    /// Encodes an event for a socket that has no session yet.
    pub(crate) fn event_without_offset(
        &self,
        id: Sid,
        name: &str,
        payload: &impl Payload,
    ) -> Result<Outgoing, EmitError> {
        let draft = self.draft(id, name, payload)?;
        self.remote_event(&without_offset(&draft.packet()), None)
    }

    /// Gives a claim up: the session is gone. One that its backplane keeps is gone from there already.
    pub(crate) fn forget(&self, pid: &Pid) {
        if let Some((kept, _)) = self.placed() {
            kept.end(pid);
        }
        if let Some(sessions) = self.sessions() {
            sessions.change(|store| store.forget(pid));
        }
    }

    /// Gives a claim up because the connection broke: where its backplane keeps the session, it may be claimed again.
    pub(crate) fn abandon(&self, claim: Claim) {
        if self.placed().is_some() {
            return;
        }
        self.forget(&claim.pid);
        if let Some(taken) = claim.kept {
            self.abandon_taken(taken);
        }
    }

    /// Lists a socket whose session begins, and posts the answer to its client, which may name the offset of a former one.
    pub(crate) fn open(&self, member: Member, pid: Option<&Pid>, offset: Option<&str>, welcome: Outgoing) {
        if let (Some((kept, placed)), Some(pid)) = (self.placed(), pid) {
            return self.open_placed(kept, placed, member, (pid, offset), welcome);
        }
        if let (Some(kept), Some(pid)) = (self.kept(), pid) {
            let lane = kept.lane.lock();
            let start = lane.borrow().last.clone();
            // A session that begins has no former client.
            drop(kept.enter(pid, member.clone(), start));
            member.mailbox.post(&welcome.shared());
            return self.rooms().add(member);
        }
        let (Some(sessions), Some(pid)) = (self.sessions(), pid) else {
            member.mailbox.post(&welcome.shared());
            return self.rooms().add(member);
        };
        let _held = sessions.store.lock();
        sessions.change(|store| store.open(pid.clone(), member.id, [Room::new(member.id.as_str())]));
        member.mailbox.post(&welcome.shared());
        self.rooms().add(member);
    }

    /// Lists a socket whose session goes on: what was missed goes first, then the answer. `false`: it cannot go on, and is gone.
    pub(crate) fn resume(&self, member: &Member, claim: Claim, welcome: Outgoing) -> bool {
        if let Some((kept, placed)) = self.placed() {
            return self.resume_placed(kept, placed, member, claim, welcome);
        }
        if let (Some(kept), Some(taken)) = (self.kept(), claim.kept) {
            return self.resume_kept(kept, member, &claim.pid, taken, welcome);
        }
        let Some(sessions) = self.sessions() else { return false };
        let held = sessions.store.lock();
        let restored = {
            let mut store = held.borrow_mut();
            // Guards may have had the word.
            store.restore_again(&claim.pid, claim.data.clone().into(), claim.offset.as_deref(), now())
        };
        let Some(restored) = restored else { return false };
        // A socket has one session.
        drop(member.profile.pid.set(claim.pid));
        for (_, packet) in &restored.missed {
            // What could not be sent then was not sent to anybody.
            if let Ok(outgoing) = self.remote_event(packet, None) {
                member.mailbox.post(&outgoing.shared());
            }
        }
        member.mailbox.post(&welcome.shared());
        self.rooms().add(member.clone());
        restored.rooms.iter().for_each(|room| self.rooms().join(member.id, room));
        true
    }

    /// Keeps the session of a socket that ends for that reason, or ends it too. Its credential is good until `ends`.
    pub(crate) fn part(
        &self,
        member: &Member,
        pid: &Pid,
        reason: DisconnectReason,
        data: Option<&str>,
        ends: Option<Instant>,
    ) {
        if let Some(kept) = self.kept() {
            return kept.part(pid, member, self.rooms().rooms_of(member.id), is_recoverable(reason));
        }
        let Some(sessions) = self.sessions() else { return };
        let data = data.unwrap_or_default().to_owned();
        sessions.change(|store| {
            store.handle_timeout(now());
            if is_recoverable(reason) {
                store.close(pid, data.into(), now());
                store.set_end(pid, ends);
            } else {
                store.forget(pid);
            }
        });
    }

    /// Lets one socket join a room. A session knows of it first: it must not miss what its socket is to get.
    pub(crate) fn join_one(&self, id: Sid, pid: Option<&Pid>, room: &Room) {
        if let (Some(sessions), Some(pid)) = (self.sessions(), pid) {
            sessions.change(|store| store.join(pid, room));
        }
        self.rooms().join(id, room);
        self.session_changed(pid);
    }

    /// Has a session written down, where that is to be done at each change.
    pub(crate) fn session_changed(&self, pid: Option<&Pid>) {
        if let (Some(kept), Some(pid)) = (self.kept(), pid) {
            kept.changed(pid);
        }
    }

    /// Takes note of whether a socket's credential ends.
    pub(crate) fn set_ends(&self, pid: Option<&Pid>, ends: bool) {
        if let (Some(kept), Some(pid)) = (self.kept(), pid) {
            kept.set_ends(pid, ends);
        }
    }

    /// Lets one socket leave a room.
    pub(crate) fn leave_one(&self, id: Sid, pid: Option<&Pid>, room: &str) {
        self.rooms().leave(id, room);
        if let (Some(sessions), Some(pid)) = (self.sessions(), pid) {
            sessions.change(|store| store.leave(pid, &Room::new(room)));
        }
        self.session_changed(pid);
    }
}

/// The official list.
fn is_recoverable(reason: DisconnectReason) -> bool {
    match reason {
        DisconnectReason::TransportError
        | DisconnectReason::TransportClose
        | DisconnectReason::ForcedClose
        | DisconnectReason::PingTimeout
        | DisconnectReason::ServerShuttingDown
        | DisconnectReason::ForcedServerClose => true,
        DisconnectReason::ParseError
        | DisconnectReason::ClientNamespaceDisconnect
        | DisconnectReason::ServerNamespaceDisconnect => false,
    }
}
