//! The server's greeting.

use std::time::Duration;

use super::transport::Transport;
use crate::sid::Sid;

/// What the open packet tells the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Open<'a> {
    /// The new session.
    pub sid: Sid,
    /// The transports the client may move to.
    pub upgrades: &'a [Transport],
    /// Time between a pong and the next ping.
    pub ping_interval: Duration,
    /// Time a client has for its pong.
    pub ping_timeout: Duration,
    /// Most bytes of one POST body or WebSocket message.
    pub max_payload: usize,
}

impl Open<'_> {
    /// The JSON, keys in the official order: stock clients' test suites count and compare them.
    #[must_use]
    pub fn json(&self) -> String {
        let upgrades: Vec<String> = self.upgrades.iter().map(|upgrade| format!("\"{upgrade}\"")).collect();
        format!(
            r#"{{"sid":"{}","upgrades":[{}],"pingInterval":{},"pingTimeout":{},"maxPayload":{}}}"#,
            self.sid,
            upgrades.join(","),
            self.ping_interval.as_millis(),
            self.ping_timeout.as_millis(),
            self.max_payload,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sid::Tag;

    #[test]
    fn the_json_is_the_official_one() {
        let open = Open {
            sid: Sid::new(Tag::from_bits(0), 0),
            upgrades: &[Transport::WebSocket],
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            max_payload: 1_000_000,
        };
        assert_eq!(
            open.json(),
            r#"{"sid":"AAAAAAAAAAAAAAAAAAAA","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#
        );
        let open = Open { upgrades: &[], ping_interval: Duration::from_millis(300), ..open };
        assert!(open.json().contains(r#""upgrades":[],"pingInterval":300,"#));
    }
}
