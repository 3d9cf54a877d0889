//! Which rooms this server listens for, where the backplane carries what is said to a room to those only who do.
//!
//! A room whose first member came or whose last one left is looked at again: what counts is who is in it at that moment, so that it does not
//! matter in which order threads tell of it.

use super::local::Local;
use futures_util::future::join_all;
use parking_lot::Mutex;
use sockeye_cluster::Room;
use sockeye_cluster::adapter::Channel;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Rooms whose listening is arranged at once.
const AT_ONCE: usize = 256;

/// How long a room that could not be listened to waits for the next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Which rooms are listened to, and which are to be looked at.
#[derive(Debug, Default)]
pub(crate) struct Interest {
    state: Mutex<State>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    listened: BTreeSet<Room>,
    /// As many as there are rooms at most.
    changed: BTreeSet<Room>,
    waiting: BTreeMap<Room, Vec<oneshot::Sender<()>>>,
    /// Rooms of clients that are on their way in, and of how many.
    held: BTreeMap<Room, usize>,
}

impl Interest {
    /// Takes note that a room has its first member, or has lost its last one.
    pub(crate) fn changed(&self, room: &Room) {
        self.state.lock().changed.insert(room.clone());
        self.bell.notify_one();
    }

    /// Waits until a room is heard; that of which nobody is a member is not waited for.
    pub(crate) async fn heard(&self, room: &Room) {
        let told = {
            let mut state = self.state.lock();
            if state.listened.contains(room) && !state.changed.contains(room) {
                return;
            }
            let (tell, told) = oneshot::channel();
            state.changed.insert(room.clone());
            state.waiting.entry(room.clone()).or_default().push(tell);
            told
        };
        self.bell.notify_one();
        // An error: the server leaves.
        drop(told.await);
    }

    /// Has rooms listened to though nobody is in them yet.
    pub(super) fn hold(&self, rooms: &[Room]) {
        let mut state = self.state.lock();
        for room in rooms {
            *state.held.entry(room.clone()).or_default() += 1;
            state.changed.insert(room.clone());
        }
    }

    /// Ends that.
    pub(super) fn release(&self, rooms: &[Room]) {
        let mut state = self.state.lock();
        for room in rooms {
            if let Some(holders) = state.held.get_mut(room) {
                *holders -= 1;
                if *holders == 0 {
                    state.held.remove(room);
                    state.changed.insert(room.clone());
                }
            }
        }
        drop(state);
        self.bell.notify_one();
    }

    fn is_held(&self, room: &Room) -> bool {
        self.state.lock().held.contains_key(room)
    }

    fn take(&self) -> Vec<Room> {
        let mut state = self.state.lock();
        let some: Vec<_> = state.changed.iter().take(AT_ONCE).cloned().collect();
        for room in &some {
            state.changed.remove(room);
        }
        some
    }

    fn is_listened(&self, room: &Room) -> bool {
        self.state.lock().listened.contains(room)
    }

    fn settled(&self, room: &Room, listened: bool) {
        let mut state = self.state.lock();
        if listened {
            state.listened.insert(room.clone());
        } else {
            state.listened.remove(room);
        }
        // Whoever waits for it waited for a look at it that began after it came, or is looked for again.
        if !state.changed.contains(room) {
            for tell in state.waiting.remove(room).into_iter().flatten() {
                // Who does not wait any more does not mind.
                let _ = tell.send(());
            }
        }
    }
}

/// Arranges what is listened to, for good; where the backplane selects nothing it waits for ever.
pub(super) async fn run(
    interest: Option<&Interest>,
    local: Option<&Arc<dyn Local>>,
    channel: &Arc<dyn Channel>,
) {
    let (Some(interest), Some(local)) = (interest, local) else {
        return std::future::pending().await;
    };
    loop {
        let rooms = interest.take();
        if rooms.is_empty() {
            interest.bell.notified().await;
            continue;
        }
        let look = |room: Room| async move {
            match (local.has_room(&room) || interest.is_held(&room), interest.is_listened(&room)) {
                (true, false) => match channel.listen(room.clone()).await {
                    Ok(()) => interest.settled(&room, true),
                    Err(error) => {
                        tracing::warn!(%room, %error, "a room is not heard");
                        return Some(room);
                    }
                },
                (false, true) => {
                    channel.unlisten(room.clone()).await;
                    interest.settled(&room, false);
                }
                (wanted, _) => interest.settled(&room, wanted),
            }
            None
        };
        let failed: Vec<_> = join_all(rooms.into_iter().map(look)).await.into_iter().flatten().collect();
        if !failed.is_empty() {
            tokio::time::sleep(RETRY_PAUSE).await;
            interest.state.lock().changed.extend(failed);
        }
    }
}
