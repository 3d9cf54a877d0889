//! [`Stats`] in the text format of Prometheus, and a listener that serves nothing else.
//!
//! Written by hand: the format is a line for each number, and a metrics crate would bring its own registry and its own atomics
//! beside the counters that are there. The names are a promise; `docs/metrics.md` lists them.

use crate::accepting::pause_after;
use crate::backplane::{BackplaneStats, MeshStats};
use crate::recovery::RecoveryStats;
use crate::stats::Stats;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What the text is.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Connections to the listener at a time; further ones wait in the kernel's queue.
const SCRAPERS_MAX: usize = 16;

/// How long a scraper may take for a request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may last in all, so that idle ones do not hold a place.
const CONNECTION_MAX: Duration = Duration::from_secs(60);

/// Serves `GET /metrics` on a listener of its own, for as long as the future is polled.
pub(crate) async fn serve(listener: TcpListener, stats: impl Fn() -> Stats + Send + Sync + 'static) {
    let stats = Arc::new(stats);
    let places = Arc::new(Semaphore::new(SCRAPERS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(error, "metrics").await;
                continue;
            }
        };
        let stats = Arc::clone(&stats);
        let service = service_fn(move |request| {
            let answer = respond(&request, || text(&stats()));
            async move { Ok::<_, Infallible>(answer) }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        // Ends by itself within a named time; its failures are the scraper's.
        tokio::spawn(async move {
            drop(tokio::time::timeout(CONNECTION_MAX, connection).await);
            drop(place);
        });
    }
}

fn respond<B>(request: &Request<B>, text: impl FnOnce() -> String) -> Response<Full<Bytes>> {
    let (status, content_type, body) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, CONTENT_TYPE, text()),
        _ => (StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Binds the listener; a port that cannot be had is an error of the whole server, so that nobody believes in metrics.
pub(crate) async fn bind(address: std::net::SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot serve metrics on {address}: {error}")))
}

/// Writes the text.
pub(crate) fn text(stats: &Stats) -> String {
    let mut page = Page::default();
    page.family("sockeye_sessions", "gauge", "Sessions that live.");
    page.line("sockeye_sessions", &[], stats.sessions);
    page.family("sockeye_sessions_opened_total", "counter", "Sessions that were opened.");
    page.line("sockeye_sessions_opened_total", &[], stats.sessions_opened);
    page.family("sockeye_sockets", "gauge", "Sockets by namespace.");
    for (namespace, count) in &stats.sockets {
        page.line("sockeye_sockets", &[("namespace", namespace)], count);
    }
    page.family("sockeye_connects_total", "counter", "Sockets that entered a namespace.");
    page.line("sockeye_connects_total", &[], stats.connects);
    page.family("sockeye_connect_errors_total", "counter", "Clients that were refused a namespace.");
    page.line("sockeye_connect_errors_total", &[], stats.connect_errors);
    page.family("sockeye_disconnects_total", "counter", "Sockets that left, by the official reason.");
    for (reason, count) in &stats.disconnects {
        page.line("sockeye_disconnects_total", &[("reason", reason.as_str())], count);
    }
    page.family(
        "sockeye_refusals_total",
        "counter",
        "Requests that Engine.IO refused, by the official code.",
    );
    for (code, message, count) in &stats.refusals {
        page.line("sockeye_refusals_total", &[("code", &code.to_string()), ("message", message)], count);
    }
    page.family("sockeye_limits_total", "counter", "How often a limit was met, by its name.");
    for (limit, count) in &stats.limits {
        page.line("sockeye_limits_total", &[("limit", limit.as_str())], count);
    }
    stats.recovery.iter().for_each(|recovery| page.recovery(recovery));
    page.backplanes(&stats.backplanes);
    stats.mesh.iter().for_each(|mesh| page.mesh(mesh));
    let traffic = &stats.traffic;
    for (name, help, count) in [
        ("sockeye_packets_in_total", "Engine.IO packets from clients.", traffic.packets_in),
        ("sockeye_bytes_in_total", "Bytes of frames and POST bodies from clients.", traffic.bytes_in),
        ("sockeye_packets_out_total", "Messages to clients, without heartbeats.", traffic.packets_out),
        ("sockeye_bytes_out_total", "Bytes of these messages, as framed for a WebSocket.", traffic.bytes_out),
        ("sockeye_events_handled_total", "Events that a handler got.", traffic.events_handled),
        ("sockeye_events_ignored_total", "Events without a handler or a socket.", traffic.events_ignored),
        ("sockeye_mail_dropped_total", "Volatile messages that were dropped.", traffic.mail_dropped),
        (
            "sockeye_mail_dropped_oldest_total",
            "Messages that were dropped for later ones, by the policy drop oldest.",
            traffic.mail_dropped_oldest,
        ),
        (
            "sockeye_mail_coalesced_total",
            "Messages that a later one of their key replaced.",
            traffic.mail_coalesced,
        ),
    ] {
        page.family(name, "counter", help);
        page.line(name, &[], count);
    }
    page.0
}

/// A number of a namespace on the backplane.
type Value = fn(&BackplaneStats) -> u64;

#[derive(Default)]
struct Page(String);

impl Page {
    fn recovery(&mut self, recovery: &RecoveryStats) {
        for (name, help, value) in [
            ("sockeye_recovery_sessions_away", "Sessions that wait for their clients.", recovery.away),
            (
                "sockeye_recovery_packets",
                "Events that are kept for clients that come back.",
                recovery.packets,
            ),
            ("sockeye_recovery_packet_bytes", "Bytes of these.", recovery.packet_bytes),
        ] {
            self.family(name, "gauge", help);
            self.line(name, &[], value);
        }
        let name = "sockeye_recoveries_total";
        self.family(
            name,
            "counter",
            "Clients that came back, and sessions that ended, by what became of them.",
        );
        for (outcome, count) in [
            ("restored", recovery.restored),
            ("expired", recovery.expired),
            ("evicted", recovery.evicted),
            ("unknown", recovery.unknown),
            ("strange", recovery.strange),
            ("incomplete", recovery.incomplete),
        ] {
            self.line(name, &[("outcome", outcome)], count);
        }
        let name = "sockeye_recovery_packets_cut_total";
        self.family(name, "counter", "Events that were dropped before they were old.");
        self.line(name, &[], recovery.cut);
    }

    fn backplanes(&mut self, backplanes: &[(String, BackplaneStats)]) {
        if backplanes.is_empty() {
            return;
        }
        let name = "sockeye_backplane_messages_total";
        self.family(name, "counter", "Messages on the backplane, by what became of them.");
        for (namespace, stats) in backplanes {
            for (outcome, count) in [
                ("published", stats.published),
                ("unpublished", stats.unpublished),
                ("refused", stats.refused),
                ("received", stats.received),
                ("malformed", stats.malformed),
            ] {
                self.line(name, &[("namespace", namespace), ("outcome", outcome)], count);
            }
        }
        let disconnects: Value = |stats| stats.disconnects;
        let waiting: Value = |stats| stats.waiting_bytes as u64;
        let rows = [
            ("sockeye_backplane_disconnects_total", "counter", "Lost connections to it.", disconnects),
            ("sockeye_backplane_gaps_total", "counter", "How often what others said was lost.", |stats| {
                stats.gaps
            }),
            ("sockeye_backplane_partial_total", "counter", "Requests with answers missing.", |stats| {
                stats.partial
            }),
            ("sockeye_backplane_waiting_bytes", "gauge", "Bytes that wait to be published.", waiting),
            ("sockeye_backplane_peers", "gauge", "Other servers that are known.", |stats| stats.peers as u64),
        ];
        for (name, kind, help, value) in rows {
            self.family(name, kind, help);
            for (namespace, stats) in backplanes {
                self.line(name, &[("namespace", namespace)], value(stats));
            }
        }
    }

    fn mesh(&mut self, mesh: &MeshStats) {
        self.family("sockeye_mesh_members", "gauge", "Other servers of the machine's mesh.");
        self.line("sockeye_mesh_members", &[], mesh.members);
        let name = "sockeye_mesh_messages_total";
        self.family(name, "counter", "Messages on the mesh, by what became of them.");
        for (outcome, count) in [
            ("sent", mesh.sent),
            ("received", mesh.received),
            ("spared", mesh.spared),
            ("untaken", mesh.untaken),
            ("missed", mesh.missed),
            ("malformed", mesh.malformed),
            ("unsendable", mesh.unsendable),
        ] {
            self.line(name, &[("outcome", outcome)], count);
        }
        for (name, help, count) in [
            ("sockeye_mesh_cut_off_total", "Servers that were cut off for being too slow.", mesh.cut_off),
            ("sockeye_mesh_partial_total", "Requests that ended with answers missing.", mesh.partial),
        ] {
            self.family(name, "counter", help);
            self.line(name, &[], count);
        }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.0 += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let text = text.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n");
            self.0 += &format!("{label}=\"{text}\"");
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        self.0 += &format!(" {value}\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::Limit;

    #[test]
    fn numbers_become_lines() {
        let stats = Stats {
            sessions: 3,
            sockets: vec![("/".to_owned(), 2), ("/a\"b\\c\n".to_owned(), 1)],
            limits: vec![(Limit::HeadTimeout, 7)],
            backplanes: vec![("/".to_owned(), BackplaneStats { gaps: 5, ..BackplaneStats::default() })],
            mesh: Some(MeshStats { untaken: 4, ..MeshStats::default() }),
            ..Stats::default()
        };
        let text = text(&stats);
        for line in [
            "# HELP sockeye_sessions Sessions that live.\n# TYPE sockeye_sessions gauge\nsockeye_sessions 3\n",
            "\nsockeye_sockets{namespace=\"/\"} 2\n",
            "\nsockeye_sockets{namespace=\"/a\\\"b\\\\c\\n\"} 1\n",
            "\nsockeye_limits_total{limit=\"head_timeout\"} 7\n",
            "\nsockeye_backplane_messages_total{namespace=\"/\",outcome=\"malformed\"} 0\n",
            "\nsockeye_backplane_gaps_total{namespace=\"/\"} 5\n",
            "\nsockeye_mesh_messages_total{outcome=\"untaken\"} 4\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
    }
}
