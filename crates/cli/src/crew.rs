//! The workers as the edge knows them: what the supervisor tells by instance, the edge hears by tag.

use std::collections::BTreeMap;

use sockeye_edge::Control;
use sockeye_proto::Tag;
use sockeye_supervisor::Event;
use tracing::error;

/// How often each worker may fail before any was ever ready.
const ATTEMPTS_MAX: u32 = 3;

/// Who serves at the moment, by instance.
pub(crate) struct Crew {
    control: Control,
    tags: BTreeMap<u32, Tag>,
    instances: u32,
    /// Ends before any worker was ready; none is counted after.
    failures: u32,
    ever_ready: bool,
}

impl Crew {
    /// So many workers, none of which is there yet.
    pub(crate) fn new(control: Control, instances: u32) -> Self {
        Self { control, tags: BTreeMap::new(), instances, failures: 0, ever_ready: false }
    }

    /// Passes on to the edge what concerns it.
    pub(crate) fn handle_event(&mut self, event: Event) {
        match event {
            Event::Ready { instance, tag, http, handover, .. } => match tag.parse() {
                Ok(tag) => {
                    self.ever_ready = true;
                    self.tags.insert(instance, tag);
                    self.control.add(tag, instance, http, handover);
                }
                Err(error) => error!(instance, %error, "a worker has a tag that is none: it gets no clients"),
            },
            Event::Load { instance, load } => {
                if let Some(&tag) = self.tags.get(&instance) {
                    self.control.load(tag, load.sessions, load.arrived);
                }
            }
            Event::Draining { instance, .. } => self.drain(instance),
            Event::Returned(connection) => self.control.returned(connection),
            Event::Died { instance, .. } => {
                if let Some(tag) = self.tags.remove(&instance) {
                    self.control.remove(tag);
                }
            }
            Event::RestartingIn { .. } => self.failures += u32::from(!self.ever_ready),
            Event::Started { .. }
            | Event::NotStarted { .. }
            | Event::AllReady
            | Event::Serving { .. }
            | Event::Asks { .. }
            | Event::PlainReady { .. }
            | Event::PlainLoad { .. }
            | Event::PlainGone { .. }
            | Event::Unfit { .. }
            | Event::GaveUp { .. }
            | Event::Gone { .. }
            | Event::Reloaded { .. }
            | Event::Killed { .. }
            | Event::Stopped => {}
        }
    }

    /// Gives no new client to anybody.
    pub(crate) fn drain_all(&self) {
        self.tags.values().for_each(|tag| self.control.drain(*tag));
    }

    /// Whether nobody was ever ready, and trying again has no sense.
    pub(crate) fn is_hopeless(&self) -> bool {
        self.failures >= ATTEMPTS_MAX.saturating_mul(self.instances)
    }

    fn drain(&self, instance: u32) {
        if let Some(tag) = self.tags.get(&instance) {
            self.control.drain(*tag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sockeye_edge::{Config, Proxy};
    use std::time::Duration;

    #[tokio::test]
    async fn a_start_is_given_up_when_each_worker_was_tried_three_times() {
        let mut crew = Crew::new(proxy().control(), 2);
        for attempt in 0..6 {
            assert!(!crew.is_hopeless(), "attempt {attempt}");
            crew.handle_event(Event::RestartingIn { instance: attempt % 2, delay: Duration::ZERO });
        }
        assert!(crew.is_hopeless());
    }

    fn proxy() -> Proxy {
        Proxy::bind(Config::listen(([127, 0, 0, 1], 0).into())).unwrap()
    }
}
