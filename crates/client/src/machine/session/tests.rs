//! Rows of a client as a whole: one connection after the other.

use super::*;
use rand::SeedableRng as _;

const GREETING: &str = r#"0{"sid":"abc","upgrades":[],"pingInterval":300,"pingTimeout":200}"#;

#[test]
fn a_client_comes_back_and_asks_for_its_namespaces_again() {
    let mut client = Client::new(Some(Reconnection { jitter: 0.0, ..Reconnection::default() }));
    client.session.join("/", String::new());
    client.says(&["Get"]);
    client.polled(Err("refused"), &["DropAll", "Ended transport error 1s"]);
    assert_eq!(client.session.phase(), Phase::Waiting);
    client.after(999, &[]);
    client.after(1, &["Get"]);
    client.polled(Err("refused"), &["DropAll", "Ended transport error 2s"]);
    client.after(2000, &["Get"]);
    client.polled(Ok(GREETING), &["Opened", "StayedOnPolling", "Get", "Post 40"]);
    client.session.handle_posted(Ok(()));
    client.polled(Ok(r#"40{"sid":"A"}"#), &["Entered", "Get"]);
    client.after(500, &["DropAll", "CutOff", "Ended ping timeout 1s"]);
    client.after(1000, &["Get"]);
    client.polled(Ok(GREETING), &["Opened", "StayedOnPolling", "Get", "Post 40"]);
}

#[test]
fn a_client_that_shall_not_come_back_ends() {
    let mut client = Client::new(None);
    client.says(&["Get"]);
    client.polled(Err("refused"), &["DropAll", "Ended transport error"]);
    assert_eq!(client.session.phase(), Phase::Over);
    assert_eq!(client.session.poll_timeout(), None);
}

#[test]
fn a_client_that_closes_leaves_its_namespaces_first() {
    let mut client = Client::new(Some(Reconnection::default()));
    client.session.join("/", String::new());
    client.says(&["Get"]);
    client.polled(Ok(GREETING), &["Opened", "StayedOnPolling", "Get", "Post 40"]);
    client.session.handle_posted(Ok(()));
    client.polled(Ok(r#"40{"sid":"A"}"#), &["Entered", "Get"]);
    client.session.close(client.now);
    client.says(&["Post 41"]);
    client.session.handle_posted(Ok(()));
    client.says(&["Post 1"]);
    client.session.handle_posted(Ok(()));
    client.says(&["DropAll", "Ended forced close"]);
    assert_eq!(client.session.phase(), Phase::Over);
    // Between two tries there is nothing to leave.
    let mut client = Client::new(Some(Reconnection::default()));
    client.says(&["Get"]);
    client.session.handle_polled(Err("refused".to_owned()), client.now);
    while client.session.poll_output(client.now).is_some() {}
    client.session.close(client.now);
    assert_eq!(client.session.phase(), Phase::Over);
}

#[test]
fn what_the_server_may_not_say_ends_the_connection_but_not_the_client() {
    let mut client = Client::new(Some(Reconnection { jitter: 0.0, ..Reconnection::default() }));
    client.says(&["Get"]);
    client.polled(Ok(GREETING), &["Opened", "StayedOnPolling", "Get"]);
    client.polled(Ok("4nonsense"), &["Get", "DropAll", "Ended parse error 1s"]);
    client.after(1000, &["Get"]);
    client.polled(Ok(GREETING), &["Opened", "StayedOnPolling", "Get"]);
    client.session.overrun(client.now);
    client.says(&["DropAll", "Ended overrun 1s"]);
}

struct Client {
    session: Session,
    now: Instant,
}

impl Client {
    fn new(reconnection: Option<Reconnection>) -> Self {
        let now = Instant::now();
        let settings = Settings {
            preference: Preference {
                transports: vec![Transport::Polling, Transport::WebSocket],
                try_all: false,
                upgrade: true,
            },
            limits: Limits {
                connect_timeout: Duration::from_secs(20),
                close_timeout: Duration::from_secs(2),
            },
            reconnection,
            attachments_max: 10,
        };
        Self { session: Session::new(settings, SmallRng::seed_from_u64(1), now), now }
    }

    fn polled(&mut self, answer: Result<&str, &str>, outputs: &[&str]) {
        self.session.handle_polled(answer.map(str::to_owned).map_err(str::to_owned), self.now);
        self.says(outputs);
    }

    fn after(&mut self, millis: u64, outputs: &[&str]) {
        self.now += Duration::from_millis(millis);
        self.session.handle_timeout(self.now);
        self.says(outputs);
    }

    #[track_caller]
    fn says(&mut self, outputs: &[&str]) {
        let said: Vec<_> =
            std::iter::from_fn(|| self.session.poll_output(self.now).map(|output| word(&output))).collect();
        assert_eq!(said, outputs);
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "any other output is told by its name")]
fn word(output: &Output) -> String {
    match output {
        Output::Post(payload) => format!("Post {}", String::from_utf8_lossy(payload)),
        Output::Ended { closed, retry } => {
            let retry = retry.map_or(String::new(), |wait| format!(" {wait:?}"));
            format!("Ended {}{retry}", closed.cause)
        }
        other => {
            let text = format!("{other:?}");
            text.split([' ', '(']).next().unwrap_or("").to_owned()
        }
    }
}
