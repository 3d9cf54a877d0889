//! What other servers want done in a namespace of this one.

use crate::backplane::{BackplaneEvent, Branch, Local, OnBackplane, Opened};
use crate::cluster::Cluster;
use crate::handler::unharmed;
use crate::realms::Realm;
use crate::server_events;
use sockeye_cluster::adapter::Position;
use sockeye_cluster::node::{Output, Question};
use sockeye_cluster::{Flags, Packet, Room, Selector, Uid};
use std::sync::{Arc, Weak};

/// A namespace, as its backplane speaks to it.
struct Place {
    realm: Weak<Realm>,
    branch: Weak<Branch>,
    hook: Option<OnBackplane>,
}

/// Opens a namespace on its backplane, if it is to be on one; see [`Branch::open`].
pub(crate) fn open(realm: &Arc<Realm>, hook: Option<OnBackplane>, once: bool) -> Option<Opened> {
    // One that clients bring to life joins the mesh as it begins.
    realm.hub.keep_sessions();
    let branch = realm.hub.branch()?;
    let place = Place { realm: Arc::downgrade(realm), branch: Arc::downgrade(branch), hook };
    Some(branch.open(Arc::new(place), once))
}

/// Does what a server said, in the namespace that it said it for.
pub(crate) fn obey(realm: &Realm, output: Output) {
    match output {
        Output::Deliver { nsp: _, selector, flags, packet } => {
            realm.hub.deliver_remote(&selector, flags, &packet);
        }
        Output::Join { nsp: _, selector, rooms } => realm.hub.join_here(&selector, &rooms),
        Output::Leave { nsp: _, selector, rooms } => realm.hub.leave_here(&selector, &rooms),
        Output::Disconnect { nsp: _, selector, close } => realm.hub.disconnect_here(&selector, close),
        Output::PeerJoined(peer) => {
            tracing::debug!(?peer, "node joined");
            meet(realm);
        }
        Output::PeerLeft(peer) => {
            tracing::debug!(?peer, "node left");
            miss(realm, &peer.uid);
        }
        Output::Send { .. } | Output::Publish(_) => {}
    }
}

/// A server came: it is to know who is here.
pub(crate) fn meet(realm: &Realm) {
    if let Some(attendance) = realm.hub.attendance() {
        attendance.meet();
    }
}

/// A server is gone, and so are its sockets.
pub(crate) fn miss(realm: &Realm, uid: &Uid) {
    if let Some(attendance) = realm.hub.attendance() {
        attendance.miss(uid);
    }
}

impl Local for Place {
    fn act(&self, output: Output) {
        if let Some(realm) = self.realm.upgrade() {
            obey(&realm, output);
        }
    }

    fn answer(&self, question: Question) {
        if let (Some(realm), Some(branch)) = (self.realm.upgrade(), self.branch.upgrade()) {
            server_events::take(&realm, &Cluster::Backplane(branch), question);
        }
    }

    fn deliver_at(
        &self,
        at: Option<&Position>,
        own: bool,
        selector: &Selector,
        flags: Flags,
        packet: &Packet,
    ) {
        if let Some(realm) = self.realm.upgrade() {
            realm.hub.deliver_at(at, own, selector, flags, packet);
        }
    }

    fn has_room(&self, room: &Room) -> bool {
        self.realm.upgrade().is_some_and(|realm| realm.hub.rooms().holds(room))
    }

    fn tell(&self, event: BackplaneEvent) {
        if let Some(hook) = &self.hook {
            unharmed(|| hook(&event));
        }
    }
}
