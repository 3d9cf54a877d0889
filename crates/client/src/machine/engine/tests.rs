//! Rows: what comes, and what is done.

use super::*;
use Output::{Dial, DropAll, DropWebSocket, Get, Opened, Upgraded};

const GREETING: &str =
    r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":10}"#;
const NO_UPGRADES: &str = r#"0{"sid":"abc","upgrades":[],"pingInterval":300,"pingTimeout":200}"#;
const BOTH: &[Transport] = &[Transport::Polling, Transport::WebSocket];

#[test]
fn polling_goes_on_with_one_get_at_a_time() {
    let mut engine = Polling::with(&[Transport::Polling]);
    engine.polled(GREETING, vec![Opened, Get]);
    engine.polled("4a\x1e4b", vec![received("a"), received("b"), Get]);
    engine.send("40", vec![post("40")]);
    // One POST at a time; a batch is bounded by maxPayload (10 bytes).
    engine.send("4123456", vec![]);
    engine.send("4789", vec![]);
    engine.posted(vec![post("4123456")]);
    engine.posted(vec![post("4789")]);
    engine.posted(vec![]);
    engine.polled("2", vec![post("3"), Get]);
    engine.polled("bAQI=", vec![Output::Received(Frame::Binary(vec![1, 2].into())), Get]);
    engine.polled("6", vec![Get]);
    engine.polled("1", ended(Cause::TransportClose, "the server closed the session"));
}

#[test]
fn the_move_to_a_websocket_waits_for_what_is_under_way() {
    let mut engine = Polling::with(BOTH);
    engine.polled(GREETING, vec![Opened, Dial, Get]);
    engine.send("40", vec![post("40")]);
    engine.0.handle_dialed(Ok(()));
    engine.says(vec![write("2probe")]);
    engine.send("4x", vec![]);
    engine.frame("3probe", vec![]);
    engine.posted(vec![]);
    engine.polled("40{}\x1e6", vec![received("0{}"), write("5"), Upgraded]);
    assert_eq!(engine.0.transport(), Transport::WebSocket);
    engine.written(vec![write("4x")]);
    engine.frame("4hi", vec![received("hi")]);
    engine.send("4y", vec![]);
    engine.send("4z", vec![]);
    let both = Output::Write(vec![Frame::Text("4y".to_owned()), Frame::Text("4z".to_owned())]);
    engine.written(vec![both]);
}

#[test]
fn a_client_that_cannot_move_stays_on_polling_and_says_why() {
    let stays = |why: &str| vec![DropWebSocket, Output::StayedOnPolling(why.to_owned())];
    let mut engine = Polling::with(BOTH);
    engine.polled(GREETING, vec![Opened, Dial, Get]);
    engine.0.handle_dialed(Err("400 Bad Request".to_owned()));
    engine.says(stays("400 Bad Request"));
    engine.polled("4a", vec![received("a"), Get]);

    let mut engine = Polling::with(BOTH);
    engine.polled(GREETING, vec![Opened, Dial, Get]);
    engine.0.handle_dialed(Ok(()));
    engine.says(vec![write("2probe")]);
    engine.0.handle_hung_up(Cause::TransportClose, "gone");
    engine.says(stays("gone"));

    let mut engine = Polling::with(BOTH);
    engine.polled(GREETING, vec![Opened, Dial, Get]);
    engine.0.handle_dialed(Ok(()));
    engine.says(vec![write("2probe")]);
    engine.frame("6", stays("expected 3probe, got another packet"));

    // It breaks while the move waits: polling goes on.
    let mut engine = Polling::with(BOTH);
    engine.polled(GREETING, vec![Opened, Dial, Get]);
    engine.send("40", vec![post("40")]);
    engine.0.handle_dialed(Ok(()));
    engine.frame("3probe", vec![write("2probe")]);
    engine.polled("6", vec![]);
    engine.0.handle_hung_up(Cause::TransportError, "gone");
    let mut outputs = stays("gone");
    outputs.push(Get);
    engine.says(outputs);

    let mut engine = Polling::with(BOTH);
    let none = Output::StayedOnPolling("the server offers no WebSocket".to_owned());
    engine.polled(NO_UPGRADES, vec![Opened, none, Get]);
}

#[test]
fn what_is_no_greeting_ends_it_with_the_cause() {
    for (answer, cause, detail) in [
        (Err("502 Bad Gateway"), Cause::TransportError, "502 Bad Gateway"),
        (Ok("4hi"), Cause::ParseError, "expected the server's greeting, got another packet"),
        (Ok("6"), Cause::ParseError, "expected the server's greeting, got another packet"),
        (Ok("<html>"), Cause::ParseError, "expected a packet type of 0 to 6 or b, got byte 0x3c"),
        (Ok(""), Cause::ParseError, "packet is empty"),
        (Ok("0{}"), Cause::ParseError, "the server's greeting: missing field `sid` at line 1 column 2"),
        (Ok("0nonsense"), Cause::ParseError, "the server's greeting: expected ident at line 1 column 2"),
    ] {
        let mut engine = Polling::with(BOTH);
        engine.0.handle_polled(answer.map(str::to_owned).map_err(str::to_owned), now());
        engine.says(ended(cause, detail));
        assert_eq!(engine.0.poll_timeout(), None);
    }
}

#[test]
fn the_next_transport_is_tried_only_if_that_is_wanted() {
    let preference = preference(&[Transport::WebSocket, Transport::Polling]);
    let mut engine = Polling(Engine::new(preference.clone(), LIMITS, now()));
    engine.says(vec![Dial]);
    engine.0.handle_dialed(Err("502".to_owned()));
    engine.says(ended(Cause::TransportError, "502"));

    let mut engine = Polling(Engine::new(Preference { try_all: true, ..preference }, LIMITS, now()));
    engine.says(vec![Dial]);
    engine.0.handle_dialed(Err("502".to_owned()));
    engine.says(vec![DropAll, Get]);
    engine.0.handle_polled(Err("503".to_owned()), now());
    engine.says(ended(Cause::TransportError, "503"));
}

#[test]
fn silence_ends_it() {
    let mut engine = Polling::with(BOTH);
    engine.late(1999, vec![]);
    engine.late(2000, ended(Cause::TimedOut, "expected the server's greeting within 2000 ms"));

    let mut engine = Polling::with(&[Transport::Polling]);
    engine.polled(GREETING, vec![Opened, Get]);
    engine.late(499, vec![]);
    engine.0.handle_polled(Ok("2".to_owned()), now() + Duration::from_millis(400));
    engine.says(vec![post("3"), Get]);
    engine.late(899, vec![]);
    engine.late(900, ended(Cause::PingTimeout, "expected a ping within 500 ms, got none"));
}

#[test]
fn a_client_says_goodbye_before_it_goes() {
    // Polling: a close packet, after what waits.
    let mut engine = Polling::with(&[Transport::Polling]);
    engine.polled(GREETING, vec![Opened, Get]);
    engine.send("40", vec![post("40")]);
    engine.0.close(now());
    engine.says(vec![]);
    engine.posted(vec![post("1")]);
    engine.posted(ended(Cause::Closed, ""));

    // A WebSocket: its close frame.
    let mut engine = Polling(Engine::new(preference(&[Transport::WebSocket]), LIMITS, now()));
    engine.says(vec![Dial]);
    engine.0.handle_dialed(Ok(()));
    engine.frame(NO_UPGRADES, vec![Opened]);
    engine.send("40", vec![write("40")]);
    engine.0.close(now());
    engine.written(vec![Output::Write(vec![]), Output::Farewell]);
    engine.0.handle_hung_up(Cause::TransportClose, "");
    engine.says(ended(Cause::Closed, ""));

    // Nobody answers.
    let mut engine = Polling::with(&[Transport::Polling]);
    engine.polled(GREETING, vec![Opened, Get]);
    engine.0.close(now());
    engine.says(vec![post("1")]);
    engine.late(1000, ended(Cause::Closed, "the server did not answer the goodbye"));

    // While a WebSocket is being tried.
    let mut engine = Polling::with(BOTH);
    engine.polled(GREETING, vec![Opened, Dial, Get]);
    engine.0.close(now());
    let why = Output::StayedOnPolling("the client closed".to_owned());
    engine.says(vec![DropWebSocket, why, post("1")]);
    engine.0.handle_dialed(Ok(()));
    engine.says(vec![DropWebSocket]);

    // Before the greeting.
    let mut engine = Polling::with(BOTH);
    engine.0.close(now());
    engine.says(ended(Cause::Closed, "closed before it was open"));
}

#[test]
fn broken_transports_end_it() {
    let mut engine = Polling::with(&[Transport::Polling]);
    engine.polled(GREETING, vec![Opened, Get]);
    engine.send("4a", vec![post("4a")]);
    engine.0.handle_posted(Err("400".to_owned()));
    engine.says(ended(Cause::TransportError, "400"));
    engine.send("4b", vec![]);
    assert_eq!(engine.0.queued(), 0);

    for (cause, detail) in [(Cause::TransportClose, "1006"), (Cause::TransportError, "reset")] {
        let mut engine = Polling(Engine::new(preference(&[Transport::WebSocket]), LIMITS, now()));
        engine.says(vec![Dial]);
        engine.0.handle_dialed(Ok(()));
        engine.frame(NO_UPGRADES, vec![Opened]);
        engine.0.handle_hung_up(cause, detail);
        engine.says(ended(cause, detail));
    }
    let mut engine = Polling(Engine::new(preference(&[Transport::WebSocket]), LIMITS, now()));
    engine.says(vec![Dial]);
    engine.0.handle_dialed(Ok(()));
    engine.frame(NO_UPGRADES, vec![Opened]);
    engine.frame("x", ended(Cause::ParseError, "expected a packet type of 0 to 6 or b, got byte 0x78"));
}

#[test]
fn volatile_messages_can_go_only_where_nothing_is_under_way() {
    let mut engine = Polling::with(&[Transport::Polling]);
    assert!(!engine.0.is_writable());
    engine.polled(GREETING, vec![Opened, Get]);
    assert!(engine.0.is_writable());
    engine.send("4a", vec![post("4a")]);
    assert!(!engine.0.is_writable());
    engine.posted(vec![]);
    assert!(engine.0.is_writable());
}

const LIMITS: Limits =
    Limits { connect_timeout: Duration::from_millis(2000), close_timeout: Duration::from_millis(1000) };

/// An engine, mostly on polling.
struct Polling(Engine);

impl Polling {
    fn with(transports: &[Transport]) -> Self {
        let mut engine = Self(Engine::new(preference(transports), LIMITS, now()));
        engine.says(vec![Get]);
        engine
    }

    fn polled(&mut self, body: &str, outputs: Vec<Output>) {
        self.0.handle_polled(Ok(body.to_owned()), now());
        self.says(outputs);
    }

    fn posted(&mut self, outputs: Vec<Output>) {
        self.0.handle_posted(Ok(()));
        self.says(outputs);
    }

    fn frame(&mut self, text: &str, outputs: Vec<Output>) {
        self.0.handle_frame(Frame::Text(text.to_owned()), now());
        self.says(outputs);
    }

    fn written(&mut self, outputs: Vec<Output>) {
        self.0.handle_written();
        self.says(outputs);
    }

    fn send(&mut self, text: &str, outputs: Vec<Output>) {
        self.0.send([Frame::Text(text.to_owned())]);
        self.says(outputs);
    }

    fn late(&mut self, millis: u64, outputs: Vec<Output>) {
        self.0.handle_timeout(now() + Duration::from_millis(millis));
        self.says(outputs);
    }

    #[track_caller]
    fn says(&mut self, outputs: Vec<Output>) {
        let said: Vec<_> = std::iter::from_fn(|| self.0.poll_output()).collect();
        assert_eq!(said, outputs);
    }
}

/// One moment for all rows.
fn now() -> Instant {
    static NOW: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *NOW.get_or_init(Instant::now)
}

fn preference(transports: &[Transport]) -> Preference {
    Preference { transports: transports.to_vec(), try_all: false, upgrade: true }
}

fn received(text: &str) -> Output {
    Output::Received(Frame::Text(text.to_owned()))
}

fn post(text: &str) -> Output {
    Output::Post(text.as_bytes().to_vec())
}

fn write(text: &str) -> Output {
    Output::Write(vec![Frame::Text(text.to_owned())])
}

fn ended(cause: Cause, detail: &str) -> Vec<Output> {
    vec![DropAll, Output::Closed(Closed { cause, detail: detail.to_owned() })]
}
