//! What is answered to a plain request for Engine.IO: decided here and nowhere else, whoever read the request and writes the answer.

use crate::asked::Asked;
use crate::caller::{Caller, Way};
use crate::core::Core;
use crate::delivery::{Control, Mailbox};
use crate::handshake::Handshake;
use crate::http_answer::HttpAnswer;
use crate::limit::Limit;
use crate::line::Incomplete;
use crate::posting::Posting;
use crate::route::{Ask, Route};
use crate::site::Site;
use crate::transport::{Answer, PollRequest, Reply};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, RETRY_AFTER, SET_COOKIE, X_XSS_PROTECTION};
use http::{HeaderValue, StatusCode};
use sockeye_proto::engine::v3::payload::Form;
use sockeye_proto::engine::{Query, Refusal, Transport};
use sockeye_proto::http::encoding::Encoding;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A plain request, with all of it that its answer depends on.
pub(crate) struct Inquiry {
    method: Method,
    route: Route,
    caller: Caller,
    /// The request, for the hooks that want to see it and for the session that it opens.
    handshake: Option<Handshake>,
    opens: bool,
    old_browser: bool,
    /// What the body of the answer may be compressed by.
    encoding: Option<Encoding>,
    /// Whether the body of a POST says to be bytes.
    binary: bool,
    /// The page that asks, where answers tell browsers what it may read.
    origin: Option<HeaderValue>,
}

/// What a request has to be before it is answered.
pub(crate) enum Step {
    /// Nothing.
    Answer(HttpAnswer),
    /// A GET that waits for its session.
    Poll(oneshot::Receiver<Answer>),
    /// A POST whose body is to be read.
    Post(Posting),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Other,
}

impl Inquiry {
    /// Reads a request off. `Err` is its answer, where that depends on nothing else.
    pub(crate) fn of(site: &Site, asked: &impl Asked, caller: Caller) -> Result<Self, Box<HttpAnswer>> {
        let core = &site.core;
        let caller = asked.caller(caller);
        let ask = Ask {
            method: asked.method(),
            query: asked.query(),
            upgrade: false,
            relayed: caller.way == Way::Node,
        };
        core.count_arrival_of(ask, caller.way);
        let cors = core.config.cors.as_ref();
        if ask.method == "OPTIONS"
            && let Some(cors) = cors
        {
            let asks = asked.value("access-control-request-headers");
            return Err(Box::new(cors.preflight(asked.value("origin").as_ref(), asks.as_ref())));
        }
        let route = core.route(ask);
        let opens = matches!(route, Route::Open(..));
        Ok(Self {
            method: match ask.method {
                "GET" => Method::Get,
                "POST" => Method::Post,
                _ => Method::Other,
            },
            opens,
            caller,
            handshake: (opens || site.doors.adds_headers())
                .then(|| Handshake::new(asked.head(), caller.peer)),
            old_browser: is_old_browser(asked.values("user-agent").next().unwrap_or_default()),
            encoding: if ask.method == "GET" {
                site.press.preferred(asked.values("accept-encoding"))
            } else {
                None
            },
            binary: asked.values("content-type").next() == Some(b"application/octet-stream"),
            origin: cors.and_then(|_| asked.value("origin")),
            route,
        })
    }

    /// Where the request belongs.
    pub(crate) fn route(&self) -> &Route {
        &self.route
    }

    /// Whether the body of the request is wanted.
    pub(crate) fn wants_body(&self) -> bool {
        self.method == Method::Post && matches!(self.route, Route::Session(..))
    }

    /// Does what can be done at once.
    ///
    /// # Cancel safety
    /// A client that is not there any more when it is asked whether it may come does not come.
    pub(crate) async fn step(&self, site: &Site) -> Step {
        let core = &site.core;
        Step::Answer(match &self.route {
            Route::Refused(refusal) => refuse(core, *refusal),
            Route::Open(Transport::Polling, query) => {
                let query = *query;
                self.open(site, &query).await
            }
            Route::Session(mailbox, _) => match self.method {
                Method::Get => return poll(core, mailbox),
                Method::Post => match Posting::begin(Arc::clone(mailbox), self.binary) {
                    Some(posting) => return Step::Post(posting),
                    None => HttpAnswer::status(StatusCode::BAD_REQUEST),
                },
                // Engine.IO's own answer to any other method on a known session.
                Method::Other => HttpAnswer::status(StatusCode::INTERNAL_SERVER_ERROR),
            },
            // A plain request opens no WebSocket, and one for another node is not answered here.
            Route::Open(Transport::WebSocket, _) | Route::Elsewhere(_) => refuse(core, Refusal::BadRequest),
        })
    }

    /// What a poll was answered; `None`: its session ended without a word.
    pub(crate) async fn polled(&self, site: &Site, answer: Option<Answer>) -> HttpAnswer {
        match answer {
            Some(Answer::Payload { form, body, compress: true }) => {
                let (body, encoding) = site.press.compress(body, self.encoding).await;
                let mut answer = payload(form, body);
                if let Some(encoding) = encoding {
                    // Without `Vary`, as the official server: nobody may store the answer.
                    answer.more().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
                }
                answer
            }
            answer => answered(&site.core, answer),
        }
    }

    /// Hands the body of a POST to its session and waits for the answer.
    pub(crate) async fn post(
        &self,
        site: &Site,
        posting: Posting,
        body: Result<Bytes, Incomplete>,
    ) -> HttpAnswer {
        match posting.hand_over(&site.core, body).await {
            Ok(answer) => answered(&site.core, answer),
            Err(answer) => answer,
        }
    }

    /// Adds what every answer bears, or every good one.
    pub(crate) fn finish(self, site: &Site, mut answer: HttpAnswer) -> HttpAnswer {
        if answer.status == StatusCode::OK {
            if self.old_browser {
                answer.more().insert(X_XSS_PROTECTION, HeaderValue::from_static("0"));
            }
            if let Some(handshake) = self.handshake.filter(|_| site.doors.adds_headers()) {
                site.doors.apply(answer.all(), &handshake, self.opens);
            }
        }
        if let Some(cors) = &site.core.config.cors {
            cors.apply(self.origin.as_ref(), answer.more());
        }
        answer
    }

    async fn open(&self, site: &Site, query: &Query) -> HttpAnswer {
        let core = &site.core;
        let Some(handshake) = self.handshake.clone() else { return refuse(core, Refusal::BadRequest) };
        if let Err(message) = site.allows(&handshake).await {
            core.counters.count_refusal(Refusal::Forbidden);
            return json(StatusCode::FORBIDDEN, Refusal::Forbidden.body_with(&message));
        }
        if !core.serves(query.protocol) {
            return refuse(core, Refusal::UnsupportedProtocol);
        }
        let seat = match core.admit(self.caller.peer.ip()) {
            Ok(seat) => seat,
            Err(limit) => return full(limit),
        };
        let Some(opening) = core.open(query.protocol, Transport::Polling, seat) else {
            return HttpAnswer::status(StatusCode::SERVICE_UNAVAILABLE);
        };
        let cookie = core.config.cookie.as_ref().map(|cookie| cookie.header(opening.sid()));
        let mut answer = answered(core, Some(opening.start_polling(core, query, handshake)));
        if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
            answer.more().insert(SET_COOKIE, cookie);
        }
        answer
    }
}

/// Engine.IO: Internet Explorer must not look for scripts in answers.
fn is_old_browser(agent: &[u8]) -> bool {
    memchr::memmem::find(agent, b";MSIE").or_else(|| memchr::memmem::find(agent, b"Trident/")).is_some()
}

/// Engine.IO v4, "HTTP long-polling": the answer comes when there is something to say.
fn poll(core: &Core, mailbox: &Mailbox) -> Step {
    let (reply, answer) = Reply::new();
    match mailbox.control(Control::Poll(PollRequest { reply })) {
        Ok(()) => Step::Poll(answer),
        Err(_) => Step::Answer(refuse(core, Refusal::UnknownSid)),
    }
}

fn answered(core: &Core, answer: Option<Answer>) -> HttpAnswer {
    match answer {
        Some(Answer::Payload { form, body, .. }) => payload(form, body),
        // Engine.IO: text/html keeps some browsers from offering a download.
        Some(Answer::Taken) => HttpAnswer::new(
            StatusCode::OK,
            "content-type: text/html\r\ncache-control: no-store\r\n",
            Bytes::from_static(b"ok"),
        ),
        Some(Answer::Refused) => HttpAnswer::status(StatusCode::BAD_REQUEST),
        // The session ended without a word: to the client it is unknown.
        None => refuse(core, Refusal::UnknownSid),
    }
}

fn payload(form: Form, body: Bytes) -> HttpAnswer {
    let lines = match form {
        Form::Text => "content-type: text/plain; charset=UTF-8\r\ncache-control: no-store\r\n",
        Form::Binary => "content-type: application/octet-stream\r\ncache-control: no-store\r\n",
    };
    HttpAnswer::new(StatusCode::OK, lines, body)
}

/// Refuses in the official words.
pub(crate) fn refuse(core: &Core, refusal: Refusal) -> HttpAnswer {
    core.counters.count_refusal(refusal);
    let status = StatusCode::from_u16(refusal.status_polling()).unwrap_or(StatusCode::BAD_REQUEST);
    json(status, refusal.body())
}

fn json(status: StatusCode, body: String) -> HttpAnswer {
    HttpAnswer::new(status, "content-type: application/json\r\n", body)
}

/// A handshake that a limit keeps out. Stock clients try again, later each time.
pub(crate) fn full(limit: Limit) -> HttpAnswer {
    let full = limit == Limit::SessionsMax;
    let mut answer = HttpAnswer::status(if full {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::TOO_MANY_REQUESTS
    });
    answer.more().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    answer
}
