//! What a request asks of the edge, by its method, path and query alone.

use sockeye_proto::Tag;
use sockeye_proto::engine::Query;
use sockeye_proto::engine::query::Session;
use sockeye_proto::http::query_param;

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
    pub(crate) fn of(engine: &str, method: &str, path: &str, query: &str) -> Self {
        if is_engine(engine, path, query) {
            return Self::of_engine(method, query);
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

    fn of_engine(method: &str, query: &str) -> Self {
        if method == "OPTIONS" {
            // A preflight is the same to every worker, and must not fail where the session has.
            return Self::Any;
        }
        let query = Query::parse(query);
        match query.session {
            Session::Named(sid) => Self::Owner(sid.tag()),
            Session::Foreign => Self::Unknown,
            Session::None if method == "GET" && query.transport.is_some() => Self::Handshake,
            Session::None => Self::Any,
        }
    }
}

/// Whether a request is for the engine: by the prefix of its path, or, where none is named, by what each official client says of itself.
pub(crate) fn is_engine(engine: &str, path: &str, query: &str) -> bool {
    if !engine.is_empty() {
        return path.starts_with(engine);
    }
    let has = |name: &str| query.contains(name) && query_param(query, name).is_some();
    has("EIO") && has("transport")
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
            assert_eq!(Route::of("/socket.io/", method, path, query), expected, "{method} {target}");
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
            assert_eq!(Route::of("", "GET", path, query), expected, "{target}");
        }
    }
}
