//! How far each node has counted, so that what comes late or twice is known as such.

use std::collections::{BTreeMap, VecDeque};

use crate::name::Uid;

/// How many nodes are remembered, gone ones included; the first is forgotten first.
const REMEMBERED_MAX: usize = 8192;

/// The count of each node.
#[derive(Debug, Default)]
pub(super) struct Heard {
    counts: BTreeMap<Uid, u64>,
    order: VecDeque<Uid>,
}

impl Heard {
    /// Notes a count; `false`: it is no greater than one before.
    pub(super) fn is_newer(&mut self, uid: &Uid, count: u64) -> bool {
        if let Some(last) = self.counts.get_mut(uid) {
            let newer = count > *last;
            *last = count.max(*last);
            return newer;
        }
        self.counts.insert(uid.clone(), count);
        self.order.push_back(uid.clone());
        if self.order.len() > REMEMBERED_MAX
            && let Some(first) = self.order.pop_front()
        {
            self.counts.remove(&first);
        }
        true
    }

    /// Takes note that a node has said its last word.
    pub(super) fn ends(&mut self, uid: &Uid) {
        self.counts.insert(uid.clone(), u64::MAX);
    }
}
