//! What is asked about one server: it registers, says goodbye, or an operator says what it is to do.
//!
//! `PUT /upstreams/GROUP/NAME`, `DELETE` of the same, `POST /upstreams/GROUP/NAME/drain`, `…/up` and `…/maintenance`.

use std::num::NonZero;
use std::time::Duration;

use serde::Deserialize;
use sockeye_edge::config::{Endpoint, Server, ServerState};
use sockeye_edge::{Control, MemberError};
use sockeye_settings as settings;

/// What a server says of itself when it registers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    address: String,
    weight: Option<NonZero<u16>>,
    max_sessions: Option<NonZero<u32>>,
    state: Option<String>,
    /// Such as `30s`; without one the group's.
    lease: Option<String>,
}

/// Why it cannot be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// What was asked makes no sense; what was expected.
    Bad(String),
    /// The edge says no.
    Refused(String),
    /// There is no such thing.
    Unknown,
}

/// Does what is asked; says what was done.
pub(super) fn answer(control: &Control, method: &str, path: &str, body: &[u8]) -> Result<String, Trouble> {
    let (group, name, order) = parse_path(path).ok_or(Trouble::Unknown)?;
    let told = |error: MemberError| Trouble::Refused(error.to_string());
    match (method, order) {
        ("PUT", None) => {
            let (server, lease) = registration(name, body).map_err(Trouble::Bad)?;
            control.register(group, server, lease).map_err(told)?;
            Ok(format!("{name} is in {group}"))
        }
        ("DELETE", None) => {
            control.withdraw(group, name).map_err(told)?;
            Ok(format!("{name} leaves {group}"))
        }
        ("POST", Some(order)) => {
            let state = state(order).ok_or(Trouble::Unknown)?;
            control.set_state(group, name, state).map_err(told)?;
            Ok(format!("{name} of {group}: {order}"))
        }
        _ => Err(Trouble::Unknown),
    }
}

/// The group, the server, and what it is to do.
fn parse_path(path: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut parts = path.strip_prefix("/upstreams/")?.split('/');
    let (group, name, order) = (parts.next()?, parts.next()?, parts.next());
    (parts.next().is_none() && !group.is_empty() && !name.is_empty()).then_some((group, name, order))
}

fn registration(name: &str, body: &[u8]) -> Result<(Server, Option<Duration>), String> {
    let said: Registration = serde_json::from_slice(body).map_err(|error| format!("{error}"))?;
    let at: Endpoint = settings::server_endpoint(&said.address).ok_or_else(|| {
        format!(
            "address {:?}: expected an IP address with a port, such as 10.0.0.5:3000, or unix:/PATH",
            said.address
        )
    })?;
    let lease = said.lease.as_deref().map(|text| {
        settings::span(text)
            .filter(|lease| (LEASE_MIN..=LEASE_MAX).contains(lease))
            .ok_or_else(|| format!("lease {text:?}: expected a time from 1s to 1d, such as 30s"))
    });
    let state = said
        .state
        .as_deref()
        .map(|word| state(word).ok_or_else(|| format!("state {word:?}: expected up, drain or maintenance")));
    let server = Server {
        name: name.to_owned(),
        at,
        weight: said.weight.unwrap_or(NonZero::<u16>::MIN),
        sessions_max: said.max_sessions,
        tag: None,
        state: state.transpose()?.unwrap_or_default(),
    };
    Ok((server, lease.transpose()?))
}

fn state(word: &str) -> Option<ServerState> {
    match word {
        "up" | "undrain" => Some(ServerState::Up),
        "drain" => Some(ServerState::Drain),
        "maintenance" => Some(ServerState::Maintenance),
        _ => None,
    }
}

const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_group_a_server_and_what_it_is_to_do() {
        for (path, expected) in [
            ("/upstreams/a/b", Some(("a", "b", None))),
            ("/upstreams/a/b/drain", Some(("a", "b", Some("drain")))),
            ("/upstreams/a/10.0.0.1:3000", Some(("a", "10.0.0.1:3000", None))),
            ("/upstreams/a", None),
            ("/upstreams//b", None),
            ("/upstreams/a/b/c/d", None),
            ("/other/a/b", None),
        ] {
            assert_eq!(parse_path(path), expected, "{path}");
        }
    }

    #[test]
    fn a_registration_says_what_is_wrong_with_it() {
        for (body, expected) in [
            (r#"{"address":"app01:3000"}"#, "address \"app01:3000\": expected an IP address"),
            (r#"{"address":"10.0.0.1:1","lease":"5"}"#, "lease \"5\": expected a time"),
            (r#"{"address":"10.0.0.1:1","state":"off"}"#, "state \"off\": expected up, drain or maintenance"),
            (r#"{"address":"10.0.0.1:1","wait":1}"#, "unknown field `wait`"),
            ("{", "EOF"),
        ] {
            let error = registration("a", body.as_bytes()).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
        let body = br#"{"address":"10.0.0.1:1","weight":2,"lease":"30s","state":"drain"}"#;
        let (server, lease) = registration("a", body).unwrap();
        assert_eq!(
            (server.weight.get(), server.state, lease),
            (2, ServerState::Drain, Some(Duration::from_secs(30)))
        );
    }
}
