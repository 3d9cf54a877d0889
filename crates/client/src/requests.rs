//! The requests of one client: their targets and heads, its cookies, and what is under way.

use crate::address::{Address, push_pair};
use crate::config::Config;
use crate::cookies::Jar;
use crate::error::ConfigError;
use crate::http::{Http, Request};
use crate::websocket::WebSocket;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use sockeye_proto::engine::Transport;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::task::JoinSet;

/// Requests under way. They end with it.
pub(crate) struct Requests {
    site: Arc<Site>,
    /// The connection that requests belong to; what is told of an earlier one is passed over.
    life: u64,
    jobs: JoinSet<(u64, Told)>,
}

/// What came of a request.
pub(crate) enum Told {
    Polled(Result<String, String>),
    Posted(Result<(), String>),
    Dialed(Result<Box<WebSocket>, String>),
}

/// What all requests of a client have in common.
struct Site {
    http: Http,
    path: String,
    query: String,
    headers: HeaderMap,
    jar: Option<Mutex<Jar>>,
    payload_max: usize,
}

impl Requests {
    pub(crate) fn new(address: Address, config: &Config) -> Result<Self, ConfigError> {
        if config.transports.is_empty() {
            return Err(ConfigError::NoTransport);
        }
        let path = format!("/{}", config.path.trim_start_matches('/'));
        let mut query = address.query.clone();
        for (key, value) in &config.query {
            push_pair(&mut query, key, value);
        }
        if !query.is_empty() {
            query.push('&');
        }
        let fits = |text: &str| text.parse::<http::uri::PathAndQuery>().is_ok();
        if !fits(&path) || path.contains(['?', '#']) {
            return Err(ConfigError::Field { field: "path", value: config.path.clone() });
        }
        let payload_max = config.limits.payload_max;
        let site = Site {
            http: Http::new(address, &config.tls, payload_max)?,
            path,
            query,
            headers: config.headers.clone(),
            jar: config.cookies.then(|| Mutex::new(Jar::new(config.limits.cookies_max))),
            payload_max,
        };
        Ok(Self { site: Arc::new(site), life: 0, jobs: JoinSet::new() })
    }

    /// Waits for what comes of a request; for ever where none is under way.
    ///
    /// # Cancel safety
    /// Nothing is lost when it is dropped.
    pub(crate) async fn told(&mut self) -> Told {
        loop {
            match self.jobs.join_next().await {
                Some(Ok((life, told))) if life == self.life => return told,
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    if error.is_panic() {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    pub(crate) fn get(&mut self, sid: Option<&str>) {
        let (site, life, target) =
            (Arc::clone(&self.site), self.life, self.site.target(Transport::Polling, sid));
        self.jobs.spawn(async move { (life, Told::Polled(site.get(target).await)) });
    }

    pub(crate) fn post(&mut self, sid: Option<&str>, payload: Vec<u8>) {
        let (site, life, target) =
            (Arc::clone(&self.site), self.life, self.site.target(Transport::Polling, sid));
        self.jobs.spawn(async move { (life, Told::Posted(site.post(target, payload).await)) });
    }

    pub(crate) fn dial(&mut self, sid: Option<&str>) {
        let (site, life, target) =
            (Arc::clone(&self.site), self.life, self.site.target(Transport::WebSocket, sid));
        self.jobs.spawn(async move { (life, Told::Dialed(site.dial(target).await)) });
    }

    /// Ends all that is under way: the next request belongs to another connection.
    pub(crate) fn drop_all(&mut self) {
        self.jobs.abort_all();
        self.life += 1;
        self.site.http.drop_idle();
    }
}

impl Site {
    fn target(&self, transport: Transport, sid: Option<&str>) -> String {
        let mut target = format!("{}?{}EIO=4&transport={transport}", self.path, self.query);
        if transport == Transport::Polling {
            // Against caches, as the official client has it.
            target.push_str(&format!("&t={:08x}", rand::random::<u32>()));
        }
        if let Some(sid) = sid {
            let mut pair = String::new();
            push_pair(&mut pair, "sid", sid);
            target.push('&');
            target.push_str(&pair);
        }
        target
    }

    async fn get(&self, target: String) -> Result<String, String> {
        let reply = self.send(Request { headers: self.head(), ..Request::get(target) }).await?;
        String::from_utf8(reply.to_vec())
            .map_err(|_| "expected text, got bytes that are not UTF-8".to_owned())
    }

    async fn post(&self, target: String, payload: Vec<u8>) -> Result<(), String> {
        let mut headers = self.head();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain;charset=UTF-8"));
        self.send(Request { method: Method::POST, target, headers, body: payload.into() }).await.map(drop)
    }

    async fn send(&self, request: Request) -> Result<Bytes, String> {
        let reply = self.http.request(request).await.map_err(|error| error.to_string())?;
        self.remember(&reply.headers);
        if reply.status == StatusCode::OK { Ok(reply.body) } else { Err(reply.summary()) }
    }

    async fn dial(&self, target: String) -> Result<Box<WebSocket>, String> {
        let (socket, head) = WebSocket::dial(&self.http, target, self.head(), self.payload_max).await?;
        self.remember(&head);
        Ok(Box::new(socket))
    }

    fn head(&self) -> HeaderMap {
        let mut headers = self.headers.clone();
        let cookies = self
            .jar
            .as_ref()
            .and_then(|jar| jar.lock().value(&self.path, self.http.address().tls, SystemTime::now()));
        if let Some(cookies) = cookies.and_then(|cookies| HeaderValue::try_from(cookies).ok()) {
            let own = headers.get(COOKIE).map(|own| [own.as_bytes(), b"; ", cookies.as_bytes()].concat());
            let both = own.and_then(|both| HeaderValue::from_bytes(&both).ok()).unwrap_or(cookies);
            headers.insert(COOKIE, both);
        }
        headers
    }

    fn remember(&self, headers: &HeaderMap) {
        if let Some(jar) = &self.jar {
            jar.lock().take(headers, SystemTime::now());
        }
    }
}
