//! What was seen of a deployment.

use sockeye_client::Transport;
use std::time::Duration;

/// All that was seen.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) path: String,
    pub(super) hello: Hello,
    /// Where it does answer.
    pub(super) right_path: Option<String>,
    /// Whether clients of Socket.IO 2 are served.
    pub(super) old_clients: bool,
    /// A WebSocket without a session before it.
    pub(super) websocket: Option<Dialed>,
    pub(super) with_cookies: Option<Sample>,
    pub(super) without_cookies: Option<Sample>,
    pub(super) cors: Option<Cors>,
    pub(super) redirect: Option<Redirect>,
    /// What could not be looked at, in lines.
    pub(super) unseen: Vec<String>,
    pub(super) broadcast: Option<Heard>,
    pub(super) holds: Vec<Hold>,
}

impl Facts {
    pub(super) fn can_websocket(&self) -> bool {
        self.websocket == Some(Dialed::Open)
    }
}

/// What a handshake by polling got.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Hello {
    /// A session.
    Greeting(Greeting),
    /// A server that speaks Engine.IO 3.
    Old,
    /// Nobody spoke: why the certificate is not trusted.
    Untrusted(String),
    /// Engine.IO's answer where polling is switched off.
    NoPolling,
    /// Engine.IO's refusal, in a line.
    Refused(String),
    /// Something else, in a line.
    Other(String),
    #[default]
    Nothing,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Greeting {
    pub(super) sid: String,
    pub(super) upgrades: Vec<String>,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}

/// What came of the wish for a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dialed {
    /// It is open (and, for a session, the probe was answered).
    Open,
    /// The session is unknown where the request went.
    Unknown,
    /// It was refused, in a line.
    Refused(String),
}

/// What became of sessions that were opened by polling.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) sessions: u32,
    /// Sessions of which a poll or a post met a server that did not know them.
    pub(super) lost: u32,
    /// Sessions whose polls were right, and whose WebSocket met a server that did not know them.
    pub(super) websocket_lost: u32,
    /// Sessions that asked for a WebSocket.
    pub(super) websocket_tried: u32,
    /// Sessions whose WebSocket was refused for another reason, and one of the reasons.
    pub(super) websocket_refused: (u32, Option<String>),
    /// Requests that failed in any other way, and one of the reasons.
    pub(super) failed: (u32, Option<String>),
    /// What was set.
    pub(super) cookies: Vec<SetCookie>,
}

/// A cookie as it was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SetCookie {
    pub(super) name: String,
    pub(super) secure: bool,
    pub(super) same_site_none: bool,
}

/// What a page of another origin is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cors {
    pub(super) asked: String,
    /// Whether somebody said that this is the page's origin.
    pub(super) given: bool,
    pub(super) allows: Option<String>,
    pub(super) credentials: bool,
}

/// What HTTP answers beside HTTPS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Redirect {
    pub(super) port: u16,
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) wanted: String,
}

/// Who heard what others said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Heard {
    pub(super) clients: u32,
    /// Pairs of a client that spoke and another one that heard it.
    pub(super) pairs: u32,
    /// Clients that heard themselves.
    pub(super) themselves: u32,
    pub(super) problem: Option<String>,
}

/// How long an idle connection lived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hold {
    pub(super) transport: Transport,
    pub(super) alive: Duration,
    /// Why it ended before its time.
    pub(super) ended: Option<String>,
    pub(super) ping_interval: Duration,
    pub(super) ping_timeout: Duration,
}
