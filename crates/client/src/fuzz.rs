//! What must hold of a client for any bytes of a server; called by `sockeye_sim::fuzz`, and no part of the API.

use crate::cause::{Cause, Closed};
use crate::cookies::Jar;
use crate::machine::{Frame, Limits, Output, Preference, Session, Settings};
use http::HeaderMap;
use http::header::{HeaderValue, SET_COOKIE};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use sockeye_proto::engine::Transport;
use std::time::{Duration, Instant, SystemTime};

const GREETING: &str = r#"0{"sid":"abc","upgrades":[],"pingInterval":25000,"pingTimeout":20000}"#;

/// What a server says means the same by polling and by a WebSocket.
pub fn session(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let now = Instant::now();
    let mut polling = joined(Transport::Polling, now);
    let mut websocket = joined(Transport::WebSocket, now);
    polling.handle_polled(Ok(text.to_owned()), now);
    let mut said = Vec::new();
    for packet in text.split('\u{1e}') {
        websocket.handle_frame(Frame::Text(packet.to_owned()), now);
        said.extend(told(&mut websocket, now));
    }
    assert_eq!(told(&mut polling, now), said);
}

/// A cookie that is sent back fits a request, and is what was set.
pub fn cookie(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(SET_COOKIE, value);
    let mut jar = Jar::new(1);
    jar.take(&headers, SystemTime::UNIX_EPOCH);
    if let Some(cookie) = jar.value("/", true, SystemTime::UNIX_EPOCH) {
        assert!(HeaderValue::from_str(&cookie).is_ok());
        let (name, content) = cookie.split_once('=').expect("a cookie is a pair");
        let set = String::from_utf8_lossy(data);
        let pair = set.split(';').next().expect("there is a first part");
        assert_eq!(
            pair.split_once('=').map(|(name, content)| (name.trim(), content.trim())),
            Some((name, content))
        );
    }
}

/// A client that is in `/` and waits for an answer.
fn joined(transport: Transport, now: Instant) -> Session {
    let settings = Settings {
        preference: Preference { transports: vec![transport], try_all: false, upgrade: false },
        limits: Limits { connect_timeout: Duration::from_secs(20), close_timeout: Duration::from_secs(2) },
        reconnection: None,
        attachments_max: 10,
    };
    let mut session = Session::new(settings, SmallRng::seed_from_u64(1), now);
    session.join("/", String::new());
    let draft = crate::machine::Draft { json: b"[\"a\"]".to_vec(), attachments: Vec::new() };
    session.emit("/", draft, Some(now + Duration::from_secs(1)));
    let entered = r#"40{"sid":"A","pid":"P"}"#;
    match transport {
        Transport::Polling => {
            session.handle_polled(Ok(GREETING.to_owned()), now);
            told(&mut session, now);
            session.handle_posted(Ok(()));
            session.handle_polled(Ok(entered.to_owned()), now);
        }
        Transport::WebSocket => {
            session.handle_dialed(Ok(()));
            session.handle_frame(Frame::Text(GREETING.to_owned()), now);
            told(&mut session, now);
            session.handle_written();
            session.handle_frame(Frame::Text(entered.to_owned()), now);
        }
    }
    told(&mut session, now);
    session
}

/// What a program is told of: not what goes out. Of several things that are wrong in one answer to a poll any may be named.
#[expect(clippy::wildcard_enum_match_arm, reason = "whatever has no cause stays as it is")]
fn told(session: &mut Session, now: Instant) -> Vec<Output> {
    let outputs = std::iter::from_fn(|| session.poll_output(now));
    outputs
        .filter(|output| match output {
            Output::Get
            | Output::Post(_)
            | Output::Dial
            | Output::Write(_)
            | Output::Farewell
            | Output::DropWebSocket
            | Output::DropAll
            | Output::Opened
            | Output::Upgraded
            | Output::StayedOnPolling(_) => false,
            Output::Ended { .. }
            | Output::Entered { .. }
            | Output::Refused { .. }
            | Output::PutOut { .. }
            | Output::CutOff { .. }
            | Output::Event { .. }
            | Output::Answered { .. }
            | Output::Lost { .. } => true,
        })
        .map(|output| match output {
            Output::CutOff { nsp, .. } => Output::CutOff { nsp, closed: any() },
            Output::Ended { retry, .. } => Output::Ended { closed: any(), retry },
            other => other,
        })
        .collect()
}

fn any() -> Closed {
    Closed { cause: Cause::ParseError, detail: String::new() }
}
