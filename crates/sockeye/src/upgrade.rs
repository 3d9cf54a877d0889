//! What is answered to a request for a WebSocket: decided here and nowhere else, whoever read the request and writes the answer.
//!
//! The checks, their order and the bytes of what is refused are those of engine.io (`handleUpgrade`) and of `ws` below it.

use crate::asked::Asked;
use crate::caller::{Caller, Way};
use crate::core::Core;
use crate::delivery::Mailbox;
use crate::handshake::Handshake;
use crate::http_answer::HttpAnswer;
use crate::inquiry::full;
use crate::limit::Limit;
use crate::outgoing::Outgoing;
use crate::route::{Ask, Route};
use crate::seat::Seat;
use crate::session::{Arrival, start_probe, start_websocket};
use crate::site::Site;
use crate::transport::Io;
use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use sockeye_proto::engine::{Query, Refusal, Transport};
use sockeye_proto::ws::deflate::Answer;
use sockeye_proto::ws::handshake::{Rejection, accept_key, check, switching_protocols};
use sockeye_relay::Body;
use std::sync::Arc;

/// A request for a WebSocket, with all of it that its answer depends on.
pub(crate) struct Upgrade {
    route: Route,
    key: Result<String, Rejection>,
    caller: Caller,
    /// The request, for the hooks that want to see it and for the session that it opens.
    handshake: Option<Handshake>,
    opens: bool,
    origin: Option<HeaderValue>,
    deflate: Option<Answer>,
}

/// Why there is no WebSocket.
pub(crate) enum Refused {
    /// Engine.IO says so, in these words.
    Engine(String),
    /// It is no handshake.
    Handshake(Rejection),
    /// A limit keeps it out.
    Full(Limit),
}

/// A WebSocket that is agreed upon.
pub(crate) struct Switch {
    key: String,
    /// What the answer says beside the handshake.
    headers: HeaderMap,
    deflate: Option<Answer>,
    next: Next,
}

/// What becomes of a WebSocket.
enum Next {
    Open(Query, Handshake, Seat),
    Probe(Arc<Mailbox>, Query),
    /// It ends at once, with the text that engine.io writes then: it looks at the version when the WebSocket stands already.
    Refuse(Refusal),
    /// It is closed at once.
    Close,
}

impl Upgrade {
    /// Reads a request off.
    pub(crate) fn of(site: &Site, asked: &impl Asked, caller: Caller) -> Self {
        let core = &site.core;
        let caller = asked.caller(caller);
        let ask = Ask {
            method: asked.method(),
            query: asked.query(),
            upgrade: true,
            relayed: caller.way == Way::Node,
        };
        core.count_arrival_of(ask, caller.way);
        let route = core.route(ask);
        let opens = matches!(route, Route::Open(..));
        let deflate = match route {
            Route::Open(..) | Route::Session(..) => {
                core.agree_on_deflate(asked.values(SEC_WEBSOCKET_EXTENSIONS.as_str()))
            }
            Route::Refused(_) | Route::Elsewhere(_) => None,
        };
        Self {
            key: check(ask.method, |name| asked.values(name)).map(str::to_owned),
            handshake: (opens || site.doors.adds_headers())
                .then(|| Handshake::new(asked.head(), caller.peer)),
            origin: core.config.cors.as_ref().and_then(|_| asked.value("origin")),
            route,
            caller,
            opens,
            deflate,
        }
    }

    /// Where the request belongs.
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// Decides.
    pub(crate) async fn decide(self, site: &Site) -> Result<Switch, Refused> {
        let core = &site.core;
        if let Route::Refused(refusal) = self.route {
            core.counters.count_refusal(refusal);
            return Err(Refused::Engine(refusal.message().to_owned()));
        }
        if let Some(handshake) = self.handshake.as_ref().filter(|_| self.opens)
            && let Err(message) = site.allows(handshake).await
        {
            core.counters.count_refusal(Refusal::Forbidden);
            return Err(Refused::Engine(message));
        }
        let key = self.key.map_err(Refused::Handshake)?;
        let mut headers = HeaderMap::new();
        if let Some(cors) = &core.config.cors {
            cors.apply(self.origin.as_ref(), &mut headers);
        }
        if let Some(handshake) = &self.handshake {
            site.doors.apply(&mut headers, handshake, self.opens);
        }
        let next = match (self.route, self.handshake) {
            (Route::Open(Transport::WebSocket, query), _) if !core.serves(query.protocol) => {
                core.counters.count_refusal(Refusal::UnsupportedProtocol);
                Next::Refuse(Refusal::UnsupportedProtocol)
            }
            (Route::Open(Transport::WebSocket, query), Some(handshake)) => {
                let seat = core.admit(self.caller.peer.ip()).map_err(Refused::Full)?;
                Next::Open(query, handshake, seat)
            }
            (Route::Session(mailbox, query), _) if query.transport == Some(Transport::WebSocket) => {
                Next::Probe(mailbox, query)
            }
            _ => Next::Close,
        };
        Ok(Switch { key, headers, deflate: self.deflate, next })
    }
}

impl Refused {
    /// The whole answer; the connection is closed after it.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Engine(message) => Refusal::upgrade_reply_with(message),
            Self::Handshake(rejection) => rejection.reply(),
            Self::Full(limit) => full(*limit).head(false, 0),
        }
    }

    /// The same for an HTTP library.
    pub(crate) fn into_response(self) -> Response<Body> {
        const LINES: &str = "connection: close\r\ncontent-type: text/html\r\n";
        let answer = match self {
            Self::Engine(message) => HttpAnswer::new(StatusCode::BAD_REQUEST, LINES, message),
            Self::Handshake(rejection) => {
                let status = StatusCode::from_u16(rejection.status()).unwrap_or(StatusCode::BAD_REQUEST);
                let mut answer = HttpAnswer::new(status, LINES, rejection.message());
                if rejection == Rejection::Version {
                    answer.more().insert("sec-websocket-version", HeaderValue::from_static("13, 8"));
                }
                answer
            }
            Self::Full(limit) => full(limit),
        };
        answer.into_response()
    }
}

impl Switch {
    /// The answer, to be written before the first frame.
    pub(crate) fn head(&self) -> Vec<u8> {
        let mut head = switching_protocols(&self.key, []);
        head.truncate(head.len() - 2);
        for (name, value) in &self.headers {
            for part in [title_case(name.as_str()).as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                head.extend_from_slice(part);
            }
        }
        if let Some(answer) = &self.deflate {
            head.extend_from_slice(format!("Sec-WebSocket-Extensions: {}\r\n", answer.header).as_bytes());
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// The same for an HTTP library.
    pub(crate) fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(accept_key(&self.key)) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        headers.extend(self.headers.clone());
        if let Some(Ok(extensions)) =
            self.deflate.as_ref().map(|answer| HeaderValue::try_from(&answer.header))
        {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, extensions);
        }
        response
    }

    /// Goes on with the WebSocket. `read` was read behind the request; `head` is to be written yet.
    pub(crate) fn proceed(self, core: &Arc<Core>, io: Io, read: Bytes, head: Option<Vec<u8>>) {
        let arrival = Arrival { io, read, head, deflate: self.deflate };
        match self.next {
            Next::Open(query, handshake, seat) => {
                start_websocket(core, arrival.websocket(core, &query), &query, handshake, seat);
            }
            Next::Probe(mailbox, query) => start_probe(core, &mailbox, arrival.websocket(core, &query)),
            Next::Refuse(refusal) => {
                let websocket = arrival.websocket(core, &Query::parse(""));
                websocket.outlet.queue(&Outgoing::raw(refusal.upgrade_reply()).shared());
                websocket.outlet.finish(&[]);
                core.farewell(websocket);
            }
            Next::Close => core.farewell(arrival.websocket(core, &Query::parse(""))),
        }
    }
}

/// Writes a header's name as the official server does: `Access-Control-Allow-Origin`.
fn title_case(name: &str) -> String {
    let mut upper = true;
    let cased = |c: char| {
        let c = if upper { c.to_ascii_uppercase() } else { c };
        upper = c == '-';
        c
    };
    name.chars().map(cased).collect()
}
