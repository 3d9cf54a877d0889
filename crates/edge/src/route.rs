//! What a request asks of the edge, by its method, path and query alone.

use std::borrow::Cow;

use sockeye_proto::engine::Transport;
use sockeye_proto::http::query_pairs;
use sockeye_proto::{Sid, Tag};

/// What a query says of the engine's words, read once for all who ask.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Words<'a> {
    version: Option<Cow<'a, str>>,
    transport: Option<Cow<'a, str>>,
    sid: Option<Cow<'a, str>>,
    /// Which of the last two came more than once: such a pair is no value at all to the official server.
    repeats_transport: bool,
    repeats_sid: bool,
}

/// Where a request belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// `/health`: does the edge live?
    Health,
    /// `/health.txt`: the same, for those who want a file.
    HealthText,
    /// `/ready`: will it serve?
    Ready,
    /// To the worker with this tag: the request names one of its sessions.
    Owner(Tag),
    /// Nowhere: the request names a session that no worker of ours can have issued.
    Unknown,
    /// To the worker with the fewest sessions: the request makes one.
    Handshake,
    /// To any worker.
    Any,
}

impl Route {
    /// Routes a request. `engine` is the prefix of the engine's paths.
    ///
    /// A handshake is a `GET` for the engine with a transport that exists and no sid; the workers count the same as arrived.
    pub(crate) fn of(engine: &str, method: &str, path: &str, words: &Words<'_>) -> Self {
        if words.are_for_engine(engine, path) {
            return Self::of_engine(method, words);
        }
        if method != "GET" && method != "HEAD" {
            return Self::Any;
        }
        match path {
            "/health" => Self::Health,
            "/health.txt" => Self::HealthText,
            "/ready" => Self::Ready,
            _ => Self::Any,
        }
    }

    fn of_engine(method: &str, words: &Words<'_>) -> Self {
        if method == "OPTIONS" {
            // A preflight is the same to every worker, and must not fail where the session has.
            return Self::Any;
        }
        match words.sid() {
            Some(_) if words.repeats_sid => Self::Unknown,
            Some(sid) if !sid.is_empty() => {
                sid.parse().map_or(Self::Unknown, |sid: Sid| Self::Owner(sid.tag()))
            }
            Some(_) | None if method == "GET" && words.names_transport() => Self::Handshake,
            Some(_) | None => Self::Any,
        }
    }
}

impl<'a> Words<'a> {
    pub(crate) fn of(query: &'a str) -> Self {
        // Nearly all queries stand as they are.
        if memchr::memchr2(b'%', b'+', query.as_bytes()).is_some() {
            return Self::decoded(query);
        }
        let mut words = Self::default();
        let mut rest = Some(query);
        while let Some(text) = rest {
            let end = memchr::memchr(b'&', text.as_bytes()).unwrap_or(text.len());
            rest = text.get(end + 1..);
            let pair = &text[..end];
            let name = match pair.as_bytes().first() {
                Some(b'E') => "EIO",
                Some(b't') => "transport",
                Some(b's') => "sid",
                Some(_) | None => continue,
            };
            match pair.strip_prefix(name) {
                Some("") => words.add(name, Cow::Borrowed("")),
                Some(value) if value.starts_with('=') => words.add(name, Cow::Borrowed(&value[1..])),
                Some(_) | None => {}
            }
        }
        words
    }

    fn decoded(query: &'a str) -> Self {
        let mut words = Self::default();
        query_pairs(query).for_each(|(name, value)| words.add(&name, value));
        words
    }

    fn add(&mut self, name: &str, value: Cow<'a, str>) {
        let (word, repeats) = match name {
            "EIO" => (&mut self.version, None),
            "transport" => (&mut self.transport, Some(&mut self.repeats_transport)),
            "sid" => (&mut self.sid, Some(&mut self.repeats_sid)),
            _ => return,
        };
        if word.is_none() {
            *word = Some(value);
        } else if let Some(repeats) = repeats {
            *repeats = true;
        }
    }

    /// The first sid that is named.
    pub(crate) fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    /// Whether a request is for the engine: by the prefix of its path, or, where none is named, by what each official client says of itself.
    pub(crate) fn are_for_engine(&self, engine: &str, path: &str) -> bool {
        if engine.is_empty() {
            self.version.is_some() && self.transport.is_some()
        } else {
            path.starts_with(engine)
        }
    }

    /// Whether the first transport that is named is a WebSocket.
    pub(crate) fn names_websocket(&self) -> bool {
        self.transport.as_deref() == Some("websocket")
    }

    fn names_transport(&self) -> bool {
        let transport = self.transport.as_deref().filter(|_| !self.repeats_transport);
        transport.is_some_and(|transport| transport.parse::<Transport>().is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_go_where_the_rows_say() {
        let owner = Route::Owner(Tag::from_bits(0));
        for (method, target, expected) in [
            ("GET", "/health", Route::Health),
            ("HEAD", "/health", Route::Health),
            ("POST", "/health", Route::Any),
            ("GET", "/health/", Route::Any),
            ("GET", "/ready?x=1", Route::Ready),
            ("GET", "/health.txt", Route::HealthText),
            ("GET", "/", Route::Any),
            ("GET", "/socket.io", Route::Any),
            ("GET", "/socket.io/?EIO=4&transport=polling", Route::Handshake),
            ("GET", "/socket.io/?EIO=4&transport=websocket", Route::Handshake),
            ("GET", "/socket.io/?EIO=4&transport=polling&sid=", Route::Handshake),
            ("GET", "/socket.io/?EIO=4&transport=pigeon", Route::Any),
            ("GET", "/socket.io/socket.io.js", Route::Any),
            ("POST", "/socket.io/?EIO=4&transport=polling", Route::Any),
            ("GET", "/socket.io/?transport=polling&sid=AAAAAAbbbbbbbbbbbbbb", owner),
            ("POST", "/socket.io/?sid=AAAAAAbbbbbbbbbbbbbb&transport=polling", owner),
            ("GET", "/socket.io/anything?s%69d=AAAAAAbbbbbbbbbbbbbb", owner),
            ("OPTIONS", "/socket.io/?sid=AAAAAAbbbbbbbbbbbbbb", Route::Any),
            ("GET", "/socket.io/?sid=short", Route::Unknown),
            ("GET", "/socket.io/?sid=AAAAAAbbbbbbbbbbbbbb&sid=AAAAAAbbbbbbbbbbbbbb", Route::Unknown),
            ("GET", "/?sid=AAAAAAbbbbbbbbbbbbbb", Route::Any),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            assert_eq!(
                Route::of("/socket.io/", method, path, &Words::of(query)),
                expected,
                "{method} {target}"
            );
        }
    }

    #[test]
    fn plain_queries_are_read_as_the_others_are() {
        for query in [
            "EIO=4&transport=polling&sid=AAAAAAbbbbbbbbbbbbbb&t=x",
            "sid=a&sid=b&transport=a&transport=b&EIO=3&EIO=4",
            "sid&transport&EIO",
            "sid=&transport=&EIO=",
            "sidx=1&transports=2&EIO4=&esid=3&s=4&t&E",
            "&&sid=a=b&&",
            "=sid&=",
            "Sid=1&SID=2&eio=3",
            "",
        ] {
            assert_eq!(Words::of(query), Words::decoded(query), "{query}");
        }
    }

    #[test]
    fn without_a_path_the_engine_is_known_by_its_query() {
        let owner = Route::Owner(Tag::from_bits(0));
        for (target, expected) in [
            ("/socket.io/?EIO=4&transport=polling", Route::Handshake),
            ("/own/path?EIO=3&transport=websocket", Route::Handshake),
            ("/own/path?EIO=4&transport=polling&sid=AAAAAAbbbbbbbbbbbbbb", owner),
            ("/own/path?EIO=4&transport=polling&sid=own-1", Route::Unknown),
            ("/own/path?EIO=4&transport=pigeon", Route::Any),
            ("/api?sid=AAAAAAbbbbbbbbbbbbbb", Route::Any),
            ("/api?sid=1&transport=polling", Route::Any),
            ("/api?sid=1&transport=x&notEIO=4", Route::Any),
            ("/health", Route::Health),
        ] {
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            assert_eq!(Route::of("", "GET", path, &Words::of(query)), expected, "{target}");
        }
    }
}
