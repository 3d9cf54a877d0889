//! What is known of a client from the request that opened its session.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use sockeye_proto::http::{Head, Status, query_pairs, query_param};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// The request that opened a session, and the `auth` payload of a namespace.
///
/// The head is kept as the bytes that came: an idle session should cost little, and most are never asked.
#[derive(Debug, Clone)]
pub struct Handshake {
    request: Arc<Request>,
    auth: Option<Arc<str>>,
}

#[derive(Debug)]
struct Request {
    head: Bytes,
    address: SocketAddr,
    issued: SystemTime,
}

impl Handshake {
    /// Keeps a head that was parsed once already.
    pub(crate) fn new(head: Bytes, address: SocketAddr) -> Self {
        Self { request: Arc::new(Request { head, address, issued: SystemTime::now() }), auth: None }
    }

    /// The same request with the payload of one namespace.
    pub(crate) fn with_auth(&self, auth: &str) -> Self {
        let auth = (!auth.is_empty()).then(|| auth.into());
        Self { request: Arc::clone(&self.request), auth }
    }

    /// Reads the `auth` payload; a client that sent none sent `{}`.
    ///
    /// # Errors
    /// The payload is not of that type.
    pub fn auth<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.auth.as_deref().unwrap_or("{}"))
    }

    /// The client's address; behind our own edge the one that the edge saw.
    pub fn address(&self) -> SocketAddr {
        self.request.address
    }

    /// When the session was opened.
    pub fn issued(&self) -> SystemTime {
        self.request.issued
    }

    /// The target of the request: path and query.
    pub fn url(&self) -> Cow<'_, str> {
        let line = self.request.head.split(|&byte| byte == b'\r').next().unwrap_or_default();
        String::from_utf8_lossy(line.split(|&byte| byte == b' ').nth(1).unwrap_or_default())
    }

    /// A parameter of the query, decoded.
    pub fn query(&self, name: &str) -> Option<String> {
        let url = self.url();
        let (_, query) = url.split_once('?')?;
        query_param(query, name).map(Cow::into_owned)
    }

    /// All parameters of the query, decoded; of those with one name the last.
    pub(crate) fn query_pairs(&self) -> Map<String, Value> {
        let url = self.url();
        let query = url.split_once('?').map_or("", |(_, query)| query);
        query_pairs(query).map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect()
    }

    /// All headers, with names in lower case; lines of one name are joined.
    pub(crate) fn headers(&self) -> Map<String, Value> {
        let mut headers = Map::new();
        if let Ok(Status::Complete((head, _))) = Head::parse(&self.request.head) {
            for (name, value) in head.headers() {
                let value = String::from_utf8_lossy(value);
                let joined = match headers.get(&name.to_ascii_lowercase()) {
                    Some(Value::String(before)) => format!("{before}, {value}"),
                    Some(_) | None => value.into_owned(),
                };
                headers.insert(name.to_ascii_lowercase(), joined.into());
            }
        }
        headers
    }

    /// A header of the request; its name in any case.
    pub fn header(&self, name: &str) -> Option<String> {
        match Head::parse(&self.request.head) {
            Ok(Status::Complete((head, _))) => head.header(name).map(str::to_owned),
            Ok(Status::Partial) | Err(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handshake_tells_what_the_request_said() {
        let head = "GET /socket.io/?EIO=4&token=a%20b HTTP/1.1\r\nHost: x\r\nX-Key: v\r\n\r\n";
        let handshake = Handshake::new(Bytes::from_static(head.as_bytes()), ([127, 0, 0, 1], 5).into());
        assert_eq!(handshake.url(), "/socket.io/?EIO=4&token=a%20b");
        assert_eq!(handshake.query("token").as_deref(), Some("a b"));
        assert_eq!(handshake.query("none"), None);
        assert_eq!(handshake.header("x-key").as_deref(), Some("v"));
        assert_eq!(handshake.auth::<Value>().unwrap(), serde_json::json!({}));
        let entered = handshake.with_auth(r#"{"token":"x"}"#);
        assert_eq!(entered.auth::<Value>().unwrap(), serde_json::json!({"token": "x"}));
    }
}
