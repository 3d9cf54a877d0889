//! Questions that other nodes put to the application of this one.

use crate::cluster::Cluster;
use crate::delivery::RESERVED;
use crate::namespace::Namespace;
use crate::payload::Args;
use crate::realms::Realm;
use crate::server_event::{Asked, ServerEvent};
use sockeye_cluster::Packet;
use sockeye_cluster::node::{Asker, Question};
use sockeye_proto::socket::Event as WireEvent;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Handlers of such events that may be at work; a further event is dropped, and whoever waits for its answer waits in vain.
pub(crate) const SERVER_EVENTS_MAX: usize = 1024;

static AT_WORK: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(SERVER_EVENTS_MAX)));

/// Answers a question to a namespace, by its handlers where it is for them.
pub(crate) fn take(realm: &Arc<Realm>, cluster: &Cluster, question: Question) {
    if let Some((asker, packet)) = realm.hub.take(cluster, question) {
        handle(realm, cluster, asker, &packet);
    }
}

fn handle(realm: &Realm, cluster: &Cluster, asker: Option<Asker>, packet: &Packet) {
    let Ok(text) = std::str::from_utf8(&packet.data) else { return };
    let Ok(event) = WireEvent::split(text) else {
        tracing::debug!("what another server said is no event");
        return;
    };
    if event.name.starts_with(RESERVED) {
        let args = Args::new(event.args.as_bytes(), Vec::new());
        match asker {
            Some(asker) => realm.hub.answer_reserved(cluster, asker, &event.name, &args),
            None => realm.hub.hear_reserved(&event.name, &args),
        }
        return;
    }
    let Some((name, handler)) = realm.handlers.server_event(&event.name) else { return };
    let Ok(permit) = Arc::clone(&AT_WORK).try_acquire_owned() else {
        tracing::warn!(event = %name, "too many events of other servers are handled; this one is dropped");
        return;
    };
    let args = Args::new(event.args.as_bytes(), packet.attachments.clone());
    let namespace = Namespace::new(Arc::clone(&realm.hub));
    let asked = asker.map(|asker| Asked::new(cluster.clone(), asker));
    let event = ServerEvent::new(namespace, name, args, asked);
    // Ends with the handler, or the runtime; a panic ends it alone, and the runtime reports it.
    tokio::spawn(async move {
        handler(event).await;
        drop(permit);
    });
}
