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
    pub(super) way: Way,
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
    pub(super) order: Order,
    pub(super) group: Arc<Group>,
    pub(super) engine: Engine,
    pub(super) is_engine: bool,
    pub(super) entry: Option<Box<Entry>>,
}

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
    pub(super) async fn carry(mut self, way: Way) -> After {
        self.terms.counters.requests.add();
        if self.is_upgrade() {
            self.terms.counters.upgrades_asked.add();
        }
        match way {
            Way::Owner(door, under_way) => self.ask_owner(&door, under_way).await,
            Way::Anyone(intent, _under_way) => {
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
            self.switch(door, TunnelOf::Session, under_way).await
        } else {
            self.exchange(door, under_way.as_ref(), false).await
        };
        match carried {
            Ok(after) => after,
            Err(Lost::Gone) => After::Ends,
            Err(Lost::Moved) => self.refuse().await,
            Err(Lost::Silent) => self.reply(StatusCode::GATEWAY_TIMEOUT, "", SILENT).await,
            Err(Lost::Refused(source)) if sockeye_relay::is_nobody(&source) => {
                self.group.servers.handle_refused(door.id);
                self.refuse().await
            }
            Err(Lost::Refused(source)) if source.kind() == std::io::ErrorKind::TimedOut => {
                self.reply(StatusCode::GATEWAY_TIMEOUT, "", SILENT).await
            }
            Err(Lost::Refused(_)) => self.unavailable().await,
            Err(Lost::Broken | Lost::Nonsense) => {
                if self.group.servers.is_dead(door).await {
                    self.refuse().await
                } else {
                    self.reply(StatusCode::BAD_GATEWAY, "", BROKEN).await
                }
            }
        }
    }

    async fn ask_anyone(&mut self, intent: Intent) -> After {
        let handshake = intent.session;
        let of = match (handshake, self.is_engine) {
            (true, _) => TunnelOf::NewSession,
            (false, true) => TunnelOf::Session,
            (false, false) => TunnelOf::Neither,
        };
        // What only reads, or only makes a session that ends by itself if nobody polls it, may be sent again if its server died under it. Of an upgrade
        // nothing must have come: a server that has switched may have told others of it.
        let mut spare = self.order.is_repeatable;
        let group = Arc::clone(&self.group);
        let mut search = group.servers.search(intent);
        while let Some(door) = search.next().await {
            let asking = handshake.then(|| door.ask());
            let carried = if self.is_upgrade() {
                self.switch(&door, of, None).await
            } else {
                self.exchange(&door, None, handshake).await
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
                    group.servers.is_dead(&door).await;
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
    ) -> Result<After, Lost> {
        let mut wire = door.upstream.wire().await.map_err(Lost::Refused)?;
        let (answer, mut read) = loop {
            match self.first(&mut wire, door, request).await {
                Err(Lost::Broken | Lost::Nonsense) if wire.is_used() && self.order.is_repeatable => {
                    wire = door.upstream.fresh_wire().await.map_err(Lost::Refused)?;
                }
                first => break first?,
            }
        };
        if handshake && answer.status == 200 {
            self.terms.counters.polling_sessions.add();
        }
        if handshake && !door.is_worker() {
            let whole = if let Rest::Known(length) = answer.rest { length.min(PEEKED_BYTES_MAX) } else { 1 };
            while (read.len() as u64) < whole && more(self.line, &mut wire, &mut read).await {}
            let opened = if answer.status == 200 { Opened::find(&read) } else { None };
            self.group.servers.handle_answer(door.id, opened);
        }
        if answer.status == 400
            && let Some(request) = request
            && memchr::memmem::find(&read, b"Session ID unknown").is_some()
        {
            self.group.servers.handle_over(request.sid());
        }
        Ok(self.bring(door, wire, answer, read).await)
    }

    /// Asks one server for a WebSocket, on a connection of its own.
    async fn switch(
        &mut self,
        door: &Arc<Door>,
        of: TunnelOf,
        under_way: Option<UnderWay>,
    ) -> Result<After, Lost> {
        let mut wire = door.upstream.wire_to_keep().await.map_err(Lost::Refused)?;
        // Workers count what they have, and are asked to let it go.
        let held = (!door.is_worker()).then(|| self.group.servers.tunnel(door, of, under_way));
        let (answer, read) = self.first(&mut wire, door, None).await?;
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        self.engine.count(self.terms, status);
        if !answer.switches {
            if held.is_some() && of == TunnelOf::NewSession {
                self.group.servers.handle_answer(door.id, None);
            }
            return Ok(self.bring(door, wire, answer, read).await);
        }
        self.note(answer.status, Some(door), 0);
        let mut said = answer.head;
        said.extend_from_slice(&read);
        let cord = held.as_ref().map(|held| Arc::clone(&held.cord));
        if let Some(held) = held {
            held.opened();
        }
        Ok(After::Switched(Box::new(Switched { upstream: door.upstream.clone(), wire, said, cord })))
    }

    /// Brings an answer to the client, and its server's connection to rest.
    async fn bring(&mut self, door: &Door, mut wire: Wire, answer: Answer, read: Vec<u8>) -> After {
        let (status, closes, keeps) = (answer.status, answer.closes, answer.keeps_alive);
        let mut bytes = 0;
        let brought = rest(self.line, &mut wire, answer, read, &mut bytes).await;
        self.note(status, Some(door), bytes);
        match brought {
            Ok(clean) => {
                if keeps && clean && self.order.accept.is_none() {
                    door.upstream.rest(wire);
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
    ) -> Result<(Answer, Vec<u8>), Lost> {
        if wire.write_all(&self.order.bytes).await.is_err() {
            return Err(Lost::Broken);
        }
        // The rest of its body goes on as it comes; such a request is never sent twice.
        let mut missing = self.order.missing;
        while missing > 0 {
            let piece = self.line.some(missing).await.map_err(|_| Lost::Gone)?;
            missing -= piece.len();
            if wire.write_all(&piece).await.is_err() {
                return Err(Lost::Broken);
            }
        }
        self.line.allow(door.upstream.config().answer_time_max);
        let (order, draining) = (&self.order, self.draining);
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
            () = self.group.servers.moved(door, request) => Err(Lost::Moved),
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
        let closes = closes(&self.order, self.draining);
        let close = if closes { "connection: close\r\n" } else { "" };
        let shown = if self.order.is_head { "" } else { body };
        // In lower case, as the other way writes them.
        let text =
            format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n{close}\r\n{shown}", body.len());
        self.note(status.as_u16(), None, shown.len() as u64);
        let said = self.line.write(text.as_bytes()).await;
        if said.is_ok() && !closes { After::GoesOn } else { After::Ends }
    }

    /// Has the line of an answer written.
    fn note(&mut self, status: u16, door: Option<&Door>, bytes: u64) {
        if let Some(mut entry) = self.entry.take() {
            entry.answered(status, door.map(|door| door.name.as_str()));
            entry.end(bytes);
        }
    }

    const fn is_upgrade(&self) -> bool {
        self.order.accept.is_some()
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
