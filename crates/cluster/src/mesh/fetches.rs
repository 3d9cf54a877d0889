//! Sessions that other members are asked for: who has still to answer, and what has come (`docs/mesh.md`, "A client comes back").

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::adapter::Session;
use crate::name::{RequestId, Uid};
use crate::places::Places;
use crate::recovery::Entry;
use crate::request::ANSWERS_BYTES_MAX;

/// How long a client that comes back waits for the members that hang; then it begins anew.
pub const FETCH_TIMEOUT: Duration = Duration::from_secs(1);

/// What is asked for at the moment.
#[derive(Debug, Default)]
pub struct Fetches(BTreeMap<RequestId, Fetch>);

/// What a member has told of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// The session.
    pub session: Session,
    /// What its client has missed, as far as that member has seen.
    pub missed: Vec<Entry>,
    /// Up to where it has seen.
    pub seen: Places,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    /// What was asked.
    pub request_id: RequestId,
    /// `None`: nobody can help.
    pub help: Option<Help>,
}

#[derive(Debug)]
struct Fetch {
    until: Instant,
    waiting: BTreeSet<Uid>,
    missed: BTreeMap<Uid, Vec<Entry>>,
    bytes: usize,
}

impl Fetches {
    /// Asks these members.
    pub fn begin(
        &mut self,
        id: RequestId,
        members: impl IntoIterator<Item = Uid>,
        now: Instant,
    ) -> Option<Fetched> {
        let waiting = members.into_iter().collect();
        let fetch = Fetch { until: now + FETCH_TIMEOUT, waiting, missed: BTreeMap::new(), bytes: 0 };
        self.0.insert(id.clone(), fetch);
        self.over(&id)
    }

    /// Takes an event of an answer. A member that tells more than [`ANSWERS_BYTES_MAX`] bytes counts as one that cannot help.
    pub fn handle_missed(&mut self, id: &RequestId, uid: &Uid, entry: Entry) -> Option<Fetched> {
        let fetch = self.0.get_mut(id).filter(|fetch| fetch.waiting.contains(uid))?;
        fetch.bytes += entry.packet.bytes();
        if fetch.bytes > ANSWERS_BYTES_MAX {
            fetch.missed.remove(uid);
            fetch.waiting.remove(uid);
            return self.over(id);
        }
        fetch.missed.entry(uid.clone()).or_default().push(entry);
        None
    }

    /// Takes the end of an answer.
    pub fn handle_response(
        &mut self,
        id: &RequestId,
        uid: &Uid,
        session: Option<Session>,
        seen: Places,
    ) -> Option<Fetched> {
        let fetch = self.0.get_mut(id)?;
        if !fetch.waiting.remove(uid) {
            return None;
        }
        let missed = fetch.missed.remove(uid).unwrap_or_default();
        let Some(session) = session else { return self.over(id) };
        self.0.remove(id);
        Some(Fetched { request_id: id.clone(), help: Some(Help { session, missed, seen }) })
    }

    /// Takes note that a member is gone.
    pub fn handle_left(&mut self, uid: &Uid) -> Vec<Fetched> {
        let asked: Vec<_> = self
            .0
            .iter_mut()
            .filter_map(|(id, fetch)| fetch.waiting.remove(uid).then(|| id.clone()))
            .collect();
        asked.iter().filter_map(|id| self.over(id)).collect()
    }

    /// Ends what is overdue.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Fetched> {
        let late = self.0.iter().filter(|(_, fetch)| fetch.until <= now).map(|(id, _)| id.clone());
        let late: Vec<_> = late.collect();
        late.into_iter()
            .map(|id| {
                self.0.remove(&id);
                Fetched { request_id: id, help: None }
            })
            .collect()
    }

    /// When [`Fetches::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.0.values().map(|fetch| fetch.until).min()
    }

    fn over(&mut self, id: &RequestId) -> Option<Fetched> {
        if !self.0.get(id)?.waiting.is_empty() {
            return None;
        }
        self.0.remove(id);
        Some(Fetched { request_id: id.clone(), help: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_can_help_decides_and_who_hangs_is_not_waited_for() {
        let now = Instant::now();
        let mut fetches = Fetches::default();
        let (id, seen) = (|| RequestId::new("r"), Places::default);
        let none = |id: RequestId| Some(Fetched { request_id: id, help: None });
        assert_eq!(fetches.begin(id(), [], now), none(id()));
        assert_eq!(fetches.begin(id(), ["a".into(), "b".into()], now), None);
        assert_eq!(fetches.handle_response(&id(), &"c".into(), None, seen()), None);
        assert_eq!(fetches.handle_response(&id(), &"a".into(), None, seen()), None);
        assert_eq!(fetches.handle_left(&"a".into()), vec![]);
        assert_eq!(fetches.handle_left(&"b".into()), vec![none(id()).unwrap()]);
        assert_eq!(fetches.begin(id(), ["a".into(), "b".into()], now), None);
        assert_eq!(fetches.poll_timeout(), Some(now + FETCH_TIMEOUT));
        assert_eq!(fetches.handle_timeout(now), vec![]);
        assert_eq!(fetches.handle_timeout(now + FETCH_TIMEOUT), vec![none(id()).unwrap()]);
        assert_eq!(fetches.handle_response(&id(), &"a".into(), None, seen()), None);
    }
}
