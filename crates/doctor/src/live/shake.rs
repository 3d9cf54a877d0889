//! Single requests, each on a connection of its own, as far from one client as requests can be.

use super::facts::{Dialed, Greeting, Hello};
use super::options::Unreachable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;
use sockeye_client::http::{Http, HttpError, Reply, Request, Upgrade};
use sockeye_client::{Address, Tls};
use sockeye_proto::ws::encoder::masked_frame;
use sockeye_proto::ws::{Decoder, Message, Opcode};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;

/// A server and a path of it.
#[derive(Debug, Clone)]
pub(super) struct Site {
    address: Address,
    pub(super) path: String,
    tls: Tls,
}

impl Site {
    pub(super) fn new(address: Address, path: &str, tls: Tls) -> Self {
        let path = format!("/{}", path.trim_start_matches('/'));
        Self { address, path, tls }
    }

    pub(super) fn at(&self, path: &str) -> Self {
        Self::new(self.address.clone(), path, self.tls.clone())
    }

    pub(super) fn http_address(&self) -> &Address {
        &self.address
    }

    /// A handshake by polling, with the head of its answer.
    pub(super) async fn hello(
        &self,
        version: u8,
        headers: &HeaderMap,
    ) -> Result<(Hello, HeaderMap), Unreachable> {
        let target = self.target("polling", version, None);
        let reply = self.send(Request { headers: headers.clone(), ..Request::get(target) }).await?;
        Ok((read_hello(&reply), reply.headers))
    }

    /// A poll of a session.
    pub(super) async fn poll(&self, sid: &str, headers: &HeaderMap) -> Result<Reply, Unreachable> {
        let target = self.target("polling", 4, Some(sid));
        self.send(Request { headers: headers.clone(), ..Request::get(target) }).await
    }

    /// A post of a session.
    pub(super) async fn post(
        &self,
        sid: &str,
        headers: &HeaderMap,
        body: &'static str,
    ) -> Result<Reply, Unreachable> {
        let target = self.target("polling", 4, Some(sid));
        let body = Bytes::from_static(body.as_bytes());
        self.send(Request { method: Method::POST, target, headers: headers.clone(), body }).await
    }

    /// Any target.
    pub(super) async fn plain(&self, target: &str) -> Result<Reply, Unreachable> {
        self.send(Request::get(target)).await
    }

    /// A WebSocket, of a session or as its beginning.
    pub(super) async fn websocket(&self, sid: Option<&str>, headers: &HeaderMap) -> Dialed {
        let dial = async {
            let http = self.http()?;
            let key = STANDARD.encode(rand::random::<[u8; 16]>());
            let target = self.target("websocket", 4, sid);
            Ok::<_, Unreachable>(match http.upgrade(target, headers.clone(), &key).await? {
                Upgrade::Refused(reply) if is_unknown_sid(&reply) => Dialed::Unknown,
                Upgrade::Refused(reply) => Dialed::Refused(reply.summary()),
                Upgrade::Switched(stream, _) => match first_words(stream, sid.is_some()).await {
                    Ok(()) => Dialed::Open,
                    Err(why) => Dialed::Refused(why),
                },
            })
        };
        match timeout(PATIENCE, dial).await {
            Ok(Ok(dialed)) => dialed,
            Ok(Err(error)) => Dialed::Refused(error.to_string()),
            Err(_) => Dialed::Refused("no answer within 5 s".to_owned()),
        }
    }

    async fn send(&self, request: Request) -> Result<Reply, Unreachable> {
        let http = self.http()?;
        let answer = timeout(PATIENCE, http.request(request)).await;
        Ok(answer.map_err(|_| Unreachable::Silent(self.address.origin()))??)
    }

    /// A connection of its own for each request: nothing a balancer remembers of a connection helps.
    fn http(&self) -> Result<Http, Unreachable> {
        Ok(Http::new(self.address.clone(), &self.tls, BODY_BYTES_MAX)?)
    }

    fn target(&self, transport: &str, version: u8, sid: Option<&str>) -> String {
        let mut target = format!("{}?EIO={version}&transport={transport}", self.path);
        if !self.address.query.is_empty() {
            target.push('&');
            target.push_str(&self.address.query);
        }
        if let Some(sid) = sid {
            target.push_str("&sid=");
            target.push_str(sid);
        }
        target
    }
}

/// Whether a reply is the official one to a session that is unknown.
pub(super) fn is_unknown_sid(reply: &Reply) -> bool {
    reply.status == StatusCode::BAD_REQUEST
        && (code(reply) == Some(1) || reply.body.as_ref() == b"Session ID unknown")
}

fn code(reply: &Reply) -> Option<u64> {
    serde_json::from_slice::<Value>(&reply.body).ok()?["code"].as_u64()
}

fn read_hello(reply: &Reply) -> Hello {
    let text = String::from_utf8_lossy(&reply.body);
    if reply.status != StatusCode::OK {
        return match code(reply) {
            Some(0) => Hello::NoPolling,
            Some(0..=5) => Hello::Refused(reply.summary()),
            Some(_) | None => Hello::Other(reply.summary()),
        };
    }
    if let Some(json) = text.strip_prefix('0')
        && let Some(greeting) = greeting(json.split('\u{1e}').next().unwrap_or(json))
    {
        return Hello::Greeting(greeting);
    }
    // Engine.IO v3, "Encoding": a length in front.
    let old = text.split_once(':').is_some_and(|(length, rest)| {
        !length.is_empty()
            && length.bytes().all(|byte| byte.is_ascii_digit())
            && rest.starts_with("0{\"sid\"")
    });
    if old || reply.body.starts_with(&[0]) && text.contains("\"sid\"") {
        return Hello::Old;
    }
    Hello::Other(reply.summary())
}

fn greeting(json: &str) -> Option<Greeting> {
    let greeting: Value = serde_json::from_str(json).ok()?;
    let millis = |name: &str| greeting[name].as_u64().map(Duration::from_millis);
    // A session id goes into targets as it is.
    let sid = greeting["sid"].as_str()?.to_owned();
    let plain =
        sid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~'));
    let upgrades =
        greeting["upgrades"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    plain.then_some(Greeting {
        sid,
        upgrades,
        ping_interval: millis("pingInterval")?,
        ping_timeout: millis("pingTimeout")?,
    })
}

/// Whether a WebSocket answers as one of Engine.IO does.
async fn first_words(mut stream: impl AsyncRead + AsyncWrite + Unpin, probe: bool) -> Result<(), String> {
    if probe {
        // Engine.IO v4, "Upgrade": 2probe is answered by 3probe.
        let frame = masked_frame(Opcode::Text, b"2probe", rand::random());
        stream.write_all(&frame).await.map_err(|error| error.to_string())?;
        stream.flush().await.map_err(|error| error.to_string())?;
    }
    let mut decoder = Decoder::client(BODY_BYTES_MAX);
    let mut buffer = vec![0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.map_err(|error| error.to_string())?;
        if count == 0 {
            return Err("the connection was closed right after 101".to_owned());
        }
        let mut input = &mut buffer[..count];
        while let Some(message) = decoder.decode(&mut input).map_err(|error| error.to_string())? {
            match message {
                Message::Text(text) if probe && text == "3probe" => return Ok(()),
                Message::Text(text) if !probe && text.starts_with('0') => return Ok(()),
                Message::Ping(_) | Message::Pong(_) => {}
                Message::Text(_) | Message::Binary(_) => {
                    return Err("a WebSocket, but not one of Engine.IO".to_owned());
                }
                Message::Close(_) => return Err("the WebSocket was closed right after 101".to_owned()),
            }
        }
    }
}

impl From<HttpError> for Dialed {
    fn from(error: HttpError) -> Self {
        Self::Refused(error.to_string())
    }
}

/// For one request; longer than any poll that is answered at once.
const PATIENCE: Duration = Duration::from_secs(5);
const BODY_BYTES_MAX: usize = 1 << 20;
