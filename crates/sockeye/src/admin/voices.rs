//! Channels of a backplane by which this server speaks in namespaces that it is not in, as an emitter does: nobody counts it there.

use parking_lot::Mutex;
use sockeye_cluster::adapter::{Adapter, AdapterError, Channel, Letter};
use sockeye_cluster::node::To;
use sockeye_cluster::{Message, Nsp, REQUEST_TIMEOUT};
use std::collections::VecDeque;
use std::sync::Arc;

/// Channels that are kept open; the one that was opened first goes.
const VOICES_MAX: usize = 64;

/// Channels by namespace.
#[derive(Default)]
pub(super) struct Voices(Mutex<VecDeque<(Nsp, Arc<dyn Channel>)>>);

impl Voices {
    /// Says something in a namespace, and waits until the backplane has it, for as long as [`REQUEST_TIMEOUT`].
    ///
    /// # Errors
    /// It cannot be reached, or does not take it.
    pub(super) async fn say(
        &self,
        adapter: &Arc<dyn Adapter>,
        nsp: &Nsp,
        message: Message,
    ) -> Result<(), String> {
        let said = async {
            let channel = self.channel(adapter, nsp).await?;
            let results = channel.publish(vec![Letter { to: To::All, message }]).await;
            results.into_iter().next().transpose().map(drop)
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, said).await {
            Ok(said) => said.map_err(|error: AdapterError| error.to_string()),
            Err(_) => Err(format!("no answer within {REQUEST_TIMEOUT:?}")),
        }
    }

    async fn channel(&self, adapter: &Arc<dyn Adapter>, nsp: &Nsp) -> Result<Arc<dyn Channel>, AdapterError> {
        if let Some(channel) = self.known(nsp) {
            return Ok(channel);
        }
        let channel = adapter.publisher(nsp.clone()).await?;
        let (kept, gone) = self.keep(nsp, channel);
        if let Some(gone) = gone {
            gone.close().await;
        }
        Ok(kept)
    }

    fn known(&self, nsp: &Nsp) -> Option<Arc<dyn Channel>> {
        let voices = self.0.lock();
        voices.iter().find(|(known, _)| known == nsp).map(|(_, channel)| Arc::clone(channel))
    }

    /// Keeps a channel, unless somebody was faster; returns the one that is kept, and one to be closed.
    fn keep(&self, nsp: &Nsp, channel: Arc<dyn Channel>) -> (Arc<dyn Channel>, Option<Arc<dyn Channel>>) {
        if let Some(known) = self.known(nsp) {
            return (known, Some(channel));
        }
        let mut voices = self.0.lock();
        voices.push_back((nsp.clone(), Arc::clone(&channel)));
        let gone = if voices.len() > VOICES_MAX { voices.pop_front() } else { None };
        (channel, gone.map(|(_, channel)| channel))
    }
}
