//! The connection that listens, for all channels of an adapter: kept, and made again when it is lost.
//!
//! One task owns it. It ends when the last [`Member`] and the [`Subscriber`] are gone. Whoever wants to hear something is a member.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use redis::cmd;
use sockeye_cluster::adapter::AdapterError;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::connection::{Command, Connection, adapter_error, is_lost};
use crate::limits::{
    CONNECT_TIMEOUT, ORDERS_MAX, PING_INTERVAL, RECONNECT_MAX, RECONNECT_MIN, RESPONSE_TIMEOUT,
    SUBSCRIBE_TIMEOUT,
};
use crate::link::within;
use crate::routes::{Ear, Meaning, MemberId, Routes, Subscription};
use crate::server::{Push, Server};

/// The connection that listens. A clone is the same one.
#[derive(Clone)]
pub(crate) struct Subscriber(Arc<Shared>);

struct Shared {
    orders: mpsc::Sender<Order>,
    routes: Arc<Routes>,
    /// What nobody hears any more, to be unsubscribed from.
    orphans: Arc<Orphans>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Orphans {
    list: Mutex<Vec<Subscription>>,
    bell: Notify,
}

/// One who hears. Dropped, it hears nothing more, from that moment on.
pub(crate) struct Member {
    id: MemberId,
    ear: Arc<dyn Ear>,
    subscriber: Subscriber,
}

enum Order {
    Subscribe { id: MemberId, ear: Arc<dyn Ear>, subscriptions: Vec<Subscription>, stays: bool, done: Done },
    Unsubscribe { id: MemberId, subscription: Subscription, done: Done },
}

type Done = oneshot::Sender<Result<(), AdapterError>>;

impl Subscriber {
    /// Starts the task; it connects when there is a member. Must be called within a runtime.
    pub(crate) fn new(server: Server, whole: bool) -> Self {
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let routes = Arc::<Routes>::default();
        let orphans = Arc::<Orphans>::default();
        let task = Task {
            server,
            whole,
            orders: inbox,
            routes: Arc::clone(&routes),
            orphans: Arc::clone(&orphans),
            live: None,
            was_lost: false,
            waiting: Vec::new(),
            pause: RECONNECT_MIN,
            retry_at: Instant::now(),
            ping_at: Instant::now(),
        };
        // Ends when the last sender of orders is gone. It does not panic: what members do is theirs, on the connection's task.
        tokio::spawn(task.run());
        Self(Arc::new(Shared { orders, routes, orphans, next_id: AtomicU64::new(1) }))
    }

    /// Subscribes somebody to all of these, or, where that fails, to none.
    pub(crate) async fn join(
        &self,
        ear: Arc<dyn Ear>,
        subscriptions: Vec<Subscription>,
    ) -> Result<Member, AdapterError> {
        let id = self.0.next_id.fetch_add(1, Relaxed);
        let member = Member { id, ear, subscriber: self.clone() };
        member.order(subscriptions, false).await?;
        Ok(member)
    }
}

impl Member {
    /// Subscribes to one more. Where that fails the wish stands, for the next connection.
    pub(crate) async fn subscribe(&self, subscription: Subscription) -> Result<(), AdapterError> {
        self.order(vec![subscription], true).await
    }

    /// Unsubscribes from one.
    pub(crate) async fn unsubscribe(&self, subscription: Subscription) {
        let (done, told) = oneshot::channel();
        let order = Order::Unsubscribe { id: self.id, subscription, done };
        if self.subscriber.0.orders.send(order).await.is_ok() {
            let _ = tokio::time::timeout(SUBSCRIBE_TIMEOUT, told).await;
        }
    }

    /// Leaves everything, at once.
    pub(crate) fn leave(&self) {
        let shared = &self.subscriber.0;
        let orphans = shared.routes.remove_all(self.id);
        if !orphans.is_empty() {
            shared.orphans.list.lock().extend(orphans);
            shared.orphans.bell.notify_one();
        }
    }

    async fn order(&self, subscriptions: Vec<Subscription>, stays: bool) -> Result<(), AdapterError> {
        let (done, told) = oneshot::channel();
        let order = Order::Subscribe { id: self.id, ear: Arc::clone(&self.ear), subscriptions, stays, done };
        let ordered = async {
            let gone = || AdapterError::Unreachable("the subscriber has ended".into());
            self.subscriber.0.orders.send(order).await.map_err(|_| gone())?;
            told.await.unwrap_or_else(|_| Err(gone()))
        };
        match tokio::time::timeout(SUBSCRIBE_TIMEOUT, ordered).await {
            Ok(result) => result,
            Err(_) => Err(AdapterError::Unreachable(format!("no subscription within {SUBSCRIBE_TIMEOUT:?}"))),
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.leave();
    }
}

struct Task {
    server: Server,
    whole: bool,
    orders: mpsc::Receiver<Order>,
    routes: Arc<Routes>,
    orphans: Arc<Orphans>,
    live: Option<Live>,
    /// Whether members have heard that the connection was lost.
    was_lost: bool,
    /// Who waits for the next connection.
    waiting: Vec<Done>,
    pause: std::time::Duration,
    retry_at: Instant,
    ping_at: Instant,
}

/// A subscription that is ordered: what of it nobody has yet, and all of it.
struct Wish {
    id: MemberId,
    fresh: Vec<Subscription>,
    all: Vec<Subscription>,
    stays: bool,
    done: Done,
}

struct Live {
    connection: Connection,
    signal: Arc<Signal>,
}

/// Rung when the connection is lost. What comes over one that was given up is not heard.
#[derive(Default)]
struct Signal {
    lost: Notify,
    given_up: std::sync::atomic::AtomicBool,
}

impl Drop for Live {
    fn drop(&mut self) {
        self.signal.given_up.store(true, Relaxed);
    }
}

impl Task {
    async fn run(mut self) {
        let mut orders = Vec::new();
        loop {
            let signal = self.live.as_ref().map(|live| Arc::clone(&live.signal));
            let wanted = signal.is_none() && !self.routes.subscriptions().is_empty();
            tokio::select! {
                count = self.orders.recv_many(&mut orders, ORDERS_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.obey(std::mem::take(&mut orders)).await;
                }
                () = self.orphans.bell.notified() => self.drop_orphans().await,
                () = lost(signal.as_deref()) => self.give_up("the connection ended"),
                () = tokio::time::sleep_until(self.retry_at), if wanted => self.resume().await,
                () = tokio::time::sleep_until(self.ping_at), if signal.is_some() => self.ping().await,
            }
        }
    }

    /// Does what was ordered, in order: subscriptions that follow each other go in one go, and fail together.
    async fn obey(&mut self, orders: Vec<Order>) {
        let mut wishes = Vec::new();
        for order in orders {
            match order {
                Order::Subscribe { id, ear, subscriptions, stays, done } => {
                    // Whoever has gone meanwhile is not to be subscribed.
                    if done.is_closed() && !stays {
                        continue;
                    }
                    let mut fresh = subscriptions.clone();
                    fresh.retain(|one| self.routes.add(one.clone(), id, Arc::clone(&ear)));
                    wishes.push(Wish { id, fresh, all: subscriptions, stays, done });
                }
                Order::Unsubscribe { id, subscription, done } => {
                    self.subscribe(std::mem::take(&mut wishes)).await;
                    if self.routes.remove(&subscription, id) {
                        self.unsubscribe(vec![subscription]).await;
                    }
                    let _ = done.send(Ok(()));
                }
            }
        }
        self.subscribe(wishes).await;
    }

    async fn subscribe(&mut self, wishes: Vec<Wish>) {
        if wishes.is_empty() {
            return;
        }
        let result = if self.live.is_some() {
            let fresh: Vec<_> = wishes.iter().flat_map(|wish| wish.fresh.iter().cloned()).collect();
            self.send(&fresh, true).await
        } else if wishes.iter().all(|wish| wish.stays) {
            // The next connection subscribes to all that is wanted.
            self.waiting.extend(wishes.into_iter().map(|wish| wish.done));
            return;
        } else {
            self.connect(Some(wishes[0].id)).await
        };
        for wish in wishes {
            if result.is_err() && !wish.stays {
                for subscription in &wish.all {
                    self.routes.remove(subscription, wish.id);
                }
            }
            let _ = wish.done.send(result.clone());
        }
    }

    async fn unsubscribe(&mut self, subscriptions: Vec<Subscription>) {
        for subscription in &subscriptions {
            self.routes.expect_leave(subscription);
        }
        let _ = self.send(&subscriptions, false).await;
    }

    async fn drop_orphans(&mut self) {
        let mut orphans = std::mem::take(&mut *self.orphans.list.lock());
        // Somebody else may have come to hear it meanwhile.
        orphans.retain(|subscription| !self.routes.is_heard(subscription));
        self.unsubscribe(orphans).await;
    }

    /// Sends these over the connection, if there is one.
    async fn send(&mut self, subscriptions: &[Subscription], subscribe: bool) -> Result<(), AdapterError> {
        let Some(live) = &mut self.live else { return Ok(()) };
        if subscriptions.is_empty() {
            return Ok(());
        }
        match send(&mut live.connection, subscriptions, subscribe).await {
            Ok(()) => Ok(()),
            Err(error) => {
                let result = adapter_error(&error);
                if is_lost(&error) {
                    self.give_up("a subscription failed");
                }
                Err(result)
            }
        }
    }

    /// Connects, and subscribes to all that is wanted. Whoever had lost the former connection is told, the newcomer is not.
    async fn connect(&mut self, newcomer: Option<MemberId>) -> Result<(), AdapterError> {
        let signal = Arc::<Signal>::default();
        let (routes, rung) = (Arc::clone(&self.routes), Arc::clone(&signal));
        let push = Push(Arc::new(move |info| {
            if !rung.given_up.load(Relaxed) && routes.hear(info) == Meaning::Lost {
                rung.lost.notify_one();
            }
        }));
        self.routes.expect_nothing();
        let connecting =
            within(CONNECT_TIMEOUT, Box::pin(self.server.connect(self.whole, push, RESPONSE_TIMEOUT)));
        let mut live = Live { connection: connecting.await?, signal };
        send(&mut live.connection, &self.routes.subscriptions(), true)
            .await
            .map_err(|error| adapter_error(&error))?;
        self.live = Some(live);
        self.pause = RECONNECT_MIN;
        self.ping_at = Instant::now() + PING_INTERVAL;
        for done in self.waiting.drain(..) {
            let _ = done.send(Ok(()));
        }
        if std::mem::take(&mut self.was_lost) {
            info!(server = ?self.server.addresses, "subscribed to redis again");
            self.routes.tell_all(newcomer, |ear| ear.resumed());
        }
        Ok(())
    }

    /// Tries to connect again, or knows when to try next.
    async fn resume(&mut self) {
        if let Err(error) = self.connect(None).await {
            warn!(server = ?self.server.addresses, %error, "redis cannot be reached");
            // Some more or less, so that servers do not all come at once.
            self.retry_at = Instant::now() + self.pause.mul_f64(rand::random_range(0.5..1.5));
            self.pause = (self.pause * 2).min(RECONNECT_MAX);
        }
    }

    fn give_up(&mut self, why: &str) {
        if self.live.take().is_none() {
            return;
        }
        warn!(server = ?self.server.addresses, why, "the subscriptions at redis are lost; what is published meanwhile is not heard");
        self.retry_at = Instant::now();
        self.was_lost = true;
        self.routes.tell_all(None, |ear| ear.lost());
    }

    /// Asks whether the other end lives.
    async fn ping(&mut self) {
        self.ping_at = Instant::now() + PING_INTERVAL;
        let Some(live) = &mut self.live else { return };
        if let Err(error) = live.connection.send(&cmd("PING")).await
            && is_lost(&error)
        {
            self.give_up("it does not answer");
        }
    }
}

async fn lost(signal: Option<&Signal>) {
    match signal {
        Some(signal) => signal.lost.notified().await,
        None => std::future::pending().await,
    }
}

async fn send(
    connection: &mut Connection,
    subscriptions: &[Subscription],
    subscribe: bool,
) -> redis::RedisResult<()> {
    let commands = subscriptions.iter().map(|subscription| {
        let kind = subscription.kind;
        let mut cmd = cmd(if subscribe { kind.subscribe() } else { kind.unsubscribe() });
        cmd.arg(&*subscription.name);
        Command { name: &subscription.name, cmd }
    });
    for result in connection.send_all(commands.collect()).await {
        result?;
    }
    Ok(())
}
