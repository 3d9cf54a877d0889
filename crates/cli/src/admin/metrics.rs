//! The view in the text format of Prometheus (0.0.4). The names are a promise; `docs/edge.md` lists them.

use std::fmt::{Display, Write};

use crate::admin::view::View;

/// The text of `GET /metrics`.
pub(crate) fn text(view: &View) -> String {
    let mut out = Text::default();
    let totals = &view.totals;
    out.plain("uptime_seconds", "gauge", "seconds since the start", view.uptime_seconds);
    for (name, kind, help, value) in [
        ("sessions", "gauge", "sessions at all servers", totals.sessions),
        ("connections", "gauge", "connections and tunnels open at the edge itself", totals.connections),
        ("connections_total", "counter", "connections accepted", totals.accepted),
        (
            "connections_shed_total",
            "counter",
            "connections closed at once because too many were open",
            totals.shed,
        ),
        ("handed_over_total", "counter", "connections handed over to workers", totals.handed_over),
        ("returned_total", "counter", "connections that came back from dead workers", totals.returned),
        (
            "bad_heads_total",
            "counter",
            "first heads that were too large, too slow or malformed",
            totals.bad_heads,
        ),
        ("unknown_sids_total", "counter", "requests whose session nobody has", totals.unknown_sids),
        (
            "unavailable_total",
            "counter",
            "requests that no server took in time: answered by 503",
            totals.unavailable,
        ),
        (
            "held_off_total",
            "counter",
            "new sessions that were not let in because too many came at once: answered by 503",
            totals.held_off,
        ),
        ("relayed_total", "counter", "requests relayed, upgrades among them", totals.requests),
        ("relay_refused_total", "counter", "requests that a server did not take", totals.refused),
        ("relay_broken_total", "counter", "requests that broke off before their answer", totals.broken),
        ("tunnels", "gauge", "WebSockets carried through the edge", totals.tunnels),
        ("upstream_idle", "gauge", "kept-alive connections to servers", totals.idle_upstream_connections),
    ] {
        out.plain(name, kind, help, value);
    }
    out.listeners(view);
    out.groups(view);
    out.group_totals(view);
    out.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn plain(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    fn listeners(&mut self, view: &View) {
        for (name, kind, help, value) in [
            (
                "listener_connections_total",
                "counter",
                "connections accepted",
                (|one| one.accepted) as fn(&super::view::Listener) -> u64,
            ),
            ("listener_connections", "gauge", "connections open", |one| one.open),
            ("listener_tls_failures_total", "counter", "connections whose TLS handshake failed", |one| {
                one.tls_failures
            }),
            (
                "listener_proxy_refused_total",
                "counter",
                "connections refused for their PROXY header",
                |one| one.proxy_refused,
            ),
            ("listener_requests_total", "counter", "requests answered, upgrades among them", |one| {
                one.requests
            }),
            (
                "listener_upgrades_asked_total",
                "counter",
                "upgrades to a WebSocket that were asked for",
                |one| one.upgrades_asked,
            ),
            ("listener_upgrades_taken_total", "counter", "upgrades that a server took", |one| {
                one.upgrades_taken
            }),
            ("listener_polling_sessions_total", "counter", "sessions that began by polling", |one| {
                one.polling_sessions
            }),
            (
                "listener_upgraded_sessions_total",
                "counter",
                "sessions that went on by a WebSocket: where they stay far behind, something loses Upgrade",
                |one| one.upgraded_sessions,
            ),
            (
                "listener_few_upgrades",
                "gauge",
                "1 where few of the last 200 sessions that asked for a WebSocket got it: alert on it",
                |one| u64::from(one.few_upgrades),
            ),
            (
                "listener_upgrades_failed_total",
                "counter",
                "upgrades that failed: where they grow, something strips Upgrade",
                |one| one.upgrades_asked.saturating_sub(one.upgrades_taken),
            ),
        ] {
            self.head(name, kind, help);
            for listener in &view.listeners {
                self.line(name, &[("listener", &listener.name)], value(listener));
            }
        }
    }

    fn groups(&mut self, view: &View) {
        self.head(
            "group_sessions_per_server",
            "gauge",
            "sessions a server that takes new ones: a signal to scale by",
        );
        for group in &view.groups {
            self.line("group_sessions_per_server", &[("group", &group.name)], group.sessions_per_server);
        }
        self.head("server_sessions", "gauge", "sessions at a server");
        for (group, server) in servers(view) {
            self.line("server_sessions", &[("group", group), ("server", &server.name)], server.sessions);
        }
        self.head(
            "server_sessions_to_move",
            "gauge",
            "sessions that a server has still to let go, by a drain or to level the load",
        );
        for (group, server) in servers(view) {
            self.line(
                "server_sessions_to_move",
                &[("group", group), ("server", &server.name)],
                server.to_move,
            );
        }
        self.head("server_on_the_way", "gauge", "sessions assigned to a server that have not reached it");
        for (group, server) in servers(view) {
            self.line("server_on_the_way", &[("group", group), ("server", &server.name)], server.on_the_way);
        }
        self.head("server_state", "gauge", "1 for the state that a server is in");
        for (group, server) in servers(view) {
            for state in ["up", "drain", "leaving", "maintenance", "down"] {
                let labels = [("group", group), ("server", server.name.as_str()), ("state", state)];
                self.line("server_state", &labels, u8::from(server.state == state));
            }
        }
    }

    fn group_totals(&mut self, view: &View) {
        type Of = fn(&super::view::Group) -> u64;
        for (name, kind, help, value) in [
            (
                "group_moved_total",
                "counter",
                "sessions that were let go, by a drain or to level the load",
                (|one| one.moved) as Of,
            ),
            (
                "group_silent_total",
                "counter",
                "tunnels ended because they were silent for longer than the heartbeat allows",
                |one| one.silent,
            ),
            (
                "group_learnt_sids",
                "gauge",
                "sessions whose server is remembered because their sids do not tell",
                |one| one.learnt_sids,
            ),
        ] {
            self.head(name, kind, help);
            for group in &view.groups {
                self.line(name, &[("group", &group.name)], value(group));
            }
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP sockeye_edge_{name} {help}\n# TYPE sockeye_edge_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "sockeye_edge_{name}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if index == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

fn servers(view: &View) -> impl Iterator<Item = (&str, &super::view::Server)> {
    view.groups.iter().flat_map(|group| group.servers.iter().map(move |server| (group.name.as_str(), server)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::{Group, Listener, Server, Totals};

    #[test]
    fn every_number_has_its_line_and_labels_are_escaped() {
        let totals = Totals {
            sessions: 3,
            connections: 1,
            accepted: 9,
            shed: 0,
            handed_over: 2,
            returned: 0,
            bad_heads: 0,
            unknown_sids: 4,
            unavailable: 0,
            held_off: 0,
            requests: 7,
            refused: 0,
            broken: 0,
            tunnels: 1,
            idle_upstream_connections: 0,
        };
        let listener = Listener {
            name: "ma\"in".into(),
            at: "a".into(),
            accepted: 9,
            open: 1,
            tls_failures: 0,
            proxy_refused: 0,
            requests: 7,
            upgrades_asked: 5,
            upgrades_taken: 2,
            polling_sessions: 4,
            upgraded_sessions: 1,
            few_upgrades: true,
        };
        let group = Group {
            name: "chat".into(),
            sessions: 3,
            sessions_per_server: 1.5,
            moved: 0,
            silent: 0,
            learnt_sids: 0,
            silence_max_seconds: 45,
            servers: vec![draining()],
        };
        let view = View {
            version: "0",
            file: "f".into(),
            uptime_seconds: 60,
            totals,
            listeners: vec![listener],
            groups: vec![group],
        };
        let text = text(&view);
        for line in [
            "sockeye_edge_unknown_sids_total 4",
            "sockeye_edge_listener_few_upgrades{listener=\"ma\\\"in\"} 1",
            "sockeye_edge_listener_upgrades_failed_total{listener=\"ma\\\"in\"} 3",
            "sockeye_edge_group_sessions_per_server{group=\"chat\"} 1.5",
            "sockeye_edge_server_sessions_to_move{group=\"chat\",server=\"app01\"} 2",
            "sockeye_edge_server_state{group=\"chat\",server=\"app01\",state=\"drain\"} 1",
            "# TYPE sockeye_edge_sessions gauge",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} in\n{text}");
        }
    }

    fn draining() -> Server {
        Server {
            name: "app01".into(),
            at: "b".into(),
            state: "drain",
            weight: 1,
            sessions: 3,
            elsewhere: 0,
            on_the_way: 1,
            tunnels: 0,
            drain_began_with: Some(4),
            to_move: 2,
        }
    }
}
