//! The door of a connection: everything that reaches it from another task comes through here.
//!
//! Bounded in bytes. What does not fit is decided at once: volatile mail is dropped, anything else makes room ([`excess`](super::excess))
//! or closes the connection (`overflowed`), so nobody ever waits for a slow client.

use super::excess::drop_oldest;
use super::keyed::Keyed;
use super::mail::{Batch, Control, Mail};
use crate::config::MailboxExcess;
use crate::limit::Limit;
use crate::outgoing::Outgoing;
use crate::traffic::Tally;
use parking_lot::Mutex;
use sockeye_proto::engine::{Protocol, Transport};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

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
}

#[derive(Debug)]
struct Queue {
    mail: Batch,
    bytes: u32,
    state: State,
    requests: u8,
    /// Nothing can be sent at the moment: volatile packets are dropped.
    holding: bool,
    excess: MailboxExcess,
    /// Mail with a key, if any waits.
    keyed: Option<Box<Keyed>>,
    waker: Option<Waker>,
}

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
        })
    }

    /// Posts a packet. To a closed connection it is a no-op.
    pub(crate) fn post(&self, packet: &Arc<Outgoing>) {
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
        } else {
            queue.bytes = bytes;
            queue.mail.push(Mail::Packet(Arc::clone(packet)));
        }
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
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
        queue.mail.push(Mail::Control(control));
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes all mail, or leaves word to be woken. With `hold` set, because nothing can be sent, packets stay where they are
    /// and only control passes.
    ///
    /// # Errors
    /// Mail was refused since the last call: the connection has to close.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, hold: bool) -> Poll<Result<Batch, Overflowed>> {
        let mut queue = self.queue.lock();
        queue.holding = hold;
        if let State::Overflowed(limit) = queue.state {
            return Poll::Ready(Err(Overflowed(limit)));
        }
        let ready = if hold {
            queue.mail.iter().any(|mail| matches!(mail, Mail::Control(_)))
        } else {
            !queue.mail.is_empty() || queue.keyed.is_some()
        };
        if ready {
            queue.requests = 0;
            if hold {
                let Queue { mail, keyed, .. } = &mut *queue;
                if let Some(keyed) = keyed {
                    keyed.forget_places(|place| matches!(mail[place], Mail::Control(_)));
                }
                let (controls, packets) = std::mem::take(&mut queue.mail)
                    .into_iter()
                    .partition(|mail| matches!(mail, Mail::Control(_)));
                queue.mail = packets;
                return Poll::Ready(Ok(controls));
            }
            queue.bytes = 0;
            let mail = std::mem::take(&mut queue.mail);
            return Poll::Ready(Ok(match queue.keyed.take() {
                None => mail,
                Some(keyed) => keyed.merge(mail),
            }));
        }
        if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            queue.waker = Some(cx.waker().clone());
        }
        Poll::Pending
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
        assert!(mailbox.poll_take(&cx, false).is_pending());
        mailbox.post(&packet(10));
        mailbox.post(&packet(10));
        assert_eq!(count.0.load(Ordering::SeqCst), 1);
        let Poll::Ready(Ok(batch)) = mailbox.poll_take(&cx, false) else { panic!("mail waits") };
        assert_eq!(batch.len(), 2);
        assert!(mailbox.poll_take(&cx, false).is_pending());
    }

    #[test]
    fn too_much_mail_marks_the_connection_and_volatile_mail_does_not() {
        let mailbox = Mailbox::new(300, MailboxExcess::Close, Protocol::V4, Transport::WebSocket);
        mailbox.post(&packet(100));
        mailbox.post(&Outgoing::text(&[&[b'x'; 200]]).volatile(true).shared());
        let cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Ok(batch)) = mailbox.poll_take(&cx, false) else { panic!("mail waits") };
        assert_eq!(batch.len(), 1);
        mailbox.post(&packet(200));
        mailbox.post(&packet(200));
        assert!(matches!(
            mailbox.poll_take(&cx, false),
            Poll::Ready(Err(Overflowed(Limit::MailboxBytesMax)))
        ));
    }

    #[test]
    fn one_packet_larger_than_the_limit_passes() {
        let mailbox = Mailbox::new(300, MailboxExcess::Close, Protocol::V4, Transport::WebSocket);
        mailbox.post(&packet(1000));
        let cx = Context::from_waker(Waker::noop());
        assert!(matches!(mailbox.poll_take(&cx, false), Poll::Ready(Ok(_))));
    }

    #[test]
    fn volatile_mail_is_dropped_while_nothing_can_be_sent() {
        let mailbox = Mailbox::new(300, MailboxExcess::Close, Protocol::V4, Transport::Polling);
        let cx = Context::from_waker(Waker::noop());
        assert!(mailbox.poll_take(&cx, true).is_pending());
        mailbox.post(&Outgoing::text(&[b"x"]).volatile(true).shared());
        assert!(!mailbox.has_packets());
    }

    #[test]
    fn held_packets_wait_while_control_passes() {
        let mailbox = Mailbox::new(1000, MailboxExcess::Close, Protocol::V4, Transport::Polling);
        let cx = Context::from_waker(Waker::noop());
        mailbox.post(&packet(10));
        assert!(mailbox.poll_take(&cx, true).is_pending());
        mailbox.control(Control::Shutdown).unwrap();
        let Poll::Ready(Ok(batch)) = mailbox.poll_take(&cx, true) else { panic!("control waits") };
        assert!(matches!(&batch[..], [Mail::Control(_)]));
        let Poll::Ready(Ok(batch)) = mailbox.poll_take(&cx, false) else { panic!("the packet waits") };
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
        let cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Err(overflowed)) = mailbox.poll_take(&cx, false) else { panic!("it overflowed") };
        assert_eq!(overflowed, Overflowed(Limit::RequestsWaitingMax));
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
