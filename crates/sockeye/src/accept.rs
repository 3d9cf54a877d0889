//! Connections as they come in: the head of the first request is read here, and a WebSocket that belongs to this node never
//! meets an HTTP library. Everything else is hyper's.

use crate::caller::{Caller, Way};
use crate::handshake::Handshake;
use crate::http::respond;
use crate::limit::Limit;
use crate::route::{Ask, Route};
use crate::session::{Arrival, start_probe, start_websocket};
use crate::site::Site;
use crate::transport::{Io, with_scratch};
use bytes::{Bytes, BytesMut};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sockeye_proto::engine::{Refusal, Transport};
use sockeye_proto::http::{Head, Status};
use sockeye_proto::ws::handshake::switching_protocols;
use sockeye_relay::{Rewind, Socket};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::ready;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

const EXTENSIONS: &str = "Sec-WebSocket-Extensions";

/// Serves one connection until its end, or until a WebSocket has taken it over. `read` was read from it before.
pub(crate) async fn serve(site: Arc<Site>, mut socket: Socket, read: Bytes, caller: Caller) {
    let config = &site.core.config;
    let head = tokio::time::timeout(
        config.head_timeout,
        read_head(&mut socket, read, config.head_bytes_max as usize),
    );
    let read = match head.await {
        Ok(Ok(Some(read))) => read,
        Ok(Ok(None)) => {
            site.core.counters.count_limit(Limit::HeadBytesMax);
            return answer(socket, "431 Request Header Fields Too Large").await;
        }
        Ok(Err(_)) => return,
        Err(_) => {
            site.core.counters.count_limit(Limit::HeadTimeout);
            return answer(socket, "408 Request Timeout").await;
        }
    };
    if let Some(allow) = &site.doors.allow
        && let Some(handshake) = opens_websocket(&site, &read, caller)
        && let Err(refusal) = allow(handshake).await
    {
        site.core.counters.count_refusal(Refusal::Forbidden);
        if caller.way == Way::Edge {
            site.core.count_arrival();
        }
        let message = Some(refusal.message()).filter(|message| !message.is_empty());
        let reply = Refusal::upgrade_reply_with(message.unwrap_or(Refusal::Forbidden.message()));
        return write_and_close(socket, reply).await;
    }
    match take_websocket(&site, socket, read, caller) {
        None => {}
        Some((socket, read)) => serve_http(&site, socket, read, caller).await,
    }
}

/// Reads until a head is whole, or surely is none: judging it is hyper's task. `None` when it is too long.
async fn read_head(socket: &mut Socket, read: Bytes, max: usize) -> io::Result<Option<Bytes>> {
    if has_head(&read) {
        return Ok(Some(read));
    }
    let mut head = BytesMut::from(&read[..]);
    loop {
        let ended = poll_fn(|cx| {
            with_scratch(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut *socket).poll_read(cx, &mut buffer))?;
                head.extend_from_slice(buffer.filled());
                std::task::Poll::Ready(io::Result::Ok(buffer.filled().is_empty()))
            })
        })
        .await?;
        if has_head(&head) {
            return Ok(Some(head.freeze()));
        }
        if ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if head.len() > max {
            return Ok(None);
        }
    }
}

/// Whether an empty line has come; a bare line feed ends a line, too, as it does for the parser (RFC 9112 §2.2).
fn has_head(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).any(|end| {
        let rest = &bytes[end + 1..];
        rest.starts_with(b"\n") || rest.starts_with(b"\r\n")
    })
}

/// The request, if it wants to open a session on a WebSocket.
fn opens_websocket(site: &Site, read: &Bytes, caller: Caller) -> Option<Handshake> {
    let Ok(Status::Complete((head, length))) = Head::parse(read) else { return None };
    let ask = Ask { method: head.method(), query: head.query_string(), upgrade: true, relayed: false };
    let opens = caller.way != Way::Private
        && head.is_websocket_upgrade()
        && head.path().starts_with(&site.core.config.path)
        && matches!(site.core.route(ask), Route::Open(Transport::WebSocket, _));
    opens.then(|| Handshake::new(Bytes::copy_from_slice(&read[..length]), caller.peer))
}

/// Takes the connection over if it is a WebSocket for a session of this node; gives it back otherwise.
fn take_websocket(site: &Site, socket: Socket, read: Bytes, caller: Caller) -> Option<(Socket, Bytes)> {
    let core = &site.core;
    let Ok(Status::Complete((head, length))) = Head::parse(&read) else { return Some((socket, read)) };
    if !head.is_websocket_upgrade()
        || !head.path().starts_with(&core.config.path)
        || caller.way == Way::Private
    {
        return Some((socket, read));
    }
    let ask = Ask { method: head.method(), query: head.query_string(), upgrade: true, relayed: false };
    let (Some(key), route) = (head.websocket_key(), core.route(ask)) else { return Some((socket, read)) };
    let mut lines = Vec::new();
    if let Some(cors) = &core.config.cors {
        cors.header_lines(head.header("origin"), &mut lines);
    }
    if site.doors.adds_headers() {
        let handshake = Handshake::new(Bytes::copy_from_slice(&read[..length]), caller.peer);
        site.doors.lines(&handshake, !matches!(route, Route::Session(..)), &mut lines);
    }
    let deflate = match route {
        Route::Open(Transport::WebSocket, _) | Route::Session(..) => core.agree_on_deflate(
            head.headers().filter(|(name, _)| name.eq_ignore_ascii_case(EXTENSIONS)).map(|(_, value)| value),
        ),
        Route::Open(Transport::Polling, _) | Route::Refused(_) | Route::Elsewhere(_) => None,
    };
    if let Some(answer) = &deflate {
        lines.extend_from_slice(format!("{EXTENSIONS}: {}\r\n", answer.header).as_bytes());
    }
    let arrival = |socket| Arrival {
        io: Io::Raw(socket),
        read: read.slice(length..),
        head: Some(switching_protocols_with(key, &lines)),
        deflate,
    };
    match route {
        Route::Open(Transport::WebSocket, query) => {
            core.count_arrival_of(ask, caller.way);
            let seat = match core.admit(caller.peer.ip()) {
                Ok(seat) => seat,
                Err(limit) => {
                    // As a refusal below.
                    tokio::spawn(answer(socket, full(limit)));
                    return None;
                }
            };
            let handshake = Handshake::new(Bytes::copy_from_slice(&read[..length]), caller.peer);
            start_websocket(core, arrival(socket).websocket(core, &query), &query, handshake, seat);
        }
        Route::Session(mailbox, query) => {
            start_probe(core, &mailbox, arrival(socket).websocket(core, &query));
        }
        Route::Refused(refusal) => {
            core.counters.count_refusal(refusal);
            core.count_arrival_of(ask, caller.way);
            // Ends by itself; a client that does not read is cut off by the kernel's limits.
            let mut bytes = refusal.upgrade_reply();
            if refusal == Refusal::UnsupportedProtocol {
                // engine.io looks at the version when the WebSocket stands already.
                bytes.splice(..0, switching_protocols_with(key, &lines));
            }
            tokio::spawn(write_and_close(socket, bytes));
        }
        Route::Open(Transport::Polling, _) | Route::Elsewhere(_) => return Some((socket, read)),
    }
    None
}

fn switching_protocols_with(key: &str, lines: &[u8]) -> Vec<u8> {
    let mut reply = switching_protocols(key, []);
    if !lines.is_empty() {
        reply.truncate(reply.len() - 2);
        reply.extend_from_slice(lines);
        reply.extend_from_slice(b"\r\n");
    }
    reply
}

async fn serve_http(site: &Arc<Site>, socket: Socket, read: Bytes, caller: Caller) {
    let service = service_fn(|request| {
        let site = Arc::clone(site);
        // Boxed: hyper keeps it in the connection, which is idle most of the time.
        async move { Ok::<_, Infallible>(Box::pin(respond(&site, caller, request)).await) }
    });
    let config = &site.core.config;
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size((config.head_bytes_max as usize).max(8 << 10))
        .serve_connection(TokioIo::new(Rewind::new(read, socket)), service)
        .with_upgrades();
    // Its failures are the client's: a broken request, or a connection that went away.
    if let Err(error) = connection.await {
        tracing::trace!(%error, "connection ended");
    }
}

/// The status of a handshake that a limit keeps out, with the header that tells when to come again.
fn full(limit: Limit) -> &'static str {
    if limit == Limit::SessionsMax {
        "503 Service Unavailable\r\nRetry-After: 1"
    } else {
        "429 Too Many Requests\r\nRetry-After: 1"
    }
}

async fn answer(socket: Socket, status: &str) {
    let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    write_and_close(socket, head.into_bytes()).await;
}

async fn write_and_close(mut socket: Socket, bytes: Vec<u8>) {
    // The connection ends here, whether the client hears why or not.
    if socket.write_all(&bytes).await.is_ok() {
        drop(socket.shutdown().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_in_either_spelling() {
        let rows: [(&[u8], bool); 7] = [
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", true),
            (b"GET / HTTP/1.1\nHost: x\n\n", true),
            (b"GET / HTTP/1.1\nHost: x\n\r\n", true),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nbody", true),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", false),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r", false),
            (b"", false),
        ];
        for (bytes, whole) in rows {
            assert_eq!(has_head(bytes), whole, "{}", bytes.escape_ascii());
        }
    }
}
