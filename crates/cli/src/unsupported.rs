//! What can be written in a file and is not served yet: refused aloud, so that nothing is silently left out.
//!
//! Each line goes with the change that serves it.

use anyhow::bail;
use sockeye_edge::config::{Config, Does, Endpoint, Group, Listener, Members, Serves};
use sockeye_settings::Settled;

/// Gives the settings back, if all of them are served.
pub(crate) fn refuse(settled: Settled) -> anyhow::Result<Settled> {
    let mut missing = edge(&settled.edge);
    if settled.apps.len() > 1 {
        missing.push("several apps".to_owned());
    }
    missing.extend(
        settled
            .apps
            .iter()
            .filter(|app| app.bundled.is_none())
            .map(|app| format!("app.{}.command", app.name)),
    );
    if settled.cluster.adapter.is_some() || settled.cluster.node_link.is_some() {
        missing.push("cluster".to_owned());
    }
    if missing.is_empty() {
        return Ok(settled);
    }
    bail!("not supported yet: {}", missing.join(", "))
}

fn edge(config: &Config) -> Vec<String> {
    let plain = Config::default();
    let mut missing = Vec::new();
    if config.listeners.len() != 1 {
        missing.push("several listeners".to_owned());
    }
    missing.extend(
        config
            .listeners
            .iter()
            .filter(|one| !is_plain_listener(one))
            .map(|one| format!("listener {}", one.name)),
    );
    let one_site = |group: &Group| config.sites == [sockeye_edge::config::Site::everything(&group.name)];
    match &config.groups[..] {
        [group] if matches!(group.members, Members::Workers { .. }) && one_site(group) => {}
        _ => {
            missing.extend(
                config
                    .groups
                    .iter()
                    .filter(|group| !matches!(group.members, Members::Workers { .. }))
                    .map(|group| format!("upstream.{}", group.name)),
            );
            missing.extend(
                config
                    .sites
                    .iter()
                    .filter(|site| !matches!(site.does, Does::Relay { .. }))
                    .map(|_| "site".to_owned()),
            );
        }
    }
    if config.trust != plain.trust {
        missing.push("trust".to_owned());
    }
    if config.access_log.is_some() {
        missing.push("access_log".to_owned());
    }
    if config.limits.sessions_per_second != 0 {
        missing.push("limits.sessions_per_second".to_owned());
    }
    missing
}

fn is_plain_listener(listener: &Listener) -> bool {
    let plain = Listener::default();
    matches!(listener.at, Endpoint::Tcp(_))
        && matches!(&listener.serves, Serves::Http(http) if *http == sockeye_edge::config::Http::default())
        && listener.tls == plain.tls
        && listener.proxy_from == plain.proxy_from
}
