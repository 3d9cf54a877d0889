//! What is wrong with a group, found before anything is done with it.

use std::time::Duration;

use super::group::{Affinity, Check, Cookie, Group, Members, SameSite};

/// What is wrong with a group. Each message says the field, the value and the fix.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupFault {
    /// Healthy tunnels would be ended.
    #[error(
        "timeouts.tunnel is {tunnel:?}, and a healthy client may be silent for {heartbeat:?} (pingInterval + pingTimeout): set more than that, or nothing"
    )]
    Tunnel {
        /// What was set.
        tunnel: Duration,
        /// What it has to exceed.
        heartbeat: Duration,
    },
    /// Polls that hang in good health would be given up.
    #[error(
        "relay.answer_time_max is {answer:?}, and a poll may wait for {heartbeat:?} (pingInterval + pingTimeout): set more than that"
    )]
    Answer {
        /// What was set.
        answer: Duration,
        /// What it has to exceed.
        heartbeat: Duration,
    },
    /// Servers would be asked without a pause.
    #[error("health.interval is {0:?}: set at least {INTERVAL_MIN:?}, or health.check to off")]
    Interval(Duration),
    /// The path of the engine is none.
    #[error("engine_path is {0:?}: expected a path that begins and ends with a slash, such as /socket.io/")]
    EnginePath(String),
    /// The cookie's name is none.
    #[error("the cookie's name is {0:?}: expected letters, digits and - _ . alone")]
    CookieName(String),
    /// Browsers would not keep the cookie.
    #[error(
        "the cookie {0:?} has {1} without secure: browsers drop it. Set secure = true, or leave it to TLS"
    )]
    CookieInsecure(String, &'static str),
    /// The name cannot stand in a cookie.
    #[error("the server {0:?} has a name that no cookie can hold: use letters, digits and - _ . :")]
    ServerName(String),
    /// Two servers have one name.
    #[error("two servers are named {0:?}: give one of them another name")]
    ServerTwice(String),
    /// The header's name is none.
    #[error("affinity by the header {0:?}: expected a header's name")]
    Header(String),
}

impl Group {
    /// Looks for what cannot be right.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn check(&self) -> Result<(), GroupFault> {
        let heartbeat = self.timeouts.heartbeat.unwrap_or(HEARTBEAT);
        if let Some(tunnel) = self.timeouts.tunnel.filter(|tunnel| *tunnel <= heartbeat) {
            return Err(GroupFault::Tunnel { tunnel, heartbeat });
        }
        if self.health.check != Check::Off && self.health.interval < INTERVAL_MIN {
            return Err(GroupFault::Interval(self.health.interval));
        }
        let path = &self.engine_path;
        if !(path.is_empty() || path.starts_with('/') && path.ends_with('/')) {
            return Err(GroupFault::EnginePath(self.engine_path.clone()));
        }
        for rule in &self.affinity {
            match rule {
                Affinity::Cookie(cookie) => cookie.check()?,
                Affinity::Header(name) if !is_token(name) => return Err(GroupFault::Header(name.clone())),
                Affinity::Sid | Affinity::Address { .. } | Affinity::ForwardedFor | Affinity::Header(_) => {}
            }
        }
        self.check_names()
    }

    /// Looks for what does not fit how long an answer may take.
    ///
    /// # Errors
    ///
    /// The first fault.
    pub fn check_relay(&self, relay: &sockeye_relay::Config) -> Result<(), GroupFault> {
        let heartbeat = self.timeouts.heartbeat.unwrap_or(HEARTBEAT);
        let answer = relay.answer_time_max;
        if answer <= heartbeat { Err(GroupFault::Answer { answer, heartbeat }) } else { Ok(()) }
    }

    fn check_names(&self) -> Result<(), GroupFault> {
        let Members::Static(servers) = &self.members else { return Ok(()) };
        let mut names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
        if let Some(name) = names.iter().find(|name| !crate::cookie::can_name(name)) {
            return Err(GroupFault::ServerName((*name).to_owned()));
        }
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(GroupFault::ServerTwice(pair[0].to_owned())),
            None => Ok(()),
        }
    }
}

impl Cookie {
    fn check(&self) -> Result<(), GroupFault> {
        if !is_token(&self.name) {
            return Err(GroupFault::CookieName(self.name.clone()));
        }
        if self.secure != Some(false) {
            return Ok(());
        }
        let because = match (self.same_site, self.partitioned) {
            (Some(SameSite::None), _) => "same_site = none",
            (_, Some(true)) => "partitioned",
            (None | Some(SameSite::Strict | SameSite::Lax), None | Some(false)) => return Ok(()),
        };
        Err(GroupFault::CookieInsecure(self.name.clone(), because))
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The official server's pingInterval + pingTimeout.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(45);
/// The shortest pause between two questions to a server.
const INTERVAL_MIN: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parse_servers;

    #[test]
    fn what_cannot_be_right_is_told() {
        let seconds = Duration::from_secs;
        check(|_| {}, None);
        check(|group| group.timeouts.tunnel = Some(seconds(46)), None);
        let tunnel = GroupFault::Tunnel { tunnel: seconds(45), heartbeat: seconds(45) };
        check(|group| group.timeouts.tunnel = Some(seconds(45)), Some(tunnel));
        let slow = GroupFault::Tunnel { tunnel: seconds(60), heartbeat: seconds(90) };
        check(
            |group| {
                (group.timeouts.tunnel, group.timeouts.heartbeat) = (Some(seconds(60)), Some(seconds(90)))
            },
            Some(slow),
        );
        check(|group| group.health.interval = Duration::ZERO, Some(GroupFault::Interval(Duration::ZERO)));
        check(|group| group.engine_path.clear(), None);
        for path in ["socket.io/", "/socket.io", "x"] {
            check(
                |group| path.clone_into(&mut group.engine_path),
                Some(GroupFault::EnginePath(path.to_owned())),
            );
        }
        let cookie = Cookie { secure: Some(false), ..Cookie::default() };
        let none = Cookie { same_site: Some(SameSite::None), ..cookie.clone() };
        check_cookie(cookie.clone(), None);
        check_cookie(Cookie { secure: None, ..none.clone() }, None);
        check_cookie(none, Some(GroupFault::CookieInsecure("SERVERID".to_owned(), "same_site = none")));
        check_cookie(
            Cookie { partitioned: Some(true), ..cookie.clone() },
            Some(GroupFault::CookieInsecure("SERVERID".to_owned(), "partitioned")),
        );
        check_cookie(
            Cookie { name: "a b".to_owned(), ..cookie },
            Some(GroupFault::CookieName("a b".to_owned())),
        );
        check(
            |group| group.affinity = vec![Affinity::Header("x:y".to_owned())],
            Some(GroupFault::Header("x:y".to_owned())),
        );
        let servers = |text: &str| Members::Static(parse_servers(text).unwrap());
        check(
            |group| group.members = servers("10.0.0.1:1 route=a\n10.0.0.2:1 route=a"),
            Some(GroupFault::ServerTwice("a".to_owned())),
        );
    }

    #[test]
    fn a_poll_may_wait_as_long_as_its_heartbeat() {
        let group = Group::new("a", Members::Static(Vec::new()));
        let relay = |seconds| sockeye_relay::Config {
            answer_time_max: Duration::from_secs(seconds),
            ..sockeye_relay::Config::default()
        };
        assert_eq!(group.check_relay(&relay(46)), Ok(()));
        let told = group.check_relay(&relay(30)).unwrap_err().to_string();
        assert_eq!(
            told,
            "relay.answer_time_max is 30s, and a poll may wait for 45s (pingInterval + pingTimeout): set more than that"
        );
    }

    fn check_cookie(cookie: Cookie, expected: Option<GroupFault>) {
        check(|group| group.affinity = vec![Affinity::Sid, Affinity::Cookie(cookie)], expected);
    }

    fn check(change: impl FnOnce(&mut Group), expected: Option<GroupFault>) {
        let mut group = Group::new("app", Members::Static(parse_servers("10.0.0.1:1").unwrap()));
        change(&mut group);
        assert_eq!(group.check().err(), expected);
    }
}
