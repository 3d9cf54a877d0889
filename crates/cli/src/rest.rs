//! A process that has nothing to do gives back the memory of what it did: a daemon and a keeper live long, and are asked rarely.

use std::time::{Duration, Instant};

/// How long nothing happens before a process is at rest.
const REST_AFTER: Duration = Duration::from_secs(1);

/// Since when nothing happened. The start is the first work.
#[derive(Debug)]
pub(crate) struct Rest {
    due: Option<Instant>,
}

impl Rest {
    /// At its start.
    pub(crate) fn new(now: Instant) -> Self {
        Self { due: Some(now + REST_AFTER) }
    }

    /// Something happened.
    pub(crate) fn handle_work(&mut self, now: Instant) {
        self.due = Some(now + REST_AFTER);
    }

    /// Whether the moment has come, once.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        self.due.take_if(|due| *due <= now).is_some()
    }

    /// When to look again.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rests_once_after_each_work() {
        let start = Instant::now();
        let mut rest = Rest::new(start);
        assert!(!rest.handle_timeout(start));
        rest.handle_work(start + REST_AFTER / 2);
        assert!(!rest.handle_timeout(start + REST_AFTER));
        let due = rest.poll_timeout().unwrap();
        assert!(rest.handle_timeout(due));
        assert!(!rest.handle_timeout(due) && rest.poll_timeout().is_none());
    }
}
