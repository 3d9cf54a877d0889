//! The swift way: usual requests on a plain connection, carried without an HTTP library. What is unusual, and all that follows it, is the other way's
//! ([`client`](crate::client)), with every byte read so far; nothing of it was sent then.
//!
//! It decides nothing that the other way does not decide alike: who is asked, what a dead server means and what is never sent twice are the same.

mod answer;
mod line;
mod order;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};

use bytes::Bytes;
use sockeye_proto::engine::{Opened, Refusal};
use sockeye_proto::http::{Head, query_param};
use sockeye_relay::{Origin, Socket, Wire};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tracing::debug;

use crate::config::{Affinity, Serves};
use crate::door::{Asking, Door};
use crate::group::Group;
use crate::layout::{Answers, Asked, Layout};
use crate::place::Terms;
use crate::route::Route;
use crate::servers::{Intent, Owner, UnderWay};
use crate::shared::Shared;
use answer::{Answer, Rest};
use line::{Line, Nothing, with_scratch};
use order::Order;

/// One client's connection.
pub(crate) struct Swift {
    pub(crate) shared: Arc<Shared>,
    pub(crate) terms: Arc<Terms>,
    /// The lines that tell who the client is.
    origin: Vec<u8>,
    /// Turns true when the edge drains.
    draining: watch::Receiver<bool>,
}

/// What a head asks for.
enum Found {
    /// It goes to this door, or to whoever's turn it is.
    Go(Box<Job>),
    /// It is the other way's.
    Unusual,
}

/// One request on its way.
struct Job {
    order: Order,
    group: Arc<Group>,
    way: Way,
}

enum Way {
    /// To the one that has its session.
    Owner(Arc<Door>, Option<UnderWay>),
    /// To anybody.
    Anyone { handshake: bool },
}

/// Why no answer came.
enum Lost {
    /// No connection: nothing was sent.
    Refused(std::io::Error),
    /// It broke off.
    Broken,
    Silent,
    /// The client went away.
    Gone,
    /// Its session is to go elsewhere.
    Moved,
}

/// What is known of an answer that was carried.
struct Carried {
    /// Whether the client's connection goes on.
    goes_on: bool,
}

impl Swift {
    /// The swift way for a client that is not believed about others.
    pub(crate) fn new(
        shared: Arc<Shared>,
        terms: Arc<Terms>,
        origin: &Origin,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self { shared, terms, origin: origin.lines(), draining }
    }

    /// Serves usual requests. Gives the connection back, with what was read from it, where a request is not.
    pub(crate) async fn serve(&self, socket: Socket, read: Bytes) -> Option<(Socket, Bytes)> {
        let mut line = Line::new(socket, read);
        let mut draining = self.draining.clone();
        loop {
            let layout = self.shared.layout();
            let limits = &layout.config.limits;
            line.allow(limits.idle_time_max);
            let told = async {
                let _ = draining.wait_for(|draining| *draining).await;
            };
            let max = limits.head_bytes_max.get() as usize;
            let found = line.head(max, told, |bytes| self.look(&layout, bytes)).await;
            drop(layout);
            match found {
                Ok(Found::Go(job)) => {
                    self.terms.counters.requests.add();
                    // On the heap while it is under way: a connection that waits for its next request holds no room for one.
                    if !Box::pin(self.carry(&mut line, *job)).await {
                        return None;
                    }
                }
                Ok(Found::Unusual) | Err(Nothing::TooLong) => return Some(line.into_parts()),
                Err(Nothing::Gone | Nothing::Late) => return None,
            }
        }
    }

    /// Looks at the request at the front of `bytes`, and tells how many of them it takes. `None`: its head is not whole.
    fn look(&self, layout: &Layout, bytes: &[u8]) -> Option<(Found, usize)> {
        let unusual = Some((Found::Unusual, 0));
        let Ok((head, length)) = order::parse(bytes)? else { return unusual };
        if !order::is_usual(&head) || length > layout.config.limits.head_bytes_max.get() as usize {
            return unusual;
        }
        let asked = Asked {
            listener: &self.terms.listener.name,
            host: head.header("host").unwrap_or_default(),
            path: head.path(),
            upgrade: false,
        };
        let Some(Answers::Relay(group)) = layout.find(&asked) else { return unusual };
        // What is noted, or introduced to its server, takes the other way.
        if layout.log.is_some() || group.config.send_proxy.is_some() {
            return unusual;
        }
        let Some(way) = self.way(group, &head) else { return unusual };
        let plain = matches!(way, Way::Anyone { handshake: true }) && !group.is_local();
        let (order, taken) = Order::write(&head, length, bytes, &self.origin, plain);
        Some((Found::Go(Box::new(Job { order, group: Arc::clone(group), way })), taken))
    }

    /// Who is asked, where that is simple.
    fn way(&self, group: &Arc<Group>, head: &Head<'_>) -> Option<Way> {
        if !matches!(group.config.affinity[..], [] | [Affinity::Sid]) {
            return None;
        }
        let engine = &group.config.engine_path;
        match Route::of(engine, head.method(), head.path(), head.query_string()) {
            Route::Owner(tag) if group.is_local() => {
                group.servers.owner(tag).map(|door| Way::Owner(door, None))
            }
            Route::Owner(_) | Route::Unknown if group.learns() => {
                let sid = query_param(head.query_string(), "sid")?;
                match group.servers.session(&sid) {
                    Owner::At(door, under_way) => Some(Way::Owner(door, Some(under_way))),
                    Owner::Dead | Owner::Unknown => None,
                }
            }
            Route::Handshake => Some(Way::Anyone { handshake: true }),
            Route::Any => Some(Way::Anyone { handshake: false }),
            Route::Health | Route::HealthText | Route::Ready if !group.is_local() => {
                Some(Way::Anyone { handshake: false })
            }
            Route::Owner(_) | Route::Unknown | Route::Health | Route::HealthText | Route::Ready => None,
        }
    }

    /// Carries one request; `false` ends the connection.
    async fn carry(&self, line: &mut Line, job: Job) -> bool {
        let Job { order, group, way } = job;
        match way {
            Way::Owner(door, under_way) => self.to_owner(line, &order, &group, &door, under_way).await,
            Way::Anyone { handshake: true } => {
                if let Err(wait) = self.shared.admit() {
                    let seconds = wait.as_millis().div_ceil(1000).max(1);
                    let retry = format!("Retry-After: {seconds}\r\n");
                    return self.reply(line, &order, "503 Service Unavailable", &retry, TOO_MANY).await;
                }
                self.to_anyone(line, &order, &group, true).await
            }
            Way::Anyone { handshake: false } => self.to_anyone(line, &order, &group, false).await,
        }
    }

    async fn to_owner(
        &self,
        line: &mut Line,
        order: &Order,
        group: &Group,
        door: &Arc<Door>,
        under_way: Option<UnderWay>,
    ) -> bool {
        let sid = under_way.as_ref().map(UnderWay::sid);
        match self.exchange(line, order, group, door, sid, false).await {
            Ok(carried) => carried.goes_on,
            Err(Lost::Gone) => false,
            Err(Lost::Moved) => self.refuse(line, order).await,
            Err(Lost::Silent) => self.reply(line, order, "504 Gateway Timeout", "", SILENT).await,
            Err(Lost::Refused(source)) if sockeye_relay::is_nobody(&source) => {
                group.servers.handle_refused(door.id);
                self.refuse(line, order).await
            }
            Err(Lost::Refused(source)) if source.kind() == std::io::ErrorKind::TimedOut => {
                self.reply(line, order, "504 Gateway Timeout", "", SILENT).await
            }
            Err(Lost::Refused(_)) => self.unavailable(line, order).await,
            Err(Lost::Broken) => {
                if group.servers.is_dead(door).await {
                    self.refuse(line, order).await
                } else {
                    self.reply(line, order, "502 Bad Gateway", "", BROKEN).await
                }
            }
        }
    }

    async fn to_anyone(&self, line: &mut Line, order: &Order, group: &Group, handshake: bool) -> bool {
        let mut spare = order.is_repeatable;
        let mut search = group.servers.search(Intent::anybody(handshake));
        while let Some(door) = search.next().await {
            let asking = handshake.then(|| door.ask());
            match self.exchange(line, order, group, &door, None, handshake).await {
                Ok(carried) => {
                    asking.into_iter().for_each(Asking::answered);
                    return carried.goes_on;
                }
                Err(Lost::Gone | Lost::Moved) => return false,
                Err(Lost::Silent) => {
                    search.refused(&door);
                    return self.reply(line, order, "504 Gateway Timeout", "", SILENT).await;
                }
                Err(Lost::Refused(source)) => {
                    debug!(server = door.name, %source, "server took no request");
                    if sockeye_relay::is_nobody(&source) {
                        group.servers.handle_refused(door.id);
                    }
                }
                Err(Lost::Broken) => {
                    group.servers.is_dead(&door).await;
                    if !std::mem::take(&mut spare) {
                        search.refused(&door);
                        return self.reply(line, order, "502 Bad Gateway", "", BROKEN).await;
                    }
                }
            }
            search.refused(&door);
        }
        self.unavailable(line, order).await
    }

    /// Sends a request to one server and carries its answer. A connection kept from before that had ended meanwhile says nothing; where the request may be sent
    /// twice it is.
    async fn exchange(
        &self,
        line: &mut Line,
        order: &Order,
        group: &Group,
        door: &Arc<Door>,
        sid: Option<&str>,
        handshake: bool,
    ) -> Result<Carried, Lost> {
        let mut wire = door.upstream.wire().await.map_err(Lost::Refused)?;
        let (answer, mut read) = loop {
            match self.first(line, &mut wire, order, group, door, sid).await {
                Err(Lost::Broken) if wire.is_used() && order.is_repeatable => {
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
            while (read.len() as u64) < whole && more(line, &mut wire, &mut read).await {}
            let opened = if answer.status == 200 { Opened::find(&read) } else { None };
            group.servers.handle_answer(door.id, opened);
        }
        if answer.status == 400
            && let Some(sid) = sid
            && memchr::memmem::find(&read, b"Session ID unknown").is_some()
        {
            group.servers.handle_over(sid);
        }
        let goes_on = !answer.closes;
        let keeps = answer.keeps_alive;
        match rest(line, &mut wire, answer, read).await {
            Ok(clean) => {
                if keeps && clean {
                    door.upstream.rest(wire);
                }
                Ok(Carried { goes_on })
            }
            // The client has a part of it: it can only be closed.
            Err(()) => Ok(Carried { goes_on: false }),
        }
    }

    async fn refuse(&self, line: &mut Line, order: &Order) -> bool {
        self.shared.counters.unknown_sids.add();
        let body = Refusal::UnknownSid.body();
        self.say(line, order, "400 Bad Request", "Content-Type: application/json\r\n", &body).await
    }

    async fn unavailable(&self, line: &mut Line, order: &Order) -> bool {
        self.shared.counters.unavailable.add();
        self.reply(line, order, "503 Service Unavailable", "Retry-After: 1\r\n", NOBODY).await
    }

    async fn reply(&self, line: &mut Line, order: &Order, status: &str, fields: &str, text: &str) -> bool {
        let fields = format!("{fields}Content-Type: text/plain; charset=utf-8\r\n");
        self.say(line, order, status, &fields, text).await
    }

    async fn say(&self, line: &mut Line, order: &Order, status: &str, fields: &str, body: &str) -> bool {
        let closes = self.closes(order);
        let close = if closes { "connection: close\r\n" } else { "" };
        let shown = if order.is_head { "" } else { body };
        // In lower case, as the other way writes them.
        let fields = fields.to_ascii_lowercase();
        let text =
            format!("HTTP/1.1 {status}\r\n{fields}content-length: {}\r\n{close}\r\n{shown}", body.len());
        line.write(text.as_bytes()).await.is_ok() && !closes
    }

    /// Whether the client's connection ends with this answer.
    fn closes(&self, order: &Order) -> bool {
        !order.keeps_alive || *self.draining.borrow()
    }

    /// Sends a request, and waits for the head of its answer with what came behind it.
    async fn first(
        &self,
        line: &mut Line,
        wire: &mut Wire,
        order: &Order,
        group: &Group,
        door: &Door,
        sid: Option<&str>,
    ) -> Result<(Answer, Vec<u8>), Lost> {
        if wire.write_all(&order.bytes).await.is_err() {
            return Err(Lost::Broken);
        }
        // The rest of its body goes on as it comes; such a request is never sent twice.
        let mut missing = order.missing;
        while missing > 0 {
            let piece = line.some(missing).await.map_err(|_| Lost::Gone)?;
            missing -= piece.len();
            if wire.write_all(&piece).await.is_err() {
                return Err(Lost::Broken);
            }
        }
        line.allow(door.upstream.config().answer_time_max);
        let closes = || self.closes(order);
        let answered = hear(line, wire, order.is_head, &closes);
        let Some(sid) = sid else { return answered.await };
        tokio::select! {
            biased;
            answered = answered => answered,
            () = group.servers.moved(door, sid) => Err(Lost::Moved),
        }
    }
}

/// Whether the swift way is open at a place, for a client that is no trusted proxy.
pub(crate) fn is_open(layout: &Layout, terms: &Terms, trusted: bool) -> bool {
    let plain = matches!(&terms.listener.serves, Serves::Http(http) if http.redirect.is_none());
    plain && !trusted && terms.tls.is_none() && layout.config.access_log.is_none()
}

/// Waits for the head of an answer, with what came behind it.
async fn hear(
    line: &mut Line,
    wire: &mut Wire,
    is_head: bool,
    closes: &(dyn Fn() -> bool + Sync),
) -> Result<(Answer, Vec<u8>), Lost> {
    let mut head = Vec::new();
    poll_fn(|cx| {
        loop {
            let heard = with_scratch(|scratch| {
                let mut piece = ReadBuf::new(scratch);
                let read = ready!(Pin::new(&mut *wire).poll_read(cx, &mut piece));
                let piece = piece.filled();
                if read.is_err() || piece.is_empty() {
                    return Poll::Ready(Err(Lost::Broken));
                }
                // Mostly it is all there: then nothing is copied but what goes to the client.
                let bytes = if head.is_empty() {
                    piece
                } else {
                    head.extend_from_slice(piece);
                    &head[..]
                };
                match Answer::read(bytes, is_head, closes()) {
                    Ok(Some(answer)) => {
                        let rest = bytes[answer.taken..].to_vec();
                        Poll::Ready(Ok(Some((answer, rest))))
                    }
                    Ok(None) if bytes.len() < HEAD_BYTES_MAX => {
                        if head.is_empty() {
                            head.extend_from_slice(piece);
                        }
                        Poll::Ready(Ok(None))
                    }
                    Ok(None) | Err(_) => Poll::Ready(Err(Lost::Broken)),
                }
            });
            match heard {
                Poll::Ready(Ok(Some(answer))) => return Poll::Ready(Ok(answer)),
                Poll::Ready(Ok(None)) => {}
                Poll::Ready(Err(lost)) => return Poll::Ready(Err(lost)),
                Poll::Pending => break,
            }
        }
        if line.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(Lost::Gone));
        }
        line.poll_late(cx).map(|()| Err(Lost::Silent))
    })
    .await
}

/// Waits for more of an answer; `false` where none comes.
async fn more(line: &mut Line, wire: &mut Wire, read: &mut Vec<u8>) -> bool {
    poll_fn(|cx| {
        let come = with_scratch(|scratch| {
            let mut piece = ReadBuf::new(scratch);
            let come = ready!(Pin::new(&mut *wire).poll_read(cx, &mut piece));
            read.extend_from_slice(piece.filled());
            Poll::Ready(come.is_ok() && !piece.filled().is_empty())
        });
        if come.is_pending() { line.poll_late(cx).map(|()| false) } else { come }
    })
    .await
}

/// Carries an answer to its end. `Ok(true)`: nothing came behind it. `Err`: it broke off.
async fn rest(line: &mut Line, wire: &mut Wire, answer: Answer, read: Vec<u8>) -> Result<bool, ()> {
    let Answer { head, mut rest, .. } = answer;
    let mut out = head;
    let (taken, mut ended) = match rest {
        Rest::Known(0) => (0, true),
        Rest::Known(_) | Rest::Chunked(_) | Rest::UntilEnd => rest.handle_bytes(&read).map_err(|_| ())?,
    };
    let mut clean = taken == read.len();
    out.extend_from_slice(&read[..taken]);
    loop {
        line.write(&out).await.map_err(|_| ())?;
        if ended {
            return Ok(clean);
        }
        line.allow(std::time::Duration::from_secs(120));
        out = poll_fn(|cx| {
            let piece = with_scratch(|scratch| {
                let mut piece = ReadBuf::new(scratch);
                match ready!(Pin::new(&mut *wire).poll_read(cx, &mut piece)) {
                    Ok(()) => Poll::Ready(Ok(piece.filled().to_vec())),
                    Err(_) => Poll::Ready(Err(())),
                }
            });
            if piece.is_pending() {
                if line.poll_gone(cx).is_ready() {
                    return Poll::Ready(Err(()));
                }
                return line.poll_late(cx).map(|()| Err(()));
            }
            piece
        })
        .await?;
        if out.is_empty() {
            // A body without a length ends so; any other broke off.
            return if rest == Rest::UntilEnd { Ok(false) } else { Err(()) };
        }
        let (taken, end) = rest.handle_bytes(&out).map_err(|_| ())?;
        (ended, clean) = (end, clean && taken == out.len());
        out.truncate(taken);
    }
}

/// How much of the answer to a handshake is waited for before it goes on.
const PEEKED_BYTES_MAX: u64 = 2048;
/// The largest head of an answer.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const TOO_MANY: &str = "too many sessions begin at once";
const NOBODY: &str = "no worker is ready";
const SILENT: &str = "the worker does not answer";
const BROKEN: &str = "the worker broke off";
