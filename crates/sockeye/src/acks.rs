//! The acks that one socket owes to the server.

use crate::payload::Args;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Acks of one socket that may be awaited at the same time; the next one fails.
pub(crate) const ACKS_PENDING_MAX: usize = 1024;

/// The register of awaited acks.
#[derive(Debug, Default)]
pub(crate) struct Acks(Mutex<Register>);

#[derive(Debug, Default)]
struct Register {
    next: u64,
    pending: Vec<(u64, oneshot::Sender<Args>)>,
    closed: bool,
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
        let mut register = self.0.lock();
        if register.closed || register.pending.len() >= ACKS_PENDING_MAX {
            return None;
        }
        let id = register.next;
        register.next += 1;
        let (sender, answer) = oneshot::channel();
        register.pending.push((id, sender));
        Some(Pending { acks: self, id, answer })
    }

    /// Hands an answer over; one that nobody awaits is dropped.
    pub(crate) fn resolve(&self, id: u64, args: Args) {
        if let Some(sender) = self.remove(id) {
            drop(sender.send(args));
        }
    }

    /// Whether an ack is awaited.
    pub(crate) fn is_awaited(&self) -> bool {
        !self.0.lock().pending.is_empty()
    }

    /// Fails every awaited ack, and every later one.
    pub(crate) fn close(&self) {
        let mut register = self.0.lock();
        register.closed = true;
        let pending = std::mem::take(&mut register.pending);
        drop(register);
        drop(pending);
    }

    fn remove(&self, id: u64) -> Option<oneshot::Sender<Args>> {
        let mut register = self.0.lock();
        let index = register.pending.iter().position(|(pending, _)| *pending == id)?;
        let (_, sender) = register.pending.swap_remove(index);
        if register.pending.is_empty() {
            register.pending = Vec::new();
        }
        Some(sender)
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
    use bytes::Bytes;

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

    fn args(json: &'static str) -> Args {
        Args::new(Bytes::from_static(json.as_bytes()), Vec::new())
    }
}
