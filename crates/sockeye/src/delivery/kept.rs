//! The sessions of a namespace where its backplane keeps them: who is here, what is to be written down, and the lane of its events.
//!
//! The lane is locked while an event is posted and while a session goes on and its socket is listed: else a client could get an event
//! twice, or meet a later one first. It may be locked again by its own thread, since a listener of rooms may emit. The book is a lock of
//! its own, under which only rooms and the data of a socket are looked at.

use super::Member;
use super::lane::Lane;
use crate::backplane::Holding;
use crate::cluster::now;
use parking_lot::{Mutex, ReentrantMutex};
use sockeye_cluster::adapter::{Missed, Position, Session};
use sockeye_cluster::recovery::{Config, Held, Ledger, Stats};
use sockeye_cluster::{Pid, Room};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore, watch};

/// Sessions that are fetched from the backplane at once, of one namespace; further clients wait for their turn.
const TAKEN_AT_ONCE: usize = 64;

/// What is kept of a namespace on a mesh.
pub(super) type Book = ReentrantMutex<RefCell<Ledger>>;

/// The sessions of a namespace on a backplane.
pub(crate) struct Kept {
    pub(super) config: Config,
    pub(super) lane: ReentrantMutex<RefCell<Lane>>,
    /// What is kept here where the members of a mesh keep it; the lane is not used then.
    pub(super) ledger: Option<Book>,
    pub(super) turns: Arc<Semaphore>,
    book: Mutex<Register>,
    /// Rings when something is to be written down; also when this is gone.
    pub(super) bell: Arc<Notify>,
    /// Moves when something was written down.
    written: watch::Sender<()>,
}

#[derive(Default)]
struct Register {
    here: HashMap<Pid, Here>,
    /// What is to be written down. Bounded: a task for each who is here, and `sessions_max` for others.
    tasks: BTreeMap<Pid, Task>,
    /// What is being written down.
    busy: BTreeSet<Pid>,
    stats: Stats,
}

/// A session whose client is here.
struct Here {
    member: Member,
    start: Option<Position>,
    /// Its credential ends: it is not kept, since only this server knows when.
    ends: bool,
    saved_at: Instant,
}

/// What is to be done with a session.
pub(super) enum Task {
    /// Its client is here: it is written down as it is then.
    Here,
    /// Its client is away.
    Away(Session),
    /// It is over.
    Forget,
}

/// What is to be written down.
pub(super) enum Job {
    Save { session: Session, keep: Duration, away: bool },
    Forget,
}

/// A session that was taken from the backplane, while its client is on its way in.
pub(crate) struct Taken {
    pub(super) session: Session,
    pub(super) missed: Vec<Missed>,
    /// What its client has met.
    pub(super) met: Option<Position>,
    pub(super) pending: Pending,
    /// Its rooms are heard here meanwhile.
    pub(super) holding: Option<Holding>,
}

/// Somebody is on the way in: what is delivered meanwhile is remembered.
pub(super) struct Pending {
    kept: Arc<Kept>,
    pub(super) beginning: u64,
}

impl Kept {
    pub(crate) fn new(config: Config) -> Arc<Self> {
        Self::keeping(config, None)
    }

    /// One of which all members of a mesh have a copy.
    pub(crate) fn on_mesh(config: Config) -> Arc<Self> {
        Self::keeping(config, Some(ReentrantMutex::new(RefCell::new(Ledger::new(config)))))
    }

    fn keeping(config: Config, ledger: Option<Book>) -> Arc<Self> {
        Arc::new(Self {
            ledger,
            config,
            lane: ReentrantMutex::default(),
            turns: Arc::new(Semaphore::new(TAKEN_AT_ONCE)),
            book: Mutex::new(Register::default()),
            bell: Arc::default(),
            written: watch::Sender::new(()),
        })
    }

    /// Begins to remember what is delivered.
    pub(super) fn expect(self: &Arc<Self>) -> Pending {
        let beginning = self.lane.lock().borrow_mut().begin();
        Pending { kept: Arc::clone(self), beginning }
    }

    /// Takes note of a client that is here; the one that its session had here before, if it is another.
    pub(super) fn enter(&self, pid: &Pid, member: Member, start: Option<Position>) -> Option<Member> {
        let mut book = self.book.lock();
        let here = Here { member, start, ends: false, saved_at: now() };
        let before = book.here.insert(pid.clone(), here);
        book.tasks.insert(pid.clone(), Task::Here);
        drop(book);
        self.bell.notify_one();
        before.map(|here| here.member)
    }

    /// A session changed: its rooms, or its data.
    pub(super) fn changed(&self, pid: &Pid) {
        let mut book = self.book.lock();
        if book.here.contains_key(pid) {
            book.tasks.insert(pid.clone(), Task::Here);
            drop(book);
            self.bell.notify_one();
        }
    }

    /// Takes note of whether a session's credential ends.
    pub(super) fn set_ends(&self, pid: &Pid, ends: bool) {
        let changed = {
            let mut book = self.book.lock();
            let here = book.here.get_mut(pid).filter(|here| here.ends != ends);
            here.map(|here| here.ends = ends).is_some()
        };
        if changed {
            self.changed(pid);
        }
    }

    /// A client has gone, in these rooms; whether its session waits for it.
    pub(super) fn part(&self, pid: &Pid, member: &Member, rooms: Vec<Room>, waits: bool) {
        let mut book = self.book.lock();
        // It may be here already, or elsewhere, by another connection.
        if !book.here.get(pid).is_some_and(|here| here.is(member)) {
            return;
        }
        let Some(here) = book.here.remove(pid) else { return };
        let session = here.session(pid, rooms);
        let task = if waits && !here.ends && session.data.len() <= self.config.data_bytes_max {
            Task::Away(session)
        } else {
            book.stats.evicted += u64::from(waits);
            Task::Forget
        };
        self.put(book, pid.clone(), task);
    }

    /// A session is over, though its client is not here.
    pub(super) fn end(&self, pid: &Pid) {
        let book = self.book.lock();
        if !book.here.contains_key(pid) {
            self.put(book, pid.clone(), Task::Forget);
        }
    }

    /// Writes a session down again that was taken and not used.
    pub(super) fn give_back(&self, session: Session) {
        let book = self.book.lock();
        if !book.here.contains_key(&session.pid) {
            self.put(book, session.pid.clone(), Task::Away(session));
        }
    }

    /// A session goes on elsewhere: it is not this server's any more. Its former client.
    pub(super) fn moved(&self, pid: &Pid) -> Option<Member> {
        let mut book = self.book.lock();
        book.tasks.remove(pid);
        book.here.remove(pid).map(|here| here.member)
    }

    /// Waits until a session is written down as it is.
    pub(super) async fn settled(&self, pid: &Pid) {
        self.until(|book| !book.tasks.contains_key(pid) && !book.busy.contains(pid)).await;
    }

    /// Waits until all is written down.
    pub(super) async fn all_settled(&self) {
        self.until(|book| book.tasks.is_empty() && book.busy.is_empty()).await;
    }

    /// What is to be written down next, as it is now; `rooms_of` tells the rooms of a socket.
    pub(super) fn next(&self, rooms_of: impl Fn(&Member) -> Vec<Room>) -> Option<(Pid, Job)> {
        let mut book = self.book.lock();
        let (pid, task) = book.tasks.pop_first()?;
        let away_max = self.config.max_disconnection_duration;
        let job = match task {
            Task::Forget => Job::Forget,
            Task::Away(session) => Job::Save { session, keep: away_max, away: true },
            Task::Here => match book.here.get_mut(&pid) {
                Some(here) if !here.ends => {
                    here.saved_at = now();
                    let session = here.session(&pid, rooms_of(&here.member));
                    if session.data.len() > self.config.data_bytes_max {
                        Job::Forget
                    } else {
                        // It is written again before that is over.
                        Job::Save { session, keep: away_max.saturating_mul(2), away: false }
                    }
                }
                Some(_) | None => Job::Forget,
            },
        };
        book.busy.insert(pid.clone());
        Some((pid, job))
    }

    /// A job is done, or could not be done and is to be done again.
    pub(super) fn done(&self, pid: &Pid, again: Option<Job>) {
        let mut book = self.book.lock();
        book.busy.remove(pid);
        let is_here = book.here.contains_key(pid);
        let task = match again {
            Some(_) if is_here => Some(Task::Here),
            Some(Job::Save { session, .. }) => Some(Task::Away(session)),
            Some(Job::Forget) => Some(Task::Forget),
            None => None,
        };
        if let Some(task) = task {
            book.tasks.entry(pid.clone()).or_insert(task);
        }
        drop(book);
        self.written.send_replace(());
    }

    /// Has those written down again of which the time is near; when that is to be done again.
    pub(crate) fn refresh(&self) -> Option<Instant> {
        if let Some(ledger) = &self.ledger {
            let ledger = ledger.lock();
            ledger.borrow_mut().handle_timeout(now());
            return ledger.borrow().poll_timeout();
        }
        let away_max = self.config.max_disconnection_duration;
        let time = now();
        let mut book = self.book.lock();
        let Register { here, tasks, .. } = &mut *book;
        let mut next = None;
        for (pid, here) in here.iter() {
            let due = here.saved_at.checked_add(away_max);
            if due.is_some_and(|due| due <= time) {
                tasks.insert(pid.clone(), Task::Here);
            }
            next = [next, due].into_iter().flatten().min();
        }
        drop(book);
        self.bell.notify_one();
        next
    }

    /// What was counted, and what is kept here.
    pub(crate) fn stats(&self) -> (Stats, Held) {
        if let Some(ledger) = &self.ledger {
            let ledger = ledger.lock();
            let mut stats = ledger.borrow().stats();
            stats.evicted += self.book.lock().stats.evicted;
            return (stats, ledger.borrow().held());
        }
        let (packets, bytes) = self.lane.lock().borrow().held();
        (self.book.lock().stats, Held { away: 0, packets, bytes })
    }

    pub(super) fn count(&self, count: impl FnOnce(&mut Stats)) {
        count(&mut self.book.lock().stats);
    }

    fn put(&self, mut book: parking_lot::MutexGuard<'_, Register>, pid: Pid, task: Task) {
        let bound = book.here.len() + self.config.sessions_max;
        if book.tasks.len() > bound && !book.tasks.contains_key(&pid) {
            book.stats.evicted += 1;
            return;
        }
        book.tasks.insert(pid, task);
        drop(book);
        self.bell.notify_one();
    }

    async fn until(&self, settled: impl Fn(&Register) -> bool) {
        // It cannot fail: the sender is here.
        drop(self.written.subscribe().wait_for(|()| settled(&self.book.lock())).await);
    }
}

impl Here {
    fn is(&self, member: &Member) -> bool {
        Arc::ptr_eq(&self.member.profile, &member.profile)
    }

    fn session(&self, pid: &Pid, rooms: Vec<Room>) -> Session {
        let data = self.member.profile.data.lock().as_ref().map(|data| data.get().to_owned());
        // As officially: a socket's data are an object unless they are set.
        let data = data.unwrap_or_else(|| NO_DATA.to_owned());
        Session { pid: pid.clone(), sid: self.member.id, rooms, data: data.into(), start: self.start.clone() }
    }
}

/// The data of a session whose socket has none.
pub(super) const NO_DATA: &str = "{}";

impl Drop for Kept {
    fn drop(&mut self) {
        self.bell.notify_one();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.kept.lane.lock().borrow_mut().end();
    }
}
