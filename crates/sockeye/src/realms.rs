//! The namespaces of a server that runs: those it was started with, and those that clients bring to life by asking.
//!
//! Settled ones are found without a lock. Children are few changes and many look-ups; nothing is awaited and no user's code
//! runs while they are locked.

use crate::backplane::OnBackplane;
use crate::delivery::{Hub, OnRoom, RoomEvent, Watch};
use crate::handler::{Handlers, Running, unharmed};
use crate::handshake::Handshake;
use crate::namespace::Namespace;
use crate::presence::PresenceEvent;
use parking_lot::RwLock;
use sockeye_cluster::Nsp;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A namespace with its handlers settled.
#[derive(Debug)]
pub(crate) struct Realm {
    /// Its sockets.
    pub(crate) hub: Arc<Hub>,
    /// Its handlers.
    pub(crate) handlers: Arc<Handlers>,
}

/// Whether a client may bring a namespace to life.
#[derive(Clone)]
pub(crate) enum Matcher {
    /// Names like this, where `*` stands for any text.
    Pattern(Box<str>),
    /// Names that a user's function likes.
    Check(OnCheck),
}

type OnCheck = Arc<dyn Fn(String, Handshake) -> Running<bool> + Send + Sync>;

/// Who hears of namespaces that begin.
pub(crate) type OnNamespace = Arc<dyn Fn(&Namespace) + Send + Sync>;

/// What namespaces are made of that clients bring to life.
pub(crate) struct Parent {
    /// Which names are its.
    pub(crate) matcher: Matcher,
    /// Its sockets, which are its children's.
    pub(crate) hub: Arc<Hub>,
    /// Its children's handlers.
    pub(crate) handlers: Arc<Handlers>,
}

/// All namespaces.
pub(crate) struct Realms {
    settled: HashMap<Box<str>, Arc<Realm>>,
    parents: Box<[Parent]>,
    children: RwLock<HashMap<Nsp, Child>>,
    rules: Rules,
    /// How many children there could not be.
    refused: AtomicU64,
}

/// How children are treated.
pub(crate) struct Rules {
    /// Whether a child ends with its last socket.
    pub(crate) cleanup: bool,
    /// How many children there may be.
    pub(crate) children_max: usize,
    /// Who hears of namespaces that begin.
    pub(crate) on_new: Option<OnNamespace>,
    /// Who hears of the backplane.
    pub(crate) on_backplane: Option<OnBackplane>,
    /// Puts a namespace that begins on the backplane.
    pub(crate) open: fn(&Arc<Realm>, Option<OnBackplane>),
}

struct Child {
    realm: Arc<Realm>,
    parent: Arc<Hub>,
    /// Sockets in it, or on their way.
    stays: usize,
}

/// A way into a namespace.
pub(crate) struct Entry {
    /// The namespace.
    pub(crate) realm: Arc<Realm>,
    /// Keeps a child alive.
    pub(crate) stay: Option<Stay>,
}

/// What is known of a name.
pub(crate) enum Found {
    /// Everything: it is a namespace, or it is none.
    Known(Option<Entry>),
    /// A user's function is being asked.
    Asking(Running<Option<Entry>>),
}

/// Somebody in a child, or on the way into it.
pub(crate) struct Stay {
    realms: Arc<Realms>,
    nsp: Nsp,
}

impl Realm {
    /// Settles a namespace.
    pub(crate) fn new(hub: Arc<Hub>, handlers: Arc<Handlers>) -> Arc<Self> {
        hub.listen(handlers.on_emit.clone());
        if let Some(presence) = &handlers.presence {
            // Weak: it is kept by the hub's task.
            let (weak, hook) = (Arc::downgrade(&hub), handlers.on_presence.clone());
            let tell = hook.map(|hook| -> Box<dyn Fn(&PresenceEvent) + Send + Sync> {
                Box::new(move |event| {
                    weak.upgrade().into_iter().for_each(|hub| hook(&Namespace::new(hub), event));
                })
            });
            hub.track(presence.clone(), tell);
        }
        if let Some(listener) = listener_of_rooms(&hub, handlers.on_room.clone()) {
            hub.rooms().watch(Watch::new(listener));
        }
        Arc::new(Self { hub, handlers })
    }
}

impl Realms {
    /// Settles namespaces.
    pub(crate) fn new(
        settled: impl Iterator<Item = (String, Arc<Hub>, Arc<Handlers>)>,
        parents: Vec<Parent>,
        rules: Rules,
    ) -> Arc<Self> {
        let settled: HashMap<_, _> =
            settled.map(|(name, hub, handlers)| (name.into_boxed_str(), Realm::new(hub, handlers))).collect();
        let children = RwLock::default();
        let realms = Self { settled, parents: parents.into(), children, rules, refused: AtomicU64::new(0) };
        // The official server has `/` before anybody can listen.
        realms
            .settled
            .values()
            .filter(|realm| realm.hub.nsp() != "/")
            .for_each(|realm| realms.announce(realm));
        Arc::new(realms)
    }

    /// The namespace of that name, if there is one.
    pub(crate) fn get(&self, nsp: &str) -> Option<Arc<Realm>> {
        if let Some(realm) = self.settled.get(nsp) {
            return Some(Arc::clone(realm));
        }
        if self.parents.is_empty() {
            return None;
        }
        self.children.read().get(nsp).map(|child| Arc::clone(&child.realm))
    }

    /// How many namespaces could not begin, for there were as many as may be.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<Arc<Realm>> {
        let children = self.children.read();
        let children = children.values().map(|child| &child.realm);
        self.settled.values().chain(children).map(Arc::clone).collect()
    }

    /// Those with which the server started.
    pub(crate) fn settled(&self) -> impl Iterator<Item = &Arc<Realm>> {
        self.settled.values()
    }

    /// Whether anybody listens to all that goes out.
    pub(crate) fn are_listened_to(&self) -> bool {
        let settled = self.settled.values().map(|realm| &realm.handlers);
        settled
            .chain(self.parents.iter().map(|parent| &parent.handlers))
            .any(|handlers| !handlers.on_emit.is_empty())
    }

    /// Who hears of the backplane.
    pub(crate) fn on_backplane(&self) -> Option<OnBackplane> {
        self.rules.on_backplane.clone()
    }

    /// Finds the way into a namespace, which may begin by that. As socket.io's `Client.connect`: parents are asked in the order
    /// in which they were defined.
    pub(crate) fn enter(self: &Arc<Self>, nsp: &str, handshake: impl FnOnce() -> Handshake) -> Found {
        if let Some(realm) = self.settled.get(nsp) {
            return Found::Known(Some(Entry { realm: Arc::clone(realm), stay: None }));
        }
        if self.parents.is_empty() {
            return Found::Known(None);
        }
        if let Some(entry) = self.stay(nsp) {
            return Found::Known(Some(entry));
        }
        for (index, parent) in self.parents.iter().enumerate() {
            match &parent.matcher {
                Matcher::Pattern(pattern) if matches(pattern, nsp) => {
                    return Found::Known(self.begin(index, nsp));
                }
                Matcher::Pattern(_) => {}
                Matcher::Check(_) => {
                    let work = Arc::clone(self).ask(index, nsp.to_owned(), handshake());
                    return Found::Asking(Box::pin(work));
                }
            }
        }
        Found::Known(None)
    }

    async fn ask(self: Arc<Self>, first: usize, nsp: String, handshake: Handshake) -> Option<Entry> {
        for (index, parent) in self.parents.iter().enumerate().skip(first) {
            let likes = match &parent.matcher {
                Matcher::Pattern(pattern) => matches(pattern, &nsp),
                Matcher::Check(check) => check(nsp.clone(), handshake.clone()).await,
            };
            if likes {
                return self.begin(index, &nsp);
            }
        }
        None
    }

    /// The way into a child that lives.
    fn stay(self: &Arc<Self>, nsp: &str) -> Option<Entry> {
        let mut children = self.children.write();
        let child = children.get_mut(nsp)?;
        child.stays += 1;
        Some(Entry { realm: Arc::clone(&child.realm), stay: Some(self.staying(child.realm.hub.nsp())) })
    }

    /// Begins a child, unless somebody just did. `None` where there are as many as there may be.
    fn begin(self: &Arc<Self>, parent: usize, nsp: &str) -> Option<Entry> {
        if let Some(entry) = self.stay(nsp) {
            return Some(entry);
        }
        let parent = &self.parents[parent];
        let realm = Realm::new(Arc::new(parent.hub.child(nsp)), Arc::clone(&parent.handlers));
        {
            let mut children = self.children.write();
            if let Some(child) = children.get_mut(nsp) {
                child.stays += 1;
                let realm = Arc::clone(&child.realm);
                let stay = Some(self.staying(realm.hub.nsp()));
                return Some(Entry { realm, stay });
            }
            if children.len() >= self.rules.children_max {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            let child = Child { realm: Arc::clone(&realm), parent: Arc::clone(&parent.hub), stays: 1 };
            children.insert(realm.hub.nsp().clone(), child);
            parent.hub.adopt(&realm.hub);
        }
        let stay = Some(self.staying(realm.hub.nsp()));
        (self.rules.open)(&realm, self.rules.on_backplane.clone());
        self.announce(&realm);
        Some(Entry { realm, stay })
    }

    fn staying(self: &Arc<Self>, nsp: &Nsp) -> Stay {
        Stay { realms: Arc::clone(self), nsp: nsp.clone() }
    }

    fn announce(&self, realm: &Realm) {
        if let Some(on_new) = &self.rules.on_new {
            unharmed(|| on_new(&Namespace::new(Arc::clone(&realm.hub))));
        }
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let mut children = self.realms.children.write();
        let Some(child) = children.get_mut(&*self.nsp) else { return };
        child.stays -= 1;
        if child.stays == 0
            && self.realms.rules.cleanup
            && let Some(child) = children.remove(&*self.nsp)
        {
            child.parent.disown(&child.realm.hub);
            if let Some(branch) = child.realm.hub.branch() {
                branch.close();
            }
        }
    }
}

/// Who hears of rooms: the application, and the backplane where it selects rooms.
fn listener_of_rooms(hub: &Arc<Hub>, listener: Option<OnRoom>) -> Option<OnRoom> {
    if hub.interest().is_none() && hub.attendance().is_none() {
        return listener;
    }
    // Weak: it is kept by the hub.
    let hub = Arc::downgrade(hub);
    Some(Arc::new(move |event| {
        let Some(hub) = hub.upgrade() else { return };
        match event {
            RoomEvent::Created(room) | RoomEvent::Deleted(room) => {
                if let Some(interest) = hub.interest() {
                    interest.changed(room);
                }
            }
            RoomEvent::Joined(room, id) | RoomEvent::Left(room, id) => {
                if let Some(attendance) = hub.attendance() {
                    attendance.look(hub.rooms(), room, id.sid());
                }
            }
        }
        if let Some(listener) = &listener {
            listener(event);
        }
    }))
}

/// Whether a name is like a pattern, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    let Some(middle) = rest.strip_suffix(last) else { return false };
    rest = middle;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("/room-*", "/room-1", true),
            ("/room-*", "/room-", true),
            ("/room-*", "/rooms", false),
            ("/*/chat", "/x/chat", true),
            ("/*/chat", "/chat", false),
            ("/*-*-z", "/a-b-z", true),
            ("/*-*-z", "/a-z", false),
            ("/a*a", "/a", false),
            ("/*", "/anything/at all", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
