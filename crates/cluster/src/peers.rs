//! Who else is in the cluster, and who owns which sids.
//!
//! Told who has come and who is gone; decides nothing about when: a mesh knows it by its connections, a backplane
//! by heartbeats.

use std::collections::BTreeMap;

use sockeye_proto::sid::Tag;

use crate::address::Address;
use crate::name::Uid;

/// Another server of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How it signs its messages.
    pub uid: Uid,
    /// The first characters of the sids it issues; a Node.js server has none.
    pub tag: Option<Tag>,
    /// Where it takes relayed requests, if it does.
    pub http: Option<Address>,
    /// Whether it is a guest, which answers no event for servers.
    pub guest: bool,
}

/// The servers that are alive, without this one.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    by_uid: BTreeMap<Uid, Peer>,
    uid_of: BTreeMap<Tag, Uid>,
}

impl Peers {
    /// Makes an empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a server that has come and returns those it replaces: the same uid, or the same tag under another uid.
    pub fn join(&mut self, peer: Peer) -> Vec<Peer> {
        let by_uid = self.leave(&peer.uid);
        let by_tag = peer.tag.and_then(|tag| self.leave_tag(tag));
        if let Some(tag) = peer.tag {
            self.uid_of.insert(tag, peer.uid.clone());
        }
        self.by_uid.insert(peer.uid.clone(), peer);
        by_uid.into_iter().chain(by_tag).collect()
    }

    /// Forgets a server; returns it if it was known.
    pub fn leave(&mut self, uid: &Uid) -> Option<Peer> {
        let peer = self.by_uid.remove(uid)?;
        if let Some(tag) = peer.tag {
            self.uid_of.remove(&tag);
        }
        Some(peer)
    }

    /// Forgets the server with this tag; returns it if it was known.
    pub fn leave_tag(&mut self, tag: Tag) -> Option<Peer> {
        let uid = self.uid_of.get(&tag)?.clone();
        self.leave(&uid)
    }

    /// The living server that signs with this uid.
    pub fn get(&self, uid: &Uid) -> Option<&Peer> {
        self.by_uid.get(uid)
    }

    /// The living server that issued the sids with this tag.
    pub fn by_tag(&self, tag: Tag) -> Option<&Peer> {
        self.by_uid.get(self.uid_of.get(&tag)?)
    }

    /// Where the owner of the sids with this tag takes relayed requests.
    pub fn owner(&self, tag: Tag) -> Option<&Address> {
        self.by_tag(tag)?.http.as_ref()
    }

    /// The servers, ordered by uid.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.by_uid.values()
    }

    /// How many servers there are besides this one.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Whether this server is alone.
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }
}
