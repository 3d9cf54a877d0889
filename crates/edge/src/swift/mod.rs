//! The swift way: usual requests and upgrades, carried without an HTTP library. What is unusual, and all that follows it, is the other way's
//! ([`client`](crate::client)), with every byte read so far; nothing of it was sent then.
//!
//! This file finds out what a request asks for; [`trip`] takes it there. Neither decides anything that the other way does not decide alike: who is asked, what
//! a dead server means and what is never sent twice are the same.

pub(crate) mod answer;
mod hear;
mod line;
pub(crate) mod order;
mod plain;
mod teller;
mod trip;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use sockeye_proto::http::{Head, Status};
use sockeye_relay::End;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::access_line;
use crate::config::Serves;
use crate::engine::Engine;
use crate::exchange;
use crate::group::Group;
use crate::layout::{Answers, Asked, Layout};
use crate::place::Terms;
use crate::route::{Route, Words};
use crate::servers::{Intent, Owner};
use crate::shared::Shared;
use line::{Heard, Line, Nothing};
use order::{Order, Usual};
pub(crate) use teller::Teller;
use trip::{After, Job, Switched, Trip, Way};

/// One client's connection.
pub(crate) struct Swift {
    pub(crate) shared: Arc<Shared>,
    pub(crate) terms: Arc<Terms>,
    /// Tells upstreams who the client is.
    pub(crate) teller: Teller,
    /// Turns true when the edge drains.
    pub(crate) draining: watch::Receiver<bool>,
}

/// What a head asks for.
enum Found {
    /// It goes on its way.
    Go(Box<Job>),
    /// It is the other way's.
    Unusual,
}

impl Swift {
    /// Serves usual requests. Gives the connection back, with what was read from it, where a request is not. `end` makes it the end of a tunnel.
    pub(crate) async fn serve<S>(&self, stream: S, read: Bytes, end: fn(S) -> End) -> Option<(S, Bytes)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let idle_time_max = self.shared.layout().config.limits.idle_time_max;
        let mut line = Line::new(stream, read, idle_time_max);
        let (draining, mut heard) = (self.draining.clone(), Heard::default());
        // One wait for all of its requests: to begin another for each costs more than all the rest of the wait.
        let mut told = pin!(async {
            let _ = self.draining.clone().wait_for(|draining| *draining).await;
        });
        let mut stop = |cx: &mut Context<'_>| {
            if heard.is_by(cx) && matches!(draining.has_changed(), Ok(false)) {
                return Poll::Pending;
            }
            heard.note(cx);
            told.as_mut().poll(cx)
        };
        let mut layout = self.shared.latest_layout();
        loop {
            let limits = &layout.load().config.limits;
            line.allow(limits.idle_time_max);
            let max = limits.head_bytes_max.get() as usize;
            match line.head(max, &mut stop, |bytes, now| self.look(layout.load(), bytes, now)).await {
                // On the heap while it is under way: a connection that waits for its next request holds no room for one.
                Ok(Found::Go(job)) => match Box::pin(self.carry(&mut line, job)).await {
                    After::GoesOn => {}
                    After::Ends => return None,
                    After::Switched(switched) => {
                        let Switched { upstream, wire, said, cord } = *switched;
                        let (stream, read) = line.into_parts();
                        upstream.join_wire((end(stream), read), (wire, said.into()), cord);
                        return None;
                    }
                },
                Ok(Found::Unusual) | Err(Nothing::TooLong) => return Some(line.into_parts()),
                Err(Nothing::Gone | Nothing::Late) => return None,
            }
        }
    }

    fn carry<'a, S: AsyncRead + AsyncWrite + Unpin>(
        &'a self,
        line: &'a mut Line<S>,
        job: Box<Job>,
    ) -> impl Future<Output = After> + use<'a, S> {
        let (shared, terms, draining) = (&*self.shared, &*self.terms, &self.draining);
        Trip { shared, terms, draining, line, job }.carry()
    }

    /// Looks at the request at the front of `bytes`, and tells how many of them it takes. `None`: its head is not whole.
    fn look(&self, layout: &Layout, bytes: &[u8], now: Instant) -> Option<(Found, usize)> {
        let unusual = Some((Found::Unusual, 0));
        // Not moved: it is large.
        let parsed = Head::parse(bytes);
        let (head, length) = match &parsed {
            Ok(Status::Complete((head, length))) => (head, *length),
            Ok(Status::Partial) => return None,
            Err(_) => return unusual,
        };
        if length > layout.config.limits.head_bytes_max.get() as usize {
            return unusual;
        }
        let Some(usual) = Usual::of(head) else { return unusual };
        let upgrade = usual != Usual::Request;
        let asked = Asked {
            listener: &self.terms.listener.name,
            host: if layout.tells_hosts_apart { head.header("host").unwrap_or_default() } else { "" },
            path: head.path(),
            upgrade,
        };
        let is_read = matches!(head.method(), "GET" | "HEAD");
        let group = match layout.find(&asked) {
            Some(Answers::Relay(group)) => group,
            Some(Answers::Files(_, Some(group))) if upgrade || !is_read => group,
            Some(Answers::Files(..) | Answers::Redirect(_) | Answers::Health { .. }) | None => {
                return unusual;
            }
        };
        // What is introduced to its server, or told to it by a cookie, takes the other way.
        if group.config.send_proxy.is_some() || group.cookie().is_some() {
            return unusual;
        }
        let words = Words::of(head.query_string());
        // Of a client that asked for a WebSocket the header was lost: the other way counts it.
        if !upgrade && words.names_websocket() {
            return unusual;
        }
        let Some(way) = self.way(layout, group, head, &words, now) else { return unusual };
        let plain = !group.is_local() && matches!(&way, Way::Anyone(intent, _) if intent.session);
        let trust = &layout.config.trust;
        let (order, taken) = Order::write((head, length), bytes, usual, (&self.teller, trust), plain);
        let counts = upgrade || layout.log.is_some();
        let engine = if counts { Engine::of(head.method(), head.query_string()) } else { Engine::None };
        let is_engine = words.are_for_engine(&group.config.engine_path, head.path());
        let entry = layout.log.as_ref().map(|log| Box::new(log.begin(self.note(layout, head, engine))));
        let way = Some(way);
        let job = Job { order, group: Arc::clone(group), way, under_way: None, engine, is_engine, entry };
        Some((Found::Go(Box::new(job)), taken))
    }

    /// Who is asked, where that is simple.
    fn way(
        &self,
        layout: &Layout,
        group: &Group,
        head: &Head<'_>,
        words: &Words<'_>,
        now: Instant,
    ) -> Option<Way> {
        let header = |name: &str| head.values(name).collect();
        let hints = || exchange::hints(group, &layout.config.trust, self.teller.peer().ip(), &header);
        let intent = |session, of_session| Intent { session, of_session, hints: hints() };
        let known = || words.sid().map_or(Owner::Unknown, |sid| group.servers.session(sid, now.into_std()));
        match Route::of(&group.config.engine_path, head.method(), head.path(), words) {
            Route::Owner(tag) if group.has_tags() => {
                let door = group.servers.owner(tag)?;
                let under_way = match if group.is_local() { Owner::Unknown } else { known() } {
                    Owner::At(_, under_way) => Some(under_way),
                    Owner::Dead | Owner::Unknown => None,
                };
                Some(Way::Owner(door, under_way))
            }
            Route::Unknown if group.has_tags() => None,
            Route::Owner(_) | Route::Unknown => match known() {
                Owner::At(door, under_way) if group.learns() => Some(Way::Owner(door, Some(under_way))),
                Owner::At(_, under_way) => Some(Way::Anyone(intent(false, true), Some(under_way))),
                Owner::Dead => None,
                Owner::Unknown => {
                    let intent = intent(false, true);
                    if !intent.hints.is_empty() || !group.learns() {
                        return Some(Way::Anyone(intent, None));
                    }
                    group.servers.only().map(|door| Way::Owner(door, None))
                }
            },
            Route::Handshake => Some(Way::Anyone(intent(true, false), None)),
            Route::Any => Some(Way::Anyone(intent(false, false), None)),
            Route::Health | Route::HealthText | Route::Ready if !group.is_local() => {
                Some(Way::Anyone(intent(false, false), None))
            }
            Route::Health | Route::HealthText | Route::Ready => None,
        }
    }

    /// What is known of a request before it is answered.
    fn note(&self, layout: &Layout, head: &Head<'_>, engine: Engine) -> access_line::Line {
        let client = self.teller.client(&layout.config.trust, head);
        let line = access_line::Line::of(head, self.teller.peer().ip(), client.ip());
        let listener = self.terms.listener.name.clone();
        access_line::Line { listener, tag: engine.tag(), transport: engine.transport(), ..line }
    }
}

/// Whether the swift way is open at a place.
pub(crate) fn is_open(terms: &Terms) -> bool {
    matches!(&terms.listener.serves, Serves::Http(http) if http.redirect.is_none())
}
