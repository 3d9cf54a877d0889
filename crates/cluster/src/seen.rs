//! The last few ids that were seen, so that what a bus repeats is heard once.

use std::collections::{BTreeSet, VecDeque};

/// A set that forgets its oldest members.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    members: BTreeSet<T>,
    order: VecDeque<T>,
    max: usize,
}

impl<T: Ord + Clone> Seen<T> {
    /// Makes a set that remembers this many.
    pub(crate) const fn new(max: usize) -> Self {
        Self { members: BTreeSet::new(), order: VecDeque::new(), max }
    }

    /// Notes a member; `false`: it was known.
    pub(crate) fn insert(&mut self, member: T) -> bool {
        if !self.members.insert(member.clone()) {
            return false;
        }
        self.order.push_back(member);
        if self.order.len() > self.max
            && let Some(oldest) = self.order.pop_front()
        {
            self.members.remove(&oldest);
        }
        true
    }
}
