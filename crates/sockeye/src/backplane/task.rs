//! The task of a namespace on a backplane: opens the channel, publishes what waits, keeps the time, leaves.

use super::event::BackplaneEvent;
use super::interest;
use super::local::Local;
use super::shared::{Shared, as_event};
use crate::clock::{now, until};
use futures_util::future::join_all;
use sockeye_cluster::adapter::{AdapterError, BoxFuture, Channel, Letter, Opening, Published};
use sockeye_cluster::{Flags, Message, Packet, REQUEST_TIMEOUT, RequestId, Selector};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a namespace that could not be opened waits for the next attempt.
const REOPEN_PAUSE: Duration = Duration::from_secs(1);

/// How long leaving waits for what was published to be sent.
pub(super) const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a letter leaves behind in case that it cannot be published.
enum Left {
    Nothing,
    /// Somebody waits for answers.
    Question(RequestId),
    /// It is to be delivered here all the same.
    Event(Selector, Flags, Packet),
}

type Publishing = BoxFuture<'static, Vec<Result<Published, AdapterError>>>;

/// Runs until the last handle is gone and what was said is published.
pub(super) async fn run(
    shared: Arc<Shared>,
    local: Arc<dyn Local>,
    tell: oneshot::Sender<Result<(), AdapterError>>,
    once: bool,
) {
    // Opened once.
    drop(shared.local.set(local));
    let mut tell = Some(tell);
    if let Some(channel) = open(&shared, &mut tell, once).await {
        // Open means: whoever is here already knows of this server.
        let batch = shared.desk.lock().queue.batch();
        let left = batch.iter().map(|letter| leave_behind(&shared, letter)).collect();
        settle(&shared, channel.publish(batch).await, left);
        // Opened once.
        let _ = shared.opened_at.set(now());
        shared.channel.send_replace(Some(Arc::clone(&channel)));
        tell.take().into_iter().for_each(|tell| drop(tell.send(Ok(()))));
        tokio::select! {
            () = publish(&shared, &channel) => {}
            () = interest::run(shared.interest.as_ref(), shared.local.get(), &channel) => {}
        }
        if tokio::time::timeout(LEAVE_TIMEOUT, channel.close()).await.is_err() {
            tracing::warn!(nsp = %shared.nsp, "the backplane could not be left in time");
        }
    }
    shared.set_left();
}

async fn open(
    shared: &Arc<Shared>,
    tell: &mut Option<oneshot::Sender<Result<(), AdapterError>>>,
    once: bool,
) -> Option<Arc<dyn Channel>> {
    loop {
        let inbox = {
            let shared = Arc::downgrade(shared);
            Arc::new(move |arrival| {
                if let Some(shared) = shared.upgrade() {
                    shared.arrived(arrival);
                }
            })
        };
        let opening = Opening { nsp: shared.nsp.clone(), uid: shared.uid.clone(), inbox };
        let opened = shared.adapter.open(opening).await;
        let error = match opened {
            Ok(channel) => return Some(channel),
            Err(error) => error,
        };
        match tell.take() {
            // Who asks may have gone.
            Some(tell) => drop(tell.send(Err(error))),
            None => tracing::warn!(nsp = %shared.nsp, %error, "the backplane cannot be reached"),
        }
        if once {
            return None;
        }
        let paused = tokio::time::Instant::now() + REOPEN_PAUSE;
        while tokio::time::Instant::now() < paused {
            tokio::select! {
                () = shared.bell.notified() => {}
                () = tokio::time::sleep_until(paused) => {}
            }
            if shared.desk.lock().closing {
                return None;
            }
            shared.turn(|desk| desk.node.handle_timeout(now()));
        }
    }
}

/// Publishes what waits and keeps the time, until the server leaves.
async fn publish(shared: &Arc<Shared>, channel: &Arc<dyn Channel>) {
    let mut under_way: Option<(Publishing, Vec<Left>)> = None;
    let mut give_up: Option<tokio::time::Instant> = None;
    loop {
        if under_way.is_none() {
            let (batch, is_over) = {
                let mut desk = shared.desk.lock();
                let batch = desk.queue.batch();
                let is_over = desk.closing && batch.is_empty();
                (batch, is_over)
            };
            if is_over {
                return;
            }
            if !batch.is_empty() {
                let left = batch.iter().map(|letter| leave_behind(shared, letter)).collect();
                let channel = Arc::clone(channel);
                under_way = Some((Box::pin(publish_heard(Arc::clone(shared), channel, batch)), left));
            }
        }
        let (due, closing) = {
            let desk = shared.desk.lock();
            (desk.node.poll_timeout(), desk.closing)
        };
        if closing && give_up.is_none() {
            give_up = Some(tokio::time::Instant::now() + LEAVE_TIMEOUT);
        }
        let published = async {
            match &mut under_way {
                Some((publishing, _)) => publishing.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            results = published => {
                let left = under_way.take().map(|(_, left)| left).unwrap_or_default();
                settle(shared, results, left);
            }
            () = shared.bell.notified() => {}
            () = until(due) => shared.turn(|desk| desk.node.handle_timeout(now())),
            () = until(give_up.map(tokio::time::Instant::into_std)) => {
                tracing::warn!(nsp = %shared.nsp, "what was said last could not be published in time");
                return;
            }
        }
    }
}

/// Publishes a batch when what comes back of it is heard here.
async fn publish_heard(
    shared: Arc<Shared>,
    channel: Arc<dyn Channel>,
    batch: Vec<Letter>,
) -> Vec<Result<Published, AdapterError>> {
    if let (true, Some(interest), Some(local)) = (shared.ordered, &shared.interest, shared.local.get()) {
        let events = batch.iter().filter_map(|letter| {
            let Message::Broadcast { selector, request_id: None, .. } = &letter.message else { return None };
            Some(&selector.rooms)
        });
        let rooms: BTreeSet<_> = events.flatten().filter(|room| local.has_room(room)).collect();
        let heard = join_all(rooms.into_iter().map(|room| interest.heard(room)));
        // What cannot be listened to is tried again and again; the others are not to wait for that.
        drop(tokio::time::timeout(REQUEST_TIMEOUT, heard).await);
    }
    channel.publish(batch).await
}

fn leave_behind(shared: &Shared, letter: &Letter) -> Left {
    let event = as_event(&letter.message).filter(|(_, flags, _)| shared.ordered && !flags.volatile);
    match (event, letter.message.asks()) {
        (Some((selector, flags, packet)), _) => Left::Event(selector, flags, packet),
        (None, Some(id)) => Left::Question(id.clone()),
        (None, None) => Left::Nothing,
    }
}

/// Takes what became of a batch.
fn settle(shared: &Shared, results: Vec<Result<Published, AdapterError>>, left: Vec<Left>) {
    let mut failed = 0;
    let mut cause = None;
    let mut published = false;
    for (result, left) in results.into_iter().zip(left) {
        match (result, left) {
            (Ok(_), _) => published = true,
            (Err(error), left) => {
                failed += 1;
                cause = Some(error);
                match left {
                    Left::Nothing => {}
                    Left::Question(id) => shared.turn(|desk| desk.node.handle_unpublished(Some(&id))),
                    Left::Event(selector, flags, packet) => {
                        if let Some(local) = shared.local.get() {
                            local.deliver_at(None, true, &selector, flags, &packet);
                        }
                    }
                }
            }
        }
    }
    if published {
        shared.turn(|desk| desk.node.handle_published(now()));
    }
    if let Some(error) = cause {
        tracing::warn!(nsp = %shared.nsp, messages = failed, %error, "the backplane did not take what was said");
        shared.tell(|nsp| BackplaneEvent::Unpublished { nsp, messages: failed });
    }
}
