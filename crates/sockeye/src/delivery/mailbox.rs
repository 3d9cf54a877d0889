//! The door of a connection: everything that reaches it from another task comes through here.
//!
//! Packets for a WebSocket on a plain socket are brought there by a [`Carrier`]; anything else wakes the connection's task. Bounded in
//! bytes. What does not fit is decided at once: volatile mail is dropped, anything else makes room ([`excess`](super::excess)) or closes the
//! connection (`overflowed`), so nobody ever waits for a slow client.

use super::carrier::{Carrier, Stop};
use super::excess::drop_oldest;
use super::keyed::Keyed;
use super::mail::{Batch, Control, Mail};
use crate::config::MailboxExcess;
use crate::limit::Limit;
use crate::outgoing::Outgoing;
use crate::traffic::Tally;
use crate::transport::{Flushed, Outlet};
use parking_lot::{Mutex, MutexGuard};
use sockeye_proto::engine::{Protocol, Transport};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

/// The bounded queue of one connection.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    tally: Tally,
    bytes_max: u32,
    protocol: Protocol,
    /// A POST is being read. Engine.IO v4: one at a time.
    posting: AtomicBool,
    /// Whether plain requests with this session's id are in order.
    polling: AtomicBool,
    /// The connection's task is at work and looks for mail before it sleeps.
    awake: AtomicBool,
    direct: OnceLock<Direct>,
}

/// The way to the socket that needs no task of the connection.
#[derive(Debug)]
struct Direct {
    outlet: Arc<Outlet>,
    carrier: Arc<Carrier>,
}

#[derive(Debug)]
struct Queue {
    mail: Batch,
    bytes: u32,
    state: State,
    requests: u8,
    controls: u32,
    /// The carrier was called.
    called: bool,
    /// Nothing can be sent at the moment: volatile packets are dropped.
    holding: bool,
    excess: MailboxExcess,
    /// Mail with a key, if any waits.
    keyed: Option<Box<Keyed>>,
    waker: Option<Waker>,
}

// With the counts of its `Arc` it fits 256 bytes; the allocator's next larger size is 320.
const _: () = assert!(size_of::<Mailbox>() <= 240);

/// Requests of a client (polls, POSTs, probes) that may wait for its connection's task. A well-behaved client has two.
const REQUESTS_WAITING_MAX: u8 = 64;

/// More mail came than the mailbox may hold; by which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Overflowed(pub(crate) Limit);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Mail was refused; the connection has to close.
    Overflowed(Limit),
    Closed,
}

impl Mailbox {
    /// Makes a mailbox that holds `bytes_max` bytes of packets.
    pub(crate) fn new(
        bytes_max: u32,
        excess: MailboxExcess,
        protocol: Protocol,
        transport: Transport,
    ) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue {
                mail: Batch::new(),
                bytes: 0,
                state: State::Open,
                requests: 0,
                controls: 0,
                called: false,
                holding: false,
                excess,
                keyed: None,
                waker: None,
            }),
            tally: Tally::default(),
            bytes_max,
            protocol,
            posting: AtomicBool::new(false),
            polling: AtomicBool::new(transport == Transport::Polling),
            awake: AtomicBool::new(false),
            direct: OnceLock::new(),
        })
    }

    /// Lets mail go to the socket by `carrier`, past the connection's task.
    pub(crate) fn attach(&self, outlet: &Arc<Outlet>, carrier: &Arc<Carrier>) {
        if outlet.is_direct() {
            // Set once: a session has one WebSocket in its life.
            drop(self.direct.set(Direct { outlet: Arc::clone(outlet), carrier: Arc::clone(carrier) }));
        }
    }

    /// Posts a packet. To a closed connection it is a no-op.
    pub(crate) fn post(self: &Arc<Self>, packet: &Arc<Outgoing>) {
        let mut queue = self.queue.lock();
        if queue.state != State::Open {
            return;
        }
        if queue.holding && packet.is_volatile() {
            return self.tally.count_dropped();
        }
        let bytes = queue.bytes.saturating_add(packet.cost());
        // The first packet always fits: a limit below one packet would make that packet undeliverable.
        if (bytes > self.bytes_max && queue.bytes > 0) || packet.key().is_some() {
            if packet.is_volatile() && bytes > self.bytes_max && queue.bytes > 0 {
                return self.tally.count_dropped();
            }
            self.place(&mut queue, packet);
            if queue.state != State::Open {
                return self.alert(queue);
            }
        } else {
            queue.bytes = bytes;
            queue.mail.push(Mail::Packet(Arc::clone(packet)));
        }
        if queue.called || self.awake.load(Ordering::Acquire) {
            return;
        }
        let Some(direct) = self.direct.get() else { return self.alert(queue) };
        queue.called = true;
        drop(queue);
        if !direct.carrier.call(Arc::<Self>::clone(self)) {
            self.wake();
        }
    }

    /// Posts a packet that has to take another's place.
    #[cold]
    fn place(&self, queue: &mut Queue, packet: &Arc<Outgoing>) {
        let replaced = packet.key().and_then(|key| queue.keyed.as_mut()?.remove(key));
        if let Some(replaced) = replaced {
            self.tally.count_coalesced();
            queue.bytes = queue.bytes.saturating_sub(replaced.cost());
        }
        let excess = queue.bytes.saturating_add(packet.cost()).saturating_sub(self.bytes_max);
        if excess > 0 && queue.bytes > 0 && queue.excess == MailboxExcess::DropOldest {
            let wanted = excess.max(self.bytes_max / 8);
            let (freed, dropped) = drop_oldest(&mut queue.mail, queue.keyed.as_deref_mut(), wanted);
            queue.bytes = queue.bytes.saturating_sub(freed);
            self.tally.count_dropped_oldest(dropped);
        }
        let bytes = queue.bytes.saturating_add(packet.cost());
        if bytes > self.bytes_max && queue.bytes > 0 {
            queue.state = State::Overflowed(Limit::MailboxBytesMax);
            return;
        }
        queue.bytes = bytes;
        let place = queue.mail.len();
        match packet.key() {
            None => queue.mail.push(Mail::Packet(Arc::clone(packet))),
            Some(key) => {
                let keyed = queue.keyed.get_or_insert_default();
                keyed.put(Arc::clone(key), Arc::clone(packet), place);
            }
        }
    }

    /// Sets what happens when more mail comes than may wait.
    pub(crate) fn set_excess(&self, excess: MailboxExcess) {
        self.queue.lock().excess = excess;
    }

    /// Posts what changes something. `Err` gives it back: the connection is gone, or goes for too many requests at once.
    pub(crate) fn control(&self, control: Control) -> Result<(), Box<Control>> {
        let control = Box::new(control);
        let mut queue = self.queue.lock();
        if queue.state == State::Closed {
            return Err(control);
        }
        if control.is_request() {
            if queue.requests >= REQUESTS_WAITING_MAX {
                queue.state = State::Overflowed(Limit::RequestsWaitingMax);
                return Err(control);
            }
            queue.requests += 1;
        }
        queue.controls += 1;
        queue.mail.push(Mail::Control(control));
        self.alert(queue);
        Ok(())
    }

    /// The connection's task is at work: until it sleeps, nobody needs to call it.
    pub(crate) fn attend(&self) {
        self.awake.store(true, Ordering::Release);
    }

    /// Takes all mail. With `hold` set, because nothing can be sent, packets stay where they are and only control passes.
    ///
    /// # Errors
    /// Mail was refused: the connection has to close.
    pub(crate) fn take(&self, hold: bool) -> Result<Batch, Overflowed> {
        let mut queue = self.queue.lock();
        queue.holding = hold;
        if let State::Overflowed(limit) = queue.state {
            return Err(Overflowed(limit));
        }
        queue.requests = 0;
        if hold {
            if queue.controls == 0 {
                return Ok(Batch::new());
            }
            let Queue { mail, keyed, .. } = &mut *queue;
            if let Some(keyed) = keyed {
                keyed.forget_places(|place| matches!(mail[place], Mail::Control(_)));
            }
            let (controls, packets) = std::mem::take(&mut queue.mail)
                .into_iter()
                .partition(|mail| matches!(mail, Mail::Control(_)));
            queue.mail = packets;
            queue.controls = 0;
            return Ok(controls);
        }
        Ok(queue.empty())
    }

    /// The connection's task is about to sleep, and leaves word to be woken. `false`: there is mail to take first.
    pub(crate) fn sleep(&self, cx: &Context<'_>, hold: bool) -> bool {
        let mut queue = self.queue.lock();
        queue.holding = hold;
        let ready = match queue.state {
            State::Open => queue.controls > 0 || (!hold && !queue.is_empty()),
            State::Overflowed(_) => true,
            State::Closed => false,
        };
        if ready {
            return false;
        }
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        self.awake.store(false, Ordering::Release);
        true
    }

    /// Wakes the connection's task if it sleeps.
    fn alert(&self, mut queue: MutexGuard<'_, Queue>) {
        if !self.awake.load(Ordering::Acquire) {
            let waker = queue.waker.take();
            drop(queue);
            waker.into_iter().for_each(Waker::wake);
        }
    }

    /// What its connection counts.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Whether a packet waits.
    pub(crate) fn has_packets(&self) -> bool {
        self.queue.lock().bytes > 0
    }

    /// Takes no more mail and drops what waits.
    pub(crate) fn close(&self) {
        let mut queue = self.queue.lock();
        queue.state = State::Closed;
        queue.bytes = 0;
        queue.controls = 0;
        let mail = (std::mem::take(&mut queue.mail), queue.keyed.take());
        let waker = queue.waker.take();
        drop(queue);
        drop((mail, waker));
    }

    /// Marks the begin of a POST; `false` when one is under way.
    pub(crate) fn begin_post(&self) -> bool {
        !self.posting.swap(true, Ordering::AcqRel)
    }

    /// Marks the end of a POST.
    pub(crate) fn end_post(&self) {
        self.posting.store(false, Ordering::Release);
    }

    /// The version that the session's client speaks.
    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the session takes plain requests.
    pub(crate) fn is_polling(&self) -> bool {
        self.polling.load(Ordering::Acquire)
    }

    /// The session moved to a WebSocket.
    pub(crate) fn leave_polling(&self) {
        self.polling.store(false, Ordering::Release);
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.mail.is_empty() && self.keyed.is_none()
    }

    /// Takes all mail.
    fn empty(&mut self) -> Batch {
        self.bytes = 0;
        self.controls = 0;
        let mail = std::mem::take(&mut self.mail);
        match self.keyed.take() {
            None => mail,
            Some(keyed) => keyed.merge(mail),
        }
    }
}

impl Stop for Mailbox {
    fn deliver(&self) {
        let Some(direct) = self.direct.get() else { return self.wake() };
        let sending = direct.outlet.try_lock();
        let mut queue = self.queue.lock();
        queue.called = false;
        // The connection's task is at it: it looks here before it sleeps.
        let Some(mut sending) = sending else { return };
        if queue.state != State::Open || queue.controls > 0 || !sending.is_empty() {
            // As above, or the task waits for the socket and looks here when that takes more.
            return;
        }
        let batch = queue.empty();
        drop(queue);
        for mail in batch {
            match mail {
                Mail::Packet(packet) => {
                    self.tally.count_packet_out(packet.len());
                    sending.queue(packet);
                }
                Mail::Control(_) => {}
            }
        }
        match sending.try_flush() {
            Flushed::Whole => {}
            Flushed::Stuck => {
                drop(sending);
                self.wake();
            }
        }
    }

    fn wake(&self) {
        let mut queue = self.queue.lock();
        queue.called = false;
        let waker = queue.waker.take();
        drop(queue);
        waker.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    #[test]
    fn mail_is_taken_whole_and_a_sleeper_is_woken_once() {
        let mailbox = Mailbox::new(1000, MailboxExcess::Close, Protocol::V4, Transport::WebSocket);
        let (count, waker) = counting();
        let cx = Context::from_waker(&waker);
        assert!(mailbox.sleep(&cx, false));
        mailbox.post(&packet(10));
        mailbox.post(&packet(10));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let batch = mailbox.take(false).unwrap();
        assert_eq!(batch.len(), 2);
        assert!(mailbox.sleep(&cx, false));
    }

    #[test]
    fn too_much_mail_marks_the_connection_and_volatile_mail_does_not() {
        let mailbox = Mailbox::new(300, MailboxExcess::Close, Protocol::V4, Transport::WebSocket);
        mailbox.post(&packet(100));
        mailbox.post(&Outgoing::text(&[&[b'x'; 200]]).volatile(true).shared());
        let batch = mailbox.take(false).unwrap();
        assert_eq!(batch.len(), 1);
        mailbox.post(&packet(200));
        mailbox.post(&packet(200));
        assert_eq!(mailbox.take(false).err(), Some(Overflowed(Limit::MailboxBytesMax)));
    }

    #[test]
    fn one_packet_larger_than_the_limit_passes() {
        let mailbox = Mailbox::new(300, MailboxExcess::Close, Protocol::V4, Transport::WebSocket);
        mailbox.post(&packet(1000));
        assert_eq!(mailbox.take(false).map(|batch| batch.len()).ok(), Some(1));
    }

    #[test]
    fn volatile_mail_is_dropped_while_nothing_can_be_sent() {
        let mailbox = Mailbox::new(300, MailboxExcess::Close, Protocol::V4, Transport::Polling);
        let cx = Context::from_waker(Waker::noop());
        assert!(mailbox.sleep(&cx, true));
        mailbox.post(&Outgoing::text(&[b"x"]).volatile(true).shared());
        assert!(!mailbox.has_packets());
    }

    #[test]
    fn held_packets_wait_while_control_passes() {
        let mailbox = Mailbox::new(1000, MailboxExcess::Close, Protocol::V4, Transport::Polling);
        let cx = Context::from_waker(Waker::noop());
        mailbox.post(&packet(10));
        assert!(mailbox.sleep(&cx, true));
        mailbox.control(Control::Shutdown).unwrap();
        let batch = mailbox.take(true).unwrap();
        assert!(matches!(&batch[..], [Mail::Control(_)]));
        let batch = mailbox.take(false).unwrap();
        assert!(matches!(&batch[..], [Mail::Packet(_)]));
    }

    #[test]
    fn a_closed_mailbox_gives_control_back_and_ignores_packets() {
        let mailbox = Mailbox::new(1000, MailboxExcess::Close, Protocol::V4, Transport::Polling);
        mailbox.close();
        mailbox.post(&packet(1));
        assert!(!mailbox.has_packets());
        assert!(mailbox.control(Control::Shutdown).is_err());
    }

    #[test]
    fn a_flood_of_requests_marks_the_connection() {
        let mailbox = Mailbox::new(1000, MailboxExcess::Close, Protocol::V4, Transport::Polling);
        for _ in 0..REQUESTS_WAITING_MAX {
            mailbox.control(Control::BadRequest).unwrap();
        }
        // What the server says itself passes.
        mailbox.control(Control::Close).unwrap();
        mailbox.control(Control::BadRequest).unwrap_err();
        assert_eq!(mailbox.take(false).err(), Some(Overflowed(Limit::RequestsWaitingMax)));
    }

    fn packet(size: usize) -> Arc<Outgoing> {
        Outgoing::text(&[&vec![b'x'; size]]).shared()
    }

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn counting() -> (Arc<Count>, Waker) {
        let count = Arc::new(Count(AtomicUsize::new(0)));
        (Arc::clone(&count), Waker::from(count))
    }
}
