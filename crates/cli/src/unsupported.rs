//! What can be written in a file and is not served yet: refused aloud, so that nothing is silently left out.
//!
//! Each line goes with the change that serves it.

use anyhow::bail;
use sockeye_edge::config::{Config, Listener, Members, Serves};
use sockeye_settings::Settled;

/// Gives the settings back, if all of them are served.
pub(crate) fn refuse(settled: Settled) -> anyhow::Result<Settled> {
    let mut missing = edge(&settled.edge);
    if settled.apps.len() > 1 {
        missing.push("several apps".to_owned());
    }
    let own = settled.apps.iter().filter(|app| app.bundled.is_none());
    missing.extend(own.map(|app| format!("app.{}.command", app.name)));
    if missing.is_empty() {
        return Ok(settled);
    }
    bail!("not supported yet: {}", missing.join(", "))
}

fn edge(config: &Config) -> Vec<String> {
    let mut missing = Vec::new();
    for listener in &config.listeners {
        missing.extend(listener_lacks(listener).map(|what| format!("{what} of listener {}", listener.name)));
    }
    for group in &config.groups {
        if matches!(group.members, Members::Directory { .. }) {
            missing.push(format!("upstream.{}.directory", group.name));
        }
        if group.send_proxy.is_some() {
            missing.push(format!("upstream.{}.send_proxy", group.name));
        }
    }
    if config.access_log.is_some() {
        missing.push("access_log".to_owned());
    }
    missing
}

fn listener_lacks(listener: &Listener) -> impl Iterator<Item = &'static str> {
    let (http2, websocket) = match &listener.serves {
        Serves::Http(http) => (http.http2, http.websocket_over_http2),
        Serves::Tcp { .. } => (false, false),
    };
    [
        (matches!(listener.serves, Serves::Tcp { .. }), "mode = \"tcp\""),
        (http2, "http2"),
        (websocket, "websocket_over_http2"),
    ]
    .into_iter()
    .filter_map(|(lacks, what)| lacks.then_some(what))
}
