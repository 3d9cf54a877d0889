//! How the clients of a namespace go on at any member of a mesh: events that have places, and sessions of which each member has a copy
//! (`docs/mesh.md`, "Recovery").
//!
//! What is kept and who can help is decided by `sockeye_cluster`'s `Ledger`. It is locked while an event is numbered and posted, and while
//! a session goes on and its socket is listed; it may be locked again by its own thread, since a listener of rooms may emit.

use super::kept::{Book, Job, NO_DATA};
use super::{Claim, Control, Hub, Kept, Member};
use crate::cluster::now;
use crate::mesh::Mesh;
use crate::outgoing::Outgoing;
use crate::payload::EmitError;
use sockeye_cluster::adapter::Position;
use sockeye_cluster::mesh::{Help, Spoken, Word};
use sockeye_cluster::recovery::{Entry, Found, Ledger, OFFSET_BYTES_MAX, Places, Said};
use sockeye_cluster::{Flags, Packet, Pid, RequestId, Selector, Uid};
use sockeye_proto::sid::Tag;
use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

/// Bytes that may wait for a member while it is told of sessions; at more the teller pauses.
const TOLD_BYTES_MAX: usize = 2 << 20;

/// And for how long.
const TELL_PAUSE: Duration = Duration::from_millis(10);

/// Bytes that may wait for a member that is told what a client has missed; at more it is not helped.
const HELP_BYTES_MAX: usize = 8 << 20;

/// Bytes of the longest private id that a client may name. Ours have 32.
const PID_BYTES_MAX: usize = 128;

impl Hub {
    /// Says an event to the whole mesh, and to the sockets here.
    pub(super) fn say(
        &self,
        (mesh, ledger): (&Mesh, &Book),
        selector: Selector,
        mut flags: Flags,
        packet: Packet,
    ) -> Result<(), EmitError> {
        let ledger = ledger.lock();
        let Some(seen) = mesh.say(self.nsp(), selector.clone(), &mut flags, packet.clone()) else {
            return Ok(());
        };
        self.hand_out(&ledger, selector, flags, packet, &seen)
    }

    /// Delivers an event that another member has numbered.
    pub(super) fn deliver_placed(
        &self,
        (mesh, ledger): (&Mesh, &Book),
        selector: &Selector,
        flags: Flags,
        packet: &Packet,
    ) -> Result<(), EmitError> {
        let ledger = ledger.lock();
        let seen = seen(mesh);
        self.hand_out(&ledger, selector.clone(), flags, packet.clone(), &seen)
    }

    fn hand_out(
        &self,
        ledger: &RefCell<Ledger>,
        selector: Selector,
        flags: Flags,
        packet: Packet,
        seen: &Places,
    ) -> Result<(), EmitError> {
        let Some(at) = flags.at else { return Ok(()) };
        let entry = Entry::new(at, selector.clone(), flags.clone(), packet);
        let said = ledger.borrow_mut().handle_event(entry, seen, now());
        said.map_or(Ok(()), |said| self.post_said(&selector, &flags, &said))
    }

    /// Posts an event that has no place: it is told what comes before it.
    pub(super) fn post_stamped(
        &self,
        (mesh, ledger): (&Mesh, &Book),
        selector: &Selector,
        flags: &Flags,
        packet: &Packet,
    ) -> Result<(), EmitError> {
        let ledger = ledger.lock();
        let said = ledger.borrow_mut().stamp(packet, &seen(mesh), now());
        self.post_said(selector, flags, &said)
    }

    fn post_said(&self, selector: &Selector, flags: &Flags, said: &Said) -> Result<(), EmitError> {
        let encode = |packet: &Packet| -> Result<_, EmitError> {
            Ok(self.marked(self.remote_event(packet, None)?, flags).shared())
        };
        let outgoing = encode(&said.packet)?;
        let mut otherwise = Vec::with_capacity(said.otherwise.len());
        for (sid, packet) in &said.otherwise {
            otherwise.push((*sid, packet.as_ref().map(encode).transpose()?));
        }
        self.rooms().for_each(selector, |member| match otherwise.iter().find(|(sid, _)| *sid == member.id) {
            Some((_, Some(own))) => member.mailbox.post(own),
            // It has got that already.
            Some((_, None)) => {}
            None => member.mailbox.post(&outgoing),
        });
        Ok(())
    }

    /// Lists a socket whose session begins, and posts the answer to its client.
    pub(super) fn open_placed(
        &self,
        kept: &Kept,
        (mesh, ledger): (&Mesh, &Book),
        member: Member,
        (pid, offset): (&Pid, Option<&str>),
        welcome: Outgoing,
    ) {
        let ledger = ledger.lock();
        let start = ledger.borrow_mut().open(member.id, offset, &seen(mesh), now());
        // A session that begins has no former client.
        drop(kept.enter(pid, member.clone(), Some(Position(start.to_string().into()))));
        member.mailbox.post(&welcome.shared());
        self.rooms().add(member);
    }

    /// Looks for the session of a client that comes back: here, and with all members.
    pub(super) async fn seek_placed(&self, kept: &Kept, pid: Pid, offset: Option<String>) -> Option<Claim> {
        let long = offset.as_ref().is_some_and(|offset| offset.len() > OFFSET_BYTES_MAX);
        if pid.len() > PID_BYTES_MAX || long {
            return None;
        }
        let _turn = kept.turns.acquire().await.ok()?;
        // What became of it here is written down first.
        kept.settled(&pid).await;
        let (mesh, ledger) = (self.mesh()?, kept.ledger.as_ref()?);
        let here = {
            let ledger = ledger.lock();
            let ledger = ledger.borrow();
            let can = |sightings: &_| ledger.can_help(&pid, offset.as_deref(), sightings, now());
            mesh.with_sightings(can)?.then(|| ledger.session(&pid).cloned()).flatten()
        };
        let (session, help) = match here {
            Some(session) => (session, None),
            None => {
                let told = mesh.fetch(self.nsp(), pid.clone(), offset.as_deref().map(Into::into));
                let Some(help) = told.await.ok().flatten() else {
                    ledger.lock().borrow_mut().count_unknown();
                    return None;
                };
                (help.session.clone(), Some(help))
            }
        };
        // What is not set reads as nothing.
        let data = if session.data == NO_DATA { Vec::new() } else { session.data.to_vec() };
        Some(Claim { pid, offset, sid: session.sid, data, ends: None, kept: None, help })
    }

    /// Lists a socket whose session goes on: what was missed goes first, then the answer. `false`: it cannot go on, and is gone.
    pub(super) fn resume_placed(
        &self,
        kept: &Kept,
        (mesh, ledger): (&Mesh, &Book),
        member: &Member,
        claim: Claim,
        welcome: Outgoing,
    ) -> bool {
        let ledger = ledger.lock();
        let Some((found, told)) = find(mesh, &ledger, &claim) else { return false };
        // A socket has one session.
        drop(member.profile.pid.set(claim.pid.clone()));
        let missed = ledger.borrow_mut().restore(&found, told.as_ref(), &seen(mesh), now());
        for (packet, flags) in &missed {
            // What could not be sent then was not sent to anybody.
            if let Ok(outgoing) = self.remote_event(packet, None) {
                member.mailbox.post(&self.marked(outgoing, flags).shared());
            }
        }
        member.mailbox.post(&welcome.shared());
        let former = kept.enter(&claim.pid, member.clone(), found.session.start);
        if let Some(former) = &former {
            self.rooms().remove(former.id, &former.profile);
        }
        self.rooms().add(member.clone());
        found.session.rooms.iter().for_each(|room| self.rooms().join(member.id, room));
        drop(ledger);
        if let Some(former) = former {
            close(&former);
        }
        true
    }

    /// Writes a session down, here and at all members. Bytes that wait for the one that is furthest behind.
    pub(super) fn save_placed(&self, (mesh, ledger): (&Mesh, &Book), pid: &Pid, job: &Job) {
        let ledger = ledger.lock();
        let word = match job {
            Job::Save { session, away, .. } => {
                let holder = Some(mesh.uid());
                ledger.borrow_mut().handle_session(session.clone(), holder, *away, now());
                Word::Session { session: session.clone(), away: *away }
            }
            Job::Forget => {
                ledger.borrow_mut().handle_end(pid);
                Word::End(pid.clone())
            }
        };
        mesh.tell(self.nsp(), word);
    }

    /// Does what another member says about a session.
    pub(crate) fn hear_word(&self, Spoken { uid, word, .. }: Spoken) {
        let Some((kept, (mesh, ledger))) = self.placed() else { return };
        match word {
            Word::Session { session, away } => {
                let pid = session.pid.clone();
                // One that is gone meanwhile has nobody here.
                let holder = mesh.tag_of(&uid).map(|_| uid);
                let away = away || holder.is_none();
                ledger.lock().borrow_mut().handle_session(session, holder, away, now());
                if let Some(former) = kept.moved(&pid) {
                    close(&former);
                }
            }
            Word::End(pid) => ledger.lock().borrow_mut().handle_end(&pid),
            Word::Fetch { request_id, pid, offset } => {
                if let Some(to) = mesh.tag_of(&uid) {
                    self.help((mesh, ledger), to, request_id, &pid, offset.as_deref());
                }
            }
            // These are summed up where they are asked for.
            Word::Missed { .. } | Word::Response { .. } | Word::Mark(_) | Word::Marked(_) => {}
        }
    }

    /// Tells a member what a client has missed that came back to it.
    fn help(
        &self,
        (mesh, ledger): (&Mesh, &Book),
        to: Tag,
        request_id: RequestId,
        pid: &Pid,
        offset: Option<&str>,
    ) {
        let ledger = ledger.lock();
        let found = if mesh.waiting(to) > HELP_BYTES_MAX {
            None
        } else {
            let find = |sightings: &_| ledger.borrow_mut().find(pid, offset, sightings, now());
            mesh.with_sightings(find).flatten()
        };
        let seen = ledger.borrow().offset(&seen(mesh));
        let (session, missed) = found.map(|found| (found.session, found.missed)).unzip();
        for entry in missed.unwrap_or_default() {
            mesh.tell_one(to, self.nsp(), Word::Missed { request_id: request_id.clone(), entry });
        }
        mesh.tell_one(to, self.nsp(), Word::Response { request_id, session, seen });
    }

    /// Tells a newcomer which sessions are here.
    pub(crate) async fn greet(self: Arc<Self>, to: Tag) {
        let Some((_, (mesh, ledger))) = self.placed() else { return };
        let own = mesh.uid();
        let pids: Vec<Pid> =
            ledger.lock().borrow().sessions_of(&own).map(|(session, _)| session.pid.clone()).collect();
        for pid in pids {
            let waiting = {
                // In order with what is written down meanwhile.
                let ledger = ledger.lock();
                let copy = ledger.borrow().held_by(&pid, &own);
                let Some((session, away)) = copy else { continue };
                mesh.tell_one(to, self.nsp(), Word::Session { session, away })
            };
            if waiting > TOLD_BYTES_MAX {
                tokio::time::sleep(TELL_PAUSE).await;
            }
        }
    }

    /// Takes note that a member is gone: the clients of its sessions are away.
    pub(crate) fn holder_left(&self, uid: &Uid) {
        if let Some((_, (_, ledger))) = self.placed() {
            ledger.lock().borrow_mut().handle_left(uid, now());
        }
    }

    /// The mesh and what is kept of it, where sessions are kept by its members.
    pub(super) fn placed(&self) -> Option<(&Arc<Kept>, (&Mesh, &Book))> {
        let kept = self.kept()?;
        Some((kept, (self.mesh()?, kept.ledger.as_ref()?)))
    }
}

/// Pauses the task that writes sessions down while a member is far behind.
pub(super) async fn pace(mesh: &Mesh) {
    while mesh.waiting_most() > TOLD_BYTES_MAX {
        tokio::time::sleep(TELL_PAUSE).await;
    }
}

/// The session of a claim with what was missed, as it is known at this moment; and up to where another member has told it.
fn find(mesh: &Mesh, ledger: &RefCell<Ledger>, claim: &Claim) -> Option<(Found, Option<Places>)> {
    let (mut ledger, offset) = (ledger.borrow_mut(), claim.offset.as_deref());
    mesh.with_sightings(|sightings| match &claim.help {
        None => Some((ledger.find(&claim.pid, offset, sightings, now())?, None)),
        Some(Help { session, missed, seen }) => {
            let mut found = Found::told(session.clone(), offset, missed.clone())?;
            ledger.complete(&mut found, seen, sightings, now()).then(|| (found, Some(seen.clone())))
        }
    })?
}

fn seen(mesh: &Mesh) -> Places {
    mesh.with_sightings(|sightings| sightings.seen().clone()).unwrap_or_default()
}

/// Ends a connection that was not known to be dead.
fn close(former: &Member) {
    // It may be gone by itself.
    drop(former.mailbox.control(Control::Close));
}
