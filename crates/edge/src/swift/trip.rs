//! One request on its way: to the server that it belongs to, and elsewhere where that is safe.
//!
//! It decides nothing that the other way ([`exchange`](crate::exchange)) does not decide alike.

use std::sync::Arc;

use http::StatusCode;
use sockeye_proto::engine::{Opened, Refusal};
use sockeye_relay::{Cord, Upstream, Wire};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tracing::debug;

use super::answer::{Answer, Question, Rest};
use super::hear::{Lost, hear, more, rest};
use super::line::Line;
use super::order::Order;
use crate::access_log::Entry;
use crate::door::{Asking, Door};
use crate::engine::Engine;
use crate::group::Group;
use crate::place::Terms;
use crate::servers::{Intent, TunnelOf, UnderWay};
use crate::shared::Shared;

/// What is to be done with a request.
pub(super) struct Job {
    pub(super) order: Order,
    pub(super) group: Arc<Group>,
    /// Who is asked; taken when it goes.
    pub(super) way: Option<Way>,
    /// Counts its session while it is under way to anybody.
    pub(super) under_way: Option<UnderWay>,
    /// What it means to the engine, where that is counted or noted.
    pub(super) engine: Engine,
    /// Whether it is for the engine, and not for the application's own code.
    pub(super) is_engine: bool,
    /// Its line in the access log, where there is one.
    pub(super) entry: Option<Box<Entry>>,
}

/// Who is asked.
pub(super) enum Way {
    /// The one that has its session.
    Owner(Arc<Door>, Option<UnderWay>),
    /// Anybody, or whom its hints name. What is known of its session counts it while it is under way.
    Anyone(Intent, Option<UnderWay>),
}

/// A request under way.
pub(super) struct Trip<'a, S> {
    pub(super) shared: &'a Shared,
    pub(super) terms: &'a Terms,
    pub(super) draining: &'a watch::Receiver<bool>,
    pub(super) line: &'a mut Line<S>,
    pub(super) job: Box<Job>,
}

/// An answer on its way: the connection that it comes by, its head with what came behind it, and where that begins.
type Heard = (Wire, Answer, usize);

/// What becomes of the client's connection.
pub(super) enum After {
    GoesOn,
    Ends,
    /// It is a tunnel's from here on.
    Switched(Box<Switched>),
}

/// An upstream that switched.
pub(super) struct Switched {
    pub(super) upstream: Upstream,
    pub(super) wire: Wire,
    /// What the client is told first.
    pub(super) said: Vec<u8>,
    pub(super) cord: Option<Arc<Cord>>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Trip<'_, S> {
    pub(super) async fn carry(mut self) -> After {
        self.terms.counters.requests.add();
        if self.is_upgrade() {
            self.terms.counters.upgrades_asked.add();
        }
        match self.job.way.take() {
            None => After::Ends,
            Some(Way::Owner(door, under_way)) => self.ask_owner(&door, under_way).await,
            Some(Way::Anyone(intent, under_way)) => {
                self.job.under_way = under_way;
                if intent.session
                    && let Err(wait) = self.shared.admit()
                {
                    let seconds = wait.as_millis().div_ceil(1000).max(1);
                    let retry = format!("retry-after: {seconds}\r\n");
                    return self.reply(StatusCode::SERVICE_UNAVAILABLE, &retry, TOO_MANY).await;
                }
                self.ask_anyone(intent).await
            }
        }
    }

    async fn ask_owner(&mut self, door: &Arc<Door>, under_way: Option<UnderWay>) -> After {
        let carried = if self.is_upgrade() {
            // It goes on in its tunnel, which is ended where its session is to go.
            Box::pin(self.switch(door, TunnelOf::Session, under_way)).await
        } else {
            let carried = match self.exchange(door, under_way.as_ref(), false).await {
                Ok(heard) => Ok(self.bring(door, heard).await),
                Err(lost) => Err(lost),
            };
            if let Some(under_way) = under_way {
                under_way.done(self.line.now().into_std());
            }
            carried
        };
        match carried {
            Ok(after) => after,
            Err(Lost::Gone) => After::Ends,
            Err(Lost::Moved) => self.refuse().await,
            Err(Lost::Silent) => self.reply(StatusCode::GATEWAY_TIMEOUT, "", SILENT).await,
            Err(Lost::Refused(source)) if sockeye_relay::is_nobody(&source) => {
                self.job.group.servers.handle_refused(door.id);
                self.refuse().await
            }
            Err(Lost::Refused(source)) if source.kind() == std::io::ErrorKind::TimedOut => {
                self.reply(StatusCode::GATEWAY_TIMEOUT, "", SILENT).await
            }
            Err(Lost::Refused(_)) => self.unavailable().await,
            Err(Lost::Broken | Lost::Nonsense) => {
                if Box::pin(self.job.group.servers.is_dead(door)).await {
                    self.refuse().await
                } else {
                    self.reply(StatusCode::BAD_GATEWAY, "", BROKEN).await
                }
            }
        }
    }

    async fn ask_anyone(&mut self, intent: Intent) -> After {
        let handshake = intent.session;
        let of = match (handshake, self.job.is_engine) {
            (true, _) => TunnelOf::NewSession,
            (false, true) => TunnelOf::Session,
            (false, false) => TunnelOf::Neither,
        };
        // What only reads, or only makes a session that ends by itself if nobody polls it, may be sent again if its server died under it. Of an upgrade
        // nothing must have come: a server that has switched may have told others of it.
        let mut spare = self.job.order.is_repeatable;
        let group = Arc::clone(&self.job.group);
        let mut search = group.servers.search(intent);
        while let Some(door) = search.next().await {
            let asking = handshake.then(|| door.ask());
            let carried = if self.is_upgrade() {
                Box::pin(self.switch(&door, of, None)).await
            } else {
                match self.exchange(&door, None, handshake).await {
                    Ok(heard) => Ok(self.bring(&door, heard).await),
                    Err(lost) => Err(lost),
                }
            };
            match carried {
                Ok(after) => {
                    asking.into_iter().for_each(Asking::answered);
                    return after;
                }
                Err(Lost::Gone | Lost::Moved) => {
                    search.refused(&door);
                    return After::Ends;
                }
                Err(Lost::Silent) => {
                    search.refused(&door);
                    return self.reply(StatusCode::GATEWAY_TIMEOUT, "", SILENT).await;
                }
                Err(Lost::Refused(source)) => {
                    debug!(server = door.name, %source, "server took no request");
                    if sockeye_relay::is_nobody(&source) {
                        group.servers.handle_refused(door.id);
                    }
                }
                Err(lost @ (Lost::Broken | Lost::Nonsense)) => {
                    Box::pin(group.servers.is_dead(&door)).await;
                    let nothing_came = matches!(lost, Lost::Broken) || !self.is_upgrade();
                    if !std::mem::take(&mut spare) || !nothing_came {
                        search.refused(&door);
                        return self.reply(StatusCode::BAD_GATEWAY, "", BROKEN).await;
                    }
                }
            }
            search.refused(&door);
        }
        self.unavailable().await
    }

    /// Sends a request to one server and carries its answer. A connection kept from before that had ended meanwhile says nothing; where the request may be sent
    /// twice it is.
    async fn exchange(
        &mut self,
        door: &Arc<Door>,
        request: Option<&UnderWay>,
        handshake: bool,
    ) -> Result<Heard, Lost> {
        let mut wire = door.upstream.wire().await.map_err(Lost::Refused)?;
        let (mut answer, body) = loop {
            match self.first(&mut wire, door, request).await {
                Err(Lost::Broken | Lost::Nonsense) if wire.is_used() && self.job.order.is_repeatable => {
                    wire = Box::pin(door.upstream.fresh_wire()).await.map_err(Lost::Refused)?;
                }
                first => break first?,
            }
        };
        if handshake && answer.status == 200 {
            self.terms.counters.polling_sessions.add();
        }
        if handshake && !door.is_worker() {
            let whole = if let Rest::Known(length) = answer.rest { length.min(PEEKED_BYTES_MAX) } else { 1 };
            while ((answer.head.len() - body) as u64) < whole
                && more(self.line, &mut wire, &mut answer.head).await
            {}
            let opened = if answer.status == 200 { Opened::find(&answer.head[body..]) } else { None };
            self.job.group.servers.handle_answer(door.id, opened);
            if let Some(entry) = &mut self.job.entry {
                entry.began(
                    Opened::find(&answer.head[body..]).and_then(|opened| crate::exchange::tag_of(opened.sid)),
                );
            }
        } else if handshake
            && answer.status == 200
            && let Some(entry) = &mut self.job.entry
        {
            entry.began(door.tag);
        }
        if answer.status == 400
            && let Some(request) = request
            && memchr::memmem::find(&answer.head[body..], b"Session ID unknown").is_some()
        {
            self.job.group.servers.handle_over(request.sid());
        }
        Ok((wire, answer, body))
    }

    /// Asks one server for a WebSocket, on a connection of its own.
    async fn switch(
        &mut self,
        door: &Arc<Door>,
        of: TunnelOf,
        under_way: Option<UnderWay>,
    ) -> Result<After, Lost> {
        let mut wire = Box::pin(door.upstream.wire_to_keep()).await.map_err(Lost::Refused)?;
        // Workers count what they have, and are asked to let it go.
        let held = (!door.is_worker()).then(|| self.job.group.servers.tunnel(door, of, under_way));
        let (answer, body) = self.first(&mut wire, door, None).await?;
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        self.job.engine.count(self.terms, status);
        if !answer.switches {
            if held.is_some() && of == TunnelOf::NewSession {
                self.job.group.servers.handle_answer(door.id, None);
            }
            return Ok(self.bring(door, (wire, answer, body)).await);
        }
        self.note(answer.status, Some(door), 0);
        let said = answer.head;
        let cord = held.as_ref().map(|held| Arc::clone(&held.cord));
        if let Some(held) = held {
            held.opened();
        }
        Ok(After::Switched(Box::new(Switched { upstream: door.upstream.clone(), wire, said, cord })))
    }

    /// Brings an answer to the client, and its server's connection to rest.
    async fn bring(&mut self, door: &Door, (mut wire, answer, body): Heard) -> After {
        let (status, closes, keeps) = (answer.status, answer.closes, answer.keeps_alive);
        let mut bytes = 0;
        let brought = rest(self.line, &mut wire, (answer.head, body), answer.rest, &mut bytes).await;
        let now = self.line.look_at_clock();
        self.note(status, Some(door), bytes);
        match brought {
            Ok(clean) => {
                if keeps && clean && self.job.order.accept.is_none() {
                    door.upstream.rest(wire, now);
                }
                if closes { After::Ends } else { After::GoesOn }
            }
            // The client has a part of it: it can only be closed.
            Err(()) => After::Ends,
        }
    }

    /// Sends a request, and waits for the head of its answer with what came behind it.
    async fn first(
        &mut self,
        wire: &mut Wire,
        door: &Door,
        request: Option<&UnderWay>,
    ) -> Result<(Answer, usize), Lost> {
        if wire.write_all(&self.job.order.bytes).await.is_err() {
            return Err(Lost::Broken);
        }
        // The rest of its body goes on as it comes; such a request is never sent twice.
        let mut missing = self.job.order.missing;
        if missing > 0 || !wire.is_used() {
            // Who connected, or waits for a body, looks at the clock anew.
            self.line.look_at_clock();
        }
        while missing > 0 {
            let piece = self.line.some(missing).await.map_err(|_| Lost::Gone)?;
            missing -= piece.len();
            if wire.write_all(&piece).await.is_err() {
                return Err(Lost::Broken);
            }
            self.line.look_at_clock();
        }
        self.line.allow(door.upstream.config().answer_time_max);
        let (order, draining) = (&self.job.order, self.draining);
        let question = || Question {
            is_head: order.is_head,
            closes: closes(order, draining),
            accept: order.accept.as_deref(),
        };
        let answered = hear(self.line, wire, question);
        let Some(request) = request else { return answered.await };
        tokio::select! {
            biased;
            answered = answered => answered,
            () = self.job.group.servers.moved(door, request) => Err(Lost::Moved),
        }
    }

    async fn refuse(&mut self) -> After {
        self.shared.counters.unknown_sids.add();
        if self.is_upgrade() {
            let refusal = Refusal::UnknownSid.upgrade_reply();
            self.note(StatusCode::BAD_REQUEST.as_u16(), None, Refusal::UnknownSid.message().len() as u64);
            let _gone = self.line.write(&refusal).await;
            return After::Ends;
        }
        let body = Refusal::UnknownSid.body();
        self.say(StatusCode::BAD_REQUEST, "content-type: application/json\r\n", &body).await
    }

    async fn unavailable(&mut self) -> After {
        self.shared.counters.unavailable.add();
        self.reply(StatusCode::SERVICE_UNAVAILABLE, "retry-after: 1\r\n", NOBODY).await
    }

    async fn reply(&mut self, status: StatusCode, fields: &str, text: &str) -> After {
        let fields = format!("{fields}content-type: text/plain; charset=utf-8\r\n");
        self.say(status, &fields, text).await
    }

    async fn say(&mut self, status: StatusCode, fields: &str, body: &str) -> After {
        let closes = closes(&self.job.order, self.draining);
        let close = if closes { "connection: close\r\n" } else { "" };
        let shown = if self.job.order.is_head { "" } else { body };
        // In lower case, as the other way writes them.
        let text =
            format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n{close}\r\n{shown}", body.len());
        self.note(status.as_u16(), None, shown.len() as u64);
        let said = self.line.write(text.as_bytes()).await;
        if said.is_ok() && !closes { After::GoesOn } else { After::Ends }
    }

    /// Has the line of an answer written.
    fn note(&mut self, status: u16, door: Option<&Door>, bytes: u64) {
        if let Some(mut entry) = self.job.entry.take() {
            entry.answered(status, door.map(|door| door.name.as_str()));
            entry.end(bytes);
        }
    }

    const fn is_upgrade(&self) -> bool {
        self.job.order.accept.is_some()
    }
}

/// Whether the client's connection ends with this answer. One that would have been a tunnel is not read on: its client may have spoken in frames.
fn closes(order: &Order, draining: &watch::Receiver<bool>) -> bool {
    !order.keeps_alive || order.accept.is_some() || *draining.borrow()
}

/// How much of the answer to a handshake is waited for before it goes on.
const PEEKED_BYTES_MAX: u64 = 2048;
const TOO_MANY: &str = "too many sessions begin at once";
const NOBODY: &str = "no worker is ready";
const SILENT: &str = "the worker does not answer";
const BROKEN: &str = "the worker broke off";
