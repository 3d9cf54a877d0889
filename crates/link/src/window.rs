//! Who has which connection: the parent's queue, or the worker without a receipt yet. Pure.
//!
//! Told what was offered, sent, receipted and lost; tells what to send next and what came back. Generic over the
//! connection so that its tests need no socket.

use std::collections::VecDeque;

use crate::config::{Config, HEAD_BYTES_MAX};
use crate::message::Misbehaved;

/// What a window keeps: anything with a number of bytes already read.
pub(crate) trait Weigh {
    fn bytes(&self) -> usize;
}

/// Counters of one link since it began, and how full it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections that wait in the parent.
    pub queued: usize,
    /// Connections that the worker was sent and has not receipted.
    pub unreceipted: usize,
    /// Connections sent.
    pub sent: u64,
    /// Connections that the worker receipted: they are its own.
    pub receipted: u64,
    /// Connections that came back after they were taken, for whatever reason.
    pub returned: u64,
    /// Connections given back at once: full, shut, gone, or a head too large.
    pub refused: u64,
}

/// The connections between being passed and being receipted.
pub(crate) struct Window<T> {
    config: Config,
    open: bool,
    queue: VecDeque<T>,
    queue_bytes: usize,
    /// In the order sent; `None` where the worker said that it never got the descriptor.
    unreceipted: VecDeque<Option<T>>,
    receipted: u64,
    returned: VecDeque<T>,
    sent_count: u64,
    returned_count: u64,
    refused_count: u64,
}

impl<T: Weigh> Window<T> {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            open: true,
            queue: VecDeque::new(),
            queue_bytes: 0,
            unreceipted: VecDeque::new(),
            receipted: 0,
            returned: VecDeque::new(),
            sent_count: 0,
            returned_count: 0,
            refused_count: 0,
        }
    }

    /// Takes a connection in, or gives it back: shut, full, or its head is too large.
    pub(crate) fn handle_offer(&mut self, item: T) -> Result<(), T> {
        let bytes = item.bytes();
        let fits =
            self.queue.len() < self.config.queue && self.queue_bytes + bytes <= self.config.queue_bytes_max;
        if !self.open || !fits || bytes > HEAD_BYTES_MAX {
            self.refused_count += 1;
            return Err(item);
        }
        self.queue_bytes += bytes;
        self.queue.push_back(item);
        Ok(())
    }

    /// The one to send next, lent until [`Self::handle_sent`] or [`Self::handle_unsent`]; none while the window is full.
    pub(crate) fn poll_send(&mut self) -> Option<T> {
        if self.unreceipted.len() >= self.config.window.get() {
            return None;
        }
        let item = self.queue.pop_front()?;
        self.queue_bytes -= item.bytes();
        Some(item)
    }

    /// The lent one left.
    pub(crate) fn handle_sent(&mut self, item: T) {
        self.sent_count += 1;
        self.unreceipted.push_back(Some(item));
    }

    /// The lent one could not leave: it is first again, or comes back if the door was shut meanwhile.
    pub(crate) fn handle_unsent(&mut self, item: T) {
        if !self.open {
            return self.give_back(item);
        }
        self.queue_bytes += item.bytes();
        self.queue.push_front(item);
    }

    /// The worker has the first `count` of all that were ever sent; returns those that are its own from here on.
    pub(crate) fn handle_receipt(&mut self, count: u64) -> Result<Vec<T>, Misbehaved> {
        let settled = self.index(count)?;
        self.receipted = count;
        Ok(self.unreceipted.drain(..settled).flatten().collect())
    }

    /// The worker got number `number` (from 1) without its descriptor: it comes back.
    pub(crate) fn handle_lost(&mut self, number: u64) -> Result<(), Misbehaved> {
        let index = self.index(number)?.checked_sub(1);
        let slot = index.and_then(|index| self.unreceipted.get_mut(index));
        let item = slot.and_then(Option::take).ok_or_else(|| self.misreceipt(number))?;
        self.give_back(item);
        Ok(())
    }

    /// Nothing more shall be sent: what waits comes back, and so does whatever is offered.
    pub(crate) fn handle_shut(&mut self) {
        self.open = false;
        self.queue_bytes = 0;
        for item in std::mem::take(&mut self.queue) {
            self.give_back(item);
        }
    }

    /// The worker is gone: everything without a receipt comes back, oldest first.
    pub(crate) fn handle_gone(&mut self) {
        for item in std::mem::take(&mut self.unreceipted).into_iter().flatten() {
            self.give_back(item);
        }
        self.handle_shut();
    }

    /// One that came back.
    pub(crate) fn poll_returned(&mut self) -> Option<T> {
        self.returned.pop_front()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats {
            queued: self.queue.len(),
            unreceipted: self.unreceipted.len(),
            sent: self.sent_count,
            receipted: self.receipted,
            returned: self.returned_count,
            refused: self.refused_count,
        }
    }

    fn give_back(&mut self, item: T) {
        self.returned_count += 1;
        self.returned.push_back(item);
    }

    /// How many of the unreceipted a cumulative count covers.
    fn index(&self, count: u64) -> Result<usize, Misbehaved> {
        let covered = count.checked_sub(self.receipted).and_then(|n| usize::try_from(n).ok());
        covered.filter(|n| *n <= self.unreceipted.len()).ok_or_else(|| self.misreceipt(count))
    }

    fn misreceipt(&self, got: u64) -> Misbehaved {
        let most = self.receipted + self.unreceipted.len() as u64;
        Misbehaved::Receipt { got, least: self.receipted, most }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn beyond_the_window_they_wait_for_receipts() {
        let mut window = window(2, 8);
        offer(&mut window, 1..=4);
        assert_eq!(send(&mut window), [1, 2]);
        assert_eq!(receipt(&mut window, 1), Ok(vec![1]));
        assert_eq!(send(&mut window), [3]);
        assert_eq!(receipt(&mut window, 3), Ok(vec![2, 3]));
        assert_eq!(send(&mut window), [4]);
        assert_eq!(window.stats(), Stats { unreceipted: 1, sent: 4, receipted: 3, ..Stats::default() });
    }

    #[test]
    fn beyond_the_queue_they_are_given_back() {
        let mut window = window(1, 2);
        offer(&mut window, 1..=1);
        assert_eq!(send(&mut window), [1]);
        offer(&mut window, 2..=3);
        assert_eq!(window.handle_offer(4), Err(4));
        assert_eq!(window.stats().refused, 1);
    }

    #[test]
    fn a_head_too_large_or_too_many_bytes_are_given_back() {
        let config = Config { queue_bytes_max: HEAD_BYTES_MAX + 10, ..Config::default() };
        let mut window = Window::new(config);
        assert_eq!(window.handle_offer(HEAD_BYTES_MAX + 1), Err(HEAD_BYTES_MAX + 1));
        assert_eq!(window.handle_offer(HEAD_BYTES_MAX), Ok(()));
        assert_eq!(window.handle_offer(11), Err(11));
        assert_eq!(window.handle_offer(10), Ok(()));
        assert_eq!(send(&mut window), [HEAD_BYTES_MAX, 10]);
        assert_eq!(window.handle_offer(HEAD_BYTES_MAX), Ok(()), "what was sent frees its bytes");
    }

    #[test]
    fn a_receipt_for_what_was_never_sent_is_misbehaviour() {
        let mut window = window(8, 8);
        offer(&mut window, 1..=3);
        send(&mut window);
        assert_eq!(receipt(&mut window, 2), Ok(vec![1, 2]));
        for got in [0, 1, 4, u64::MAX] {
            assert_eq!(receipt(&mut window, got), Err(Misbehaved::Receipt { got, least: 2, most: 3 }));
        }
        assert_eq!(receipt(&mut window, 2), Ok(vec![]), "a receipt said twice changes nothing");
    }

    #[test]
    fn one_that_lost_its_descriptor_comes_back_and_the_receipt_skips_it() {
        let mut window = window(8, 8);
        offer(&mut window, 1..=3);
        send(&mut window);
        assert_eq!(window.handle_lost(2), Ok(()));
        assert_eq!(returned(&mut window), [2]);
        assert!(window.handle_lost(2).is_err(), "it can be lost once");
        assert!(window.handle_lost(0).is_err());
        assert!(window.handle_lost(4).is_err());
        assert_eq!(receipt(&mut window, 3), Ok(vec![1, 3]));
    }

    #[test]
    fn when_the_worker_goes_everything_without_a_receipt_comes_back_in_order() {
        let mut window = window(3, 8);
        offer(&mut window, 1..=5);
        send(&mut window);
        assert_eq!(receipt(&mut window, 1), Ok(vec![1]));
        window.handle_gone();
        assert_eq!(returned(&mut window), [2, 3, 4, 5]);
        assert_eq!(window.handle_offer(6), Err(6));
    }

    #[test]
    fn a_shut_door_gives_back_what_waits_and_keeps_what_was_sent() {
        let mut window = window(2, 8);
        offer(&mut window, 1..=3);
        let lent = window.poll_send().unwrap();
        window.handle_sent(lent);
        let lent = window.poll_send().unwrap();
        window.handle_shut();
        window.handle_unsent(lent);
        assert_eq!(returned(&mut window), [3, 2]);
        assert_eq!(window.handle_offer(4), Err(4));
        assert_eq!(receipt(&mut window, 1), Ok(vec![1]));
    }

    #[test]
    fn one_that_could_not_leave_is_the_next_again() {
        let mut window = window(8, 8);
        offer(&mut window, 1..=2);
        let lent = window.poll_send().unwrap();
        window.handle_unsent(lent);
        assert_eq!(send(&mut window), [1, 2]);
    }

    proptest! {
        /// Whatever happens in whatever order, each connection ends in one place: refused, settled or returned.
        #[test]
        fn none_is_lost_and_none_is_doubled(steps in proptest::collection::vec((0..6u8, any::<u8>()), 0..200)) {
            let mut window = window(4, 6);
            let (mut next, mut accounted) = (0, Vec::new());
            for (step, n) in steps {
                let stats = window.stats();
                match step {
                    0 | 1 => {
                        accounted.extend(window.handle_offer(next).err());
                        next += 1;
                    }
                    2 => if let Some(lent) = window.poll_send() { window.handle_sent(lent) },
                    3 => if let Some(lent) = window.poll_send() { window.handle_unsent(lent) },
                    4 => {
                        let count = stats.receipted + u64::from(n) % (stats.unreceipted as u64 + 2);
                        accounted.extend(window.handle_receipt(count).unwrap_or_default());
                    }
                    _ => drop(window.handle_lost(stats.receipted + u64::from(n % 4))),
                }
                prop_assert!(window.stats().unreceipted <= 4 && window.stats().queued <= 6);
            }
            window.handle_gone();
            accounted.extend(returned(&mut window));
            accounted.sort_unstable();
            prop_assert_eq!(accounted, (0..next).collect::<Vec<_>>());
        }
    }

    impl Weigh for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    fn window(window: usize, queue: usize) -> Window<usize> {
        let window = NonZeroUsize::new(window).unwrap();
        Window::new(Config { window, queue, ..Config::default() })
    }

    fn offer(window: &mut Window<usize>, items: impl IntoIterator<Item = usize>) {
        items.into_iter().for_each(|item| window.handle_offer(item).unwrap());
    }

    fn send(window: &mut Window<usize>) -> Vec<usize> {
        let mut sent = Vec::new();
        while let Some(item) = window.poll_send() {
            sent.push(item);
            window.handle_sent(item);
        }
        sent
    }

    fn receipt(window: &mut Window<usize>, count: u64) -> Result<Vec<usize>, Misbehaved> {
        window.handle_receipt(count)
    }

    fn returned(window: &mut Window<usize>) -> Vec<usize> {
        std::iter::from_fn(|| window.poll_returned()).collect()
    }
}
