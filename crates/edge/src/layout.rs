//! What the edge was told last, settled: every name stands for what it names.

use std::collections::BTreeMap;
use std::sync::Arc;

use sockeye_files::Files;
use sockeye_relay::Relay;

use crate::access_log::Log;
use crate::config::{self, Config, ConfigError, Does, Endpoint, Listener, Members, Redirect, Serves, Site};
use crate::group::Group;
use crate::stats::Counter;
use crate::workers::Workers;

impl Config {
    /// Looks for what is wrong in itself, as whoever takes it on would, and opens nothing.
    ///
    /// # Errors
    ///
    /// The first that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        look_over(self, &[])
    }
}

/// One settled configuration. Requests take the one that is there when they begin.
pub(crate) struct Layout {
    pub(crate) config: Config,
    pub(crate) groups: BTreeMap<String, Arc<Group>>,
    pub(crate) log: Option<Arc<Log>>,
    sites: Vec<(Site, Answers)>,
    /// Whether any of them asks for the host.
    pub(crate) tells_hosts_apart: bool,
}

/// What answers a request.
pub(crate) enum Answers {
    Relay(Arc<Group>),
    Files(Files, Option<Arc<Group>>),
    Redirect(Redirect),
    Health { ready: bool },
}

/// What a request asks for, as far as sites tell them apart.
pub(crate) struct Asked<'a> {
    /// The name of the listener it came in at.
    pub(crate) listener: &'a str,
    /// The host, with or without a port.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// Whether it wants a WebSocket.
    pub(crate) upgrade: bool,
}

impl Layout {
    /// Settles a configuration; groups that stay keep those who serve. `others` are the names of listeners that were opened beside it.
    pub(crate) fn settle(
        config: Config,
        before: Option<&Self>,
        workers: &Workers,
        relay: &Relay,
        others: &[String],
        log_dropped: &Arc<Counter>,
    ) -> Result<Self, ConfigError> {
        look_over(&config, others)?;
        let log = config.access_log.as_ref().map(|log| Log::open(log, log_dropped)).transpose()?;
        Ok(Self::of(config, before, log, workers, relay))
    }

    /// The same with other groups and sites: what was opened for it stays.
    pub(crate) fn regroup(
        &self,
        groups: Vec<config::Group>,
        sites: Vec<Site>,
        workers: &Workers,
        relay: &Relay,
        others: &[String],
    ) -> Result<Self, ConfigError> {
        let config = Config { groups, sites, ..self.config.clone() };
        look_over(&config, others)?;
        Ok(Self::of(config, Some(self), self.log.clone(), workers, relay))
    }

    fn of(
        config: Config,
        before: Option<&Self>,
        log: Option<Arc<Log>>,
        workers: &Workers,
        relay: &Relay,
    ) -> Self {
        let groups: BTreeMap<String, Arc<Group>> = config
            .groups
            .iter()
            .map(|group| {
                let old = before.and_then(|before| before.groups.get(&group.name));
                let settled = Group::settle(group.clone(), old.map(AsRef::as_ref), workers, relay);
                (group.name.clone(), Arc::new(settled))
            })
            .collect();
        let named = |name: &String| Arc::clone(&groups[name]);
        let sites = config.sites.iter().map(|site| {
            let answers = match &site.does {
                Does::Relay { group } => Answers::Relay(named(group)),
                Does::Files { root, group } => {
                    Answers::Files(Files::new(root.clone()), group.as_ref().map(named))
                }
                Does::Redirect(redirect) => Answers::Redirect(redirect.clone()),
                Does::Health { ready } => Answers::Health { ready: *ready },
            };
            (site.clone(), answers)
        });
        let sites: Vec<_> = sites.collect();
        let tells_hosts_apart = config.sites.iter().any(|site| !site.hosts.is_empty());
        Self { config, groups, log, sites, tells_hosts_apart }
    }

    /// Whether one more listener names what is there.
    pub(crate) fn check(&self, listener: &Listener) -> Result<(), ConfigError> {
        check(&self.config, listener)
    }

    /// What answers a request: the first site that matches.
    pub(crate) fn find(&self, asked: &Asked<'_>) -> Option<&Answers> {
        self.sites.iter().find(|(site, _)| matches(site, asked)).map(|(_, answers)| answers)
    }
}

/// Looks for what cannot be. `others` are the names of listeners beside the configuration.
pub(crate) fn look_over(config: &Config, others: &[String]) -> Result<(), ConfigError> {
    let mut names: Vec<&str> = config.groups.iter().map(|group| group.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(ConfigError::NameTwice { kind: "group", name: pair[0].to_owned() });
    }
    for group in &config.groups {
        let wrong = |fault| ConfigError::Group { group: group.name.clone(), fault };
        group.check().and_then(|()| group.check_relay(&config.relay)).map_err(wrong)?;
    }
    for listener in &config.listeners {
        check(config, listener)?;
    }
    for site in &config.sites {
        let by = || format!("the site for {}", site.path);
        if let Does::Relay { group } | Does::Files { group: Some(group), .. } = &site.does {
            is_there(config, group, by)?;
        }
        for name in &site.listeners {
            let known = config.listeners.iter().any(|listener| listener.name == *name);
            if !known && !others.contains(name) {
                return Err(ConfigError::NoListener { path: site.path.clone(), listener: name.clone() });
            }
        }
    }
    Ok(())
}

fn check(config: &Config, listener: &Listener) -> Result<(), ConfigError> {
    match &listener.serves {
        Serves::Tcp { group, send_proxy } => {
            is_there(config, group, || format!("the listener {:?}", listener.name))?;
            let is_local = |there: &config::Group| matches!(there.members, Members::Workers { .. });
            let local = config.groups.iter().any(|there| there.name == *group && is_local(there));
            let whole = listener.tls.is_none() && send_proxy.is_none();
            if local && !(whole && matches!(listener.at, Endpoint::Tcp(_))) {
                return Err(ConfigError::TcpToWorkers(listener.name.clone()));
            }
            Ok(())
        }
        Serves::Http(_) => Ok(()),
    }
}

fn is_there(config: &Config, group: &str, by: impl Fn() -> String) -> Result<(), ConfigError> {
    if config.groups.iter().any(|there| there.name == group) {
        return Ok(());
    }
    let there: Vec<&str> = config.groups.iter().map(|there| there.name.as_str()).collect();
    let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Err(ConfigError::NoGroup { by: by(), group: group.to_owned(), there })
}

fn matches(site: &Site, asked: &Asked<'_>) -> bool {
    (site.listeners.is_empty() || site.listeners.iter().any(|name| name == asked.listener))
        && site.upgrade.is_none_or(|upgrade| upgrade == asked.upgrade)
        && is_below(asked.path, &site.path)
        && (site.hosts.is_empty() || site.hosts.iter().any(|host| is_host(without_port(asked.host), host)))
}

/// Whether a path is a prefix itself, or lies below it: `/app` is `/app` and `/app/x`, but not `/apple`.
fn is_below(path: &str, prefix: &str) -> bool {
    let Some(rest) = path.strip_prefix(prefix) else { return false };
    rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
}

/// Whether a host is the one that a pattern names: `*.example.com` is any name below `example.com`.
pub(crate) fn is_host(host: &str, pattern: &str) -> bool {
    let Some(parent) = pattern.strip_prefix('*') else { return host.eq_ignore_ascii_case(pattern) };
    let Some((labels, end)) = host.len().checked_sub(parent.len()).and_then(|at| host.split_at_checked(at))
    else {
        return false;
    };
    // Only what a name may hold: clients are sent to hosts that match.
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !labels.is_empty()
        && labels.bytes().all(is_name)
        && parent.starts_with('.')
        && end.eq_ignore_ascii_case(parent)
}

/// A host without its port, and without the dot that ends a fully qualified name.
pub(crate) fn without_port(host: &str) -> &str {
    let name = if host.starts_with('[') {
        host.find(']').map_or(host, |end| &host[..=end])
    } else {
        host.split_once(':').map_or(host, |(name, _)| name)
    };
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_match_as_the_rows_say() {
        let rule = |listeners: &[&str], hosts: &[&str], path: &str, upgrade| Site {
            listeners: listeners.iter().map(|&name| name.to_owned()).collect(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            upgrade,
            path: path.to_owned(),
            ..Site::everything("all")
        };
        let check = |site: &Site, host: &str, path: &str, upgrade: bool, expected: bool| {
            let asked = Asked { listener: "main", host, path, upgrade };
            assert_eq!(matches(site, &asked), expected, "{host}{path} {upgrade} at {site:?}");
        };
        let all = rule(&[], &[], "/", None);
        check(&all, "", "/", false, true);
        check(&all, "a.b:80", "/x/y", true, true);
        check(&all, "a", "*", false, false);
        check(&rule(&["main"], &[], "/", None), "a", "/", false, true);
        check(&rule(&["other"], &[], "/", None), "a", "/", false, false);
        let app = rule(&[], &[], "/app", None);
        for (path, expected) in
            [("/app", true), ("/app/", true), ("/app/x", true), ("/apple", false), ("/", false)]
        {
            check(&app, "a", path, false, expected);
        }
        check(&rule(&[], &[], "/app/", None), "a", "/app/x", false, true);
        check(&rule(&[], &[], "/app/", None), "a", "/app", false, false);
        let socket = rule(&[], &[], "/", Some(true));
        check(&socket, "a", "/", true, true);
        check(&socket, "a", "/", false, false);
        check(&rule(&[], &[], "/", Some(false)), "a", "/", true, false);
        let named = rule(&[], &["io.example.com", "*.chat.example.com", "[::1]"], "/", None);
        for (host, expected) in [
            ("io.example.com", true),
            ("IO.Example.COM:3000", true),
            ("io.example.com.", true),
            ("xio.example.com", false),
            ("example.com", false),
            ("a.chat.example.com", true),
            ("a.b.chat.example.com:1", true),
            ("chat.example.com", false),
            (".chat.example.com", false),
            ("achat.example.com", false),
            ("[::1]:80", true),
            ("", false),
            ("é.chat.example.com", false),
            ("evil.example/.chat.example.com", false),
        ] {
            check(&named, host, "/", false, expected);
        }
    }
}
