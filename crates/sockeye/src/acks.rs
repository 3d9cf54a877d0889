//! The acks that one socket owes to the server.

use crate::payload::Args;
use parking_lot::Mutex;
use std::fmt;
use std::time::Instant;
use tokio::sync::oneshot;

/// Acks of one socket that may be awaited at the same time; the next one fails.
pub(crate) const ACKS_PENDING_MAX: usize = 1024;

/// The register of awaited acks.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    /// It may wrap: no two of the few pending ones are that far apart.
    next: u32,
    pending: Vec<(u64, Awaiting)>,
    closed: bool,
}

/// Who awaits an ack.
enum Awaiting {
    /// A handler, or another task of the application; it forgets the ack itself.
    Task(oneshot::Sender<Args>),
    /// A broadcast, until then.
    Broadcast(Instant, HandIn),
}

/// Takes the ack that one client gave to a broadcast.
pub(crate) type HandIn = Box<dyn FnOnce(Args) + Send>;

/// Why an ack is not to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unexpected {
    /// The socket is closed.
    Closed,
    /// [`ACKS_PENDING_MAX`] are awaited.
    Full,
}

/// An awaited ack; dropping it forgets it.
#[derive(Debug)]
pub(crate) struct Pending<'a> {
    acks: &'a Acks,
    /// The id that the packet must bear.
    pub(crate) id: u64,
    /// Where the answer arrives; an error when the socket closes first.
    pub(crate) answer: oneshot::Receiver<Args>,
}

impl Acks {
    /// Registers an ack; `None` when the socket is closed or too many are pending.
    pub(crate) fn expect(&self) -> Option<Pending<'_>> {
        let (sender, answer) = oneshot::channel();
        let id = self.0.lock().add(Awaiting::Task(sender)).ok()?;
        Some(Pending { acks: self, id, answer })
    }

    /// Registers an ack that a broadcast awaits until then, and returns the id that the packet must bear.
    pub(crate) fn expect_until(&self, until: Instant, hand_in: HandIn) -> Result<u64, Unexpected> {
        self.0.lock().add(Awaiting::Broadcast(until, hand_in))
    }

    /// Hands an answer over; one that nobody awaits is dropped.
    pub(crate) fn resolve(&self, id: u64, args: Args) {
        match self.remove(id) {
            Some(Awaiting::Task(sender)) => drop(sender.send(args)),
            Some(Awaiting::Broadcast(_, hand_in)) => hand_in(args),
            None => {}
        }
    }

    /// Whether an ack is awaited.
    pub(crate) fn is_awaited(&self) -> bool {
        let mut register = self.0.lock();
        register.forget_overdue();
        !register.pending.is_empty()
    }

    /// Fails every awaited ack, and every later one.
    pub(crate) fn close(&self) {
        let mut register = self.0.lock();
        register.closed = true;
        let pending = std::mem::take(&mut register.pending);
        drop(register);
        drop(pending);
    }

    fn remove(&self, id: u64) -> Option<Awaiting> {
        let mut register = self.0.lock();
        let index = register.pending.iter().position(|(pending, _)| *pending == id)?;
        let (_, awaiting) = register.pending.swap_remove(index);
        if register.pending.is_empty() {
            register.pending = Vec::new();
        }
        Some(awaiting)
    }
}

impl Register {
    fn add(&mut self, awaiting: Awaiting) -> Result<u64, Unexpected> {
        self.forget_overdue();
        if self.closed {
            return Err(Unexpected::Closed);
        }
        if self.pending.len() >= ACKS_PENDING_MAX {
            return Err(Unexpected::Full);
        }
        let id = u64::from(self.next);
        self.next = self.next.wrapping_add(1);
        self.pending.push((id, awaiting));
        Ok(id)
    }

    /// Forgets what no broadcast awaits any more.
    fn forget_overdue(&mut self) {
        if self.pending.iter().any(|(_, awaiting)| matches!(awaiting, Awaiting::Broadcast(..))) {
            let now = tokio::time::Instant::now().into_std();
            self.pending.retain(|(_, awaiting)| match awaiting {
                Awaiting::Task(_) => true,
                Awaiting::Broadcast(until, _) => *until > now,
            });
        }
    }
}

impl fmt::Debug for Awaiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(_) => f.write_str("Task"),
            Self::Broadcast(until, _) => f.debug_tuple("Broadcast").field(until).finish(),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        self.acks.remove(self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_finds_its_question_once() {
        let acks = Acks::default();
        let mut first = acks.expect().unwrap();
        let second = acks.expect().unwrap();
        assert_eq!((first.id, second.id), (0, 1));
        acks.resolve(0, args("1"));
        acks.resolve(0, args("2"));
        assert_eq!(first.answer.try_recv(), Ok(args("1")));
        drop(second);
        assert!(!acks.is_awaited());
    }

    #[test]
    fn a_closed_socket_fails_its_acks() {
        let acks = Acks::default();
        let mut pending = acks.expect().unwrap();
        acks.close();
        assert!(pending.answer.try_recv().is_err());
        assert!(acks.expect().is_none());
    }

    #[test]
    fn the_number_of_pending_acks_is_bounded() {
        let acks = Acks::default();
        let pending: Vec<_> = (0..ACKS_PENDING_MAX).map(|_| acks.expect().unwrap()).collect();
        assert!(acks.expect().is_none());
        drop(pending);
        assert!(acks.expect().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_broadcast_awaits_in_vain_makes_room() {
        let acks = Acks::default();
        let until = tokio::time::Instant::now().into_std() + std::time::Duration::from_secs(1);
        for id in 0..ACKS_PENDING_MAX as u64 {
            assert_eq!(acks.expect_until(until, Box::new(|_| {})), Ok(id));
        }
        assert_eq!(acks.expect_until(until, Box::new(|_| {})), Err(Unexpected::Full));
        assert!(acks.is_awaited());
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert!(!acks.is_awaited());
        assert!(acks.expect().is_some());
        acks.close();
        assert_eq!(acks.expect_until(until, Box::new(|_| {})), Err(Unexpected::Closed));
    }

    fn args(json: &'static str) -> Args {
        Args::new(json.as_bytes(), Vec::new())
    }
}
